"""The tiny run, to be killed."""

from __future__ import annotations

import sys

from tests.report.conftest import TINY

from perturblearn import learn_from_perturbations


def main(out: str) -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    learn_from_perturbations({}, overrides=TINY, out=out)


if __name__ == "__main__":
    main(sys.argv[1])
