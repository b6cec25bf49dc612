"""The versions recorded in every artefact and run record."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def versions() -> dict[str, str]:
    """Versions of everything that affects the numbers: this package, torch, numpy, Python, and the architecture."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("perturblearn", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
