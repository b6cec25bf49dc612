"""The versions that every artefact and record names."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def versions() -> dict[str, str]:
    """Versions of what decides the numbers: this package, torch, numpy, Python, and the machine's architecture."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("perturblearn", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
