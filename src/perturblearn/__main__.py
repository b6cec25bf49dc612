"""The command ``perturblearn``, also as ``python -m perturblearn``."""

import gc
import os
import sys


def main() -> int:
    """Load the command line and run the command of this process.

    Returns:
        As `perturblearn.cli.main`; 130 after Ctrl-C at any moment.
    """
    # Threads that wait for each other's parts of small products would otherwise spin: beside other work a run of one
    # second then takes a minute. OpenMP reads this when PyTorch is loaded, and not later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Until a command computes, it only loads code, which stays: searching hundreds of thousands of objects for garbage
    # takes a tenth of the start.
    gc.disable()
    try:
        from perturblearn.cli import main

        return main()
    except KeyboardInterrupt:  # while the command line was loaded
        print("\nperturblearn: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    finally:
        gc.freeze()  # nor does the end of the process search what the system takes back anyway: 0.3 s with PyTorch


if __name__ == "__main__":
    sys.exit(main())
