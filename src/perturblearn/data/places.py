"""Where the data lie that a configuration names."""

from __future__ import annotations

import os
from pathlib import Path

from perturblearn.config.data import DataConfig, RealConfig, SyntheticConfig
from perturblearn.errors import DataError

DATA_VARIABLE = "PERTURBLEARN_DATA"


def resolve_data_dir(data_dir: str | Path | None = None) -> Path:
    """Where known data sets lie: the argument, else PERTURBLEARN_DATA, else a folder in the user's cache."""
    chosen = data_dir or os.environ.get(DATA_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("perturblearn")) / "data"


def own_path(config: DataConfig) -> Path:
    """The user's own folder or file.

    Raises:
        DataError: there is none.
    """
    path = Path(config.path or "").expanduser()
    if not path.exists():
        raise DataError(f"there is no {path}, which data.name = {config.name} names; check the path")
    return path


def refuse_in_memory(config: DataConfig) -> SyntheticConfig | RealConfig:
    """Data that can be drawn or read.

    Raises:
        DataError: the configuration stands for objects in Python.
    """
    if not isinstance(config, (SyntheticConfig, RealConfig)):
        raise DataError(
            "data.name = python stands for data handed over as objects; pass them to the run, or name other data"
        )
    return config
