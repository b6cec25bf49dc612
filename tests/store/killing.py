"""Programs that are killed while they work, as a machine that loses power kills them."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@contextmanager
def running(module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python program that has said its first word, ready; it does not outlive the block."""
    words = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def survives(module: str, *arguments: object, kill_after: float | None = None) -> bool:
    """Whether a program comes to its end before it is killed, so many seconds after its first word (None: never)."""
    code, _ = _live(module, *arguments, kill_after=kill_after)
    assert code in (0, -9), f"{module} ended with {code}"
    return code == 0


def printed_by(module: str, *arguments: object) -> str:
    """What a program prints that comes to its end, in a child of its own, as for one that is killed."""
    code, said = _live(module, *arguments)
    assert code == 0, f"{module} ended with {code}"
    return said


def _live(module: str, *arguments: object, kill_after: float | None = None) -> tuple[int, str]:
    lives = _lives()
    assert lives.stdin is not None
    assert lives.stdout is not None
    lives.stdin.write(json.dumps([module, [str(word) for word in arguments], kill_after]) + "\n")
    lives.stdin.flush()
    code, said = json.loads(lives.stdout.readline())
    return code, said


@cache
def _lives() -> subprocess.Popen[str]:
    """The process that forks one child for every life: PyTorch is imported once, not once a life."""
    words = [sys.executable, "-m", "tests.store.lives"]
    # The allocator keeps freed memory by a threshold that it moves as it goes: peaks of equal work differ by 100 MB.
    fixed = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**18)}
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=fixed)
    atexit.register(process.communicate)  # the end of its input ends it
    return process
