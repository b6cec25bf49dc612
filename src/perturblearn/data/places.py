"""Locations of the data that a configuration names."""

from __future__ import annotations

import os
from pathlib import Path

from perturblearn.config.data import DataConfig, RealConfig, SyntheticConfig
from perturblearn.errors import DataError
from perturblearn.store import expanded

DATA_VARIABLE = "PERTURBLEARN_DATA"


def resolve_data_dir(data_dir: str | Path | None = None) -> Path:
    """The folder of the known data sets: the argument, or PERTURBLEARN_DATA, or a folder in the user's cache.

    Raises:
        ConfigError, DataError: it would be in a home folder, and there is none.
    """
    chosen = data_dir or os.environ.get(DATA_VARIABLE)
    if chosen:
        return expanded(chosen)
    import pooch

    try:
        return Path(pooch.os_cache("perturblearn")) / "data"
    except RuntimeError:
        raise DataError(
            f"there is no home folder that data sets could be kept in; name a folder with --data-dir or {DATA_VARIABLE}"
        ) from None


def user_path(config: DataConfig) -> Path:
    """The user's own folder or file.

    Raises:
        DataError: it does not exist.
    """
    path = expanded(config.path or "")
    if not path.exists():
        raise DataError(f"{path}, which data.name = {config.name} names, does not exist; check the path")
    return path


def refuse_in_memory(config: DataConfig) -> SyntheticConfig | RealConfig:
    """The configuration of data that can be drawn or read.

    Raises:
        DataError: the configuration stands for Python objects.
    """
    if not isinstance(config, (SyntheticConfig, RealConfig)):
        raise DataError(
            "data.name = python stands for data passed as Python objects; pass them to the run, or name other data"
        )
    return config
