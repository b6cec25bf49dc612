"""What the tests' processes, and all that they start, find around them. To be imported first; `conftest.py` does so."""

from __future__ import annotations

import os
import signal
import sys

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib, and for subprocesses too
# Before anything imports NumPy or PyTorch: tests run side by side (pytest -n), and their problems are so small that
# threads of one process would only wait for each other. Bits are equal only at an equal number of threads.
os.environ["OMP_NUM_THREADS"] = "1"
# Files are compiled once, and not again in each of the hundreds of processes that are started here.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Under nohup, in a shell's background and on some CI runners this process is started with Ctrl-C ignored, and all
    # that it starts would inherit that, so that no test could interrupt it. A handler that does nothing is not
    # inherited across exec: this process goes on ignoring Ctrl-C, and its children hear it.
    signal.signal(signal.SIGINT, lambda *_: None)
