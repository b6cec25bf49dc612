"""Lives of programs, one after the other, in children that have everything imported already.

For every line on standard input, JSON of a module, its arguments and the seconds after which it is killed (None:
never), a line of JSON with its exit code, -9 if it was killed, and what it printed. The seconds count from the
program's first line, so that blows fall into its work.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import signal
import sys
import time
import traceback

import torch._dynamo  # noqa: F401 - the first optimiser imports it, which takes a second: here once, not in each child


def live(module: str, arguments: list[str], kill_after: float | None) -> tuple[int, str]:
    """The exit code of a child that runs a program, and what it printed."""
    file = importlib.import_module(module).__file__
    assert file is not None
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        _be(file, arguments, say)
    os.close(say)
    said, deadline = b"", None
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([hear], [], [], left)[0]:
            os.kill(child, signal.SIGKILL)
            break
        if not (more := os.read(hear, 4096)):
            break
        said += more
        if deadline is None and kill_after is not None:
            deadline = time.monotonic() + kill_after
    os.close(hear)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.decode()


def _be(file: str, arguments: list[str], say: int) -> None:
    """Run a file as ``python file`` does, in a forked child, and end it."""
    os.dup2(say, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = [file, *arguments]
    code = 0
    try:
        runpy.run_path(file, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - a child must not go on with its parent's work
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(live(*json.loads(line))) + "\n")
        sys.stdout.flush()
