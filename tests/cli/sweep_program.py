"""The command sweep in processes that may be killed at any moment.

With arguments, a sweep of these words. Without, lives of sweeps, one after the other, in children that have everything
imported already, so that blows fall into the work: for every line on standard input, JSON of the seconds after which
the child is killed and of its words, a line with its exit code, -9 if it was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import torch

from perturblearn import api  # noqa: F401 - what the command line imports when it needs it
from perturblearn.cli import main


def live(kill_after: float, words: list[str]) -> int:
    """The exit code of a child that runs a sweep and is killed after so many seconds, if it still lives."""
    child = os.fork()
    if child == 0:
        os._exit(main(["sweep", *words, "--quiet"]))
    deadline = time.monotonic() + kill_after
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.001)


if __name__ == "__main__":
    torch.set_num_threads(1)  # bits are equal at an equal number of threads
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if sys.argv[1:]:
        sys.exit(main(["sweep", *sys.argv[1:], "--quiet"]))
    for line in sys.stdin:
        kill_after, words = json.loads(line)
        sys.stdout.write(f"{live(kill_after, words)}\n")
        sys.stdout.flush()
