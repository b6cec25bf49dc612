"""``python -m perturblearn`` is the command ``perturblearn``."""

import sys

from perturblearn.cli import main

if __name__ == "__main__":
    sys.exit(main())
