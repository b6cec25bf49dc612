"""The command ``perturblearn``, also as ``python -m perturblearn``."""

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
    try:
        from perturblearn.cli import main

        return main()
    except KeyboardInterrupt:  # while the command line was loaded
        print("\nperturblearn: interrupted", file=sys.stderr)  # noqa: T201
        return 130


if __name__ == "__main__":
    sys.exit(main())
