"""Where finished stages and the records of runs are kept."""

from __future__ import annotations

import os
from pathlib import Path

from perturblearn.errors import ConfigError
from perturblearn.store import ArtefactStore, RecordStore, expanded, parse_size

CACHE_VARIABLE = "PERTURBLEARN_CACHE"
CACHE_SIZE_VARIABLE = "PERTURBLEARN_CACHE_SIZE"


def artefact_store(out: Path) -> ArtefactStore:
    """The store of finished stages that belongs to an output folder."""
    return ArtefactStore(out / ".store")


def record_store(out: Path) -> RecordStore:
    """The records of what was run into an output folder."""
    return RecordStore(out / ".store" / "records.sqlite3")


def cache_store(
    cache_dir: str | os.PathLike[str] | None = None, cache_size: int | str | None = None
) -> ArtefactStore | None:
    """The store of finished stages that all runs share, if one is wanted.

    Args:
        cache_dir: its folder; None for the one named by ``PERTURBLEARN_CACHE``.
        cache_size: its limit, in bytes or as text; None for ``PERTURBLEARN_CACHE_SIZE``.

    Returns:
        The store, or None where neither the argument nor the variable names a folder.

    Raises:
        ConfigError: the size is not a size above 0, or there is no folder that it could limit.
    """
    folder = cache_dir or os.environ.get(CACHE_VARIABLE)
    name, size = "cache_size", cache_size
    if size is None:
        name, size = CACHE_SIZE_VARIABLE, os.environ.get(CACHE_SIZE_VARIABLE) or None
    limit = None if size is None else parse_size(size, name=name)
    if folder:
        return ArtefactStore(expanded(folder), limit=limit, option="--cache-dir")
    if size is not None:
        raise ConfigError(
            f"{name} = {size!r}, but no cache is named that it could limit; name a folder with --cache-dir or "
            f"{CACHE_VARIABLE}, or leave the size out"
        )
    return None
