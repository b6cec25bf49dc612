"""Programs that are killed while they work, as a machine that loses power kills them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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


def survives(module: str, *arguments: object, kill_after: float) -> bool:
    """Whether a program comes to its end before it is killed, so many seconds after its first word."""
    with running(module, *arguments) as process, suppress(subprocess.TimeoutExpired):
        process.wait(kill_after)
    assert process.returncode in (0, -9)
    return process.returncode == 0
