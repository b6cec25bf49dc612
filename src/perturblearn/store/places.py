"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

from perturblearn.errors import ConfigError


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with the home folder in the place of ``~``.

    Raises:
        ConfigError: nobody knows where that is, as in a container without a user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{os.fspath(path)} begins in a home folder that is not known; set HOME, or write the whole path"
        ) from None
