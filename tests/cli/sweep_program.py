"""The command sweep in a process that may be killed at any moment."""

from __future__ import annotations

import sys

import torch

from perturblearn import api  # noqa: F401 - what the command line imports when it needs it
from perturblearn.cli import main

if __name__ == "__main__":
    torch.set_num_threads(1)  # bits are equal at an equal number of threads
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.exit(main(["sweep", *sys.argv[1:], "--quiet"]))
