"""Where finished stages, results and records of commands go."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from perturblearn.errors import ConfigError, StoreError
from perturblearn.store import ArtefactStore, Record, RecordStore, parse_size

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
        cache_dir: its folder; None for what ``PERTURBLEARN_CACHE`` names.
        cache_size: how large it may grow, in bytes or as text; None for what ``PERTURBLEARN_CACHE_SIZE`` says.

    Returns:
        The store, or None where neither the argument nor the variable names a folder.

    Raises:
        ConfigError: a size that is no size or not above 0, or one without a folder.
    """
    folder = cache_dir or os.environ.get(CACHE_VARIABLE)
    name, size = "cache_size", cache_size
    if size is None:
        name, size = CACHE_SIZE_VARIABLE, os.environ.get(CACHE_SIZE_VARIABLE) or None
    limit = None if size is None else parse_size(size, name=name)
    if folder:
        return ArtefactStore(Path(folder).expanduser(), limit=limit, option="--cache-dir")
    if size is not None:
        raise ConfigError(
            f"{name} = {size!r}, but there is no cache that it could limit; name a folder with --cache-dir or "
            f"{CACHE_VARIABLE}, or leave the size out"
        )
    return None


class HasDict(Protocol):
    """What a command ends with."""

    @property
    def folder(self) -> Path | None:
        """Where it lies."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """It as JSON values."""
        ...


Finished = TypeVar("Finished", bound=HasDict)


def recorded(
    store: ArtefactStore,
    key: str,
    name: str,
    tree: Mapping[str, Any],
    work: Callable[[], tuple[Finished, Mapping[str, float]]],
) -> Finished:
    """Do some work and keep a record of it beside the store: that it runs, and how it ended.

    Args:
        store: whose folder has the records.
        key, name, tree: of the work: hash of its stages, name that people gave it, configuration.
        work: makes the result, and says by stage how many seconds it took.

    Raises:
        StoreError: the records cannot be written.
        Exception: whatever the work raises.
    """
    records = RecordStore(store.folder / "records.sqlite3")
    records.write(Record(key, name, "running", tree))
    try:
        result, seconds = work()
    except KeyboardInterrupt:
        records.write(Record(key, name, "interrupted", tree))
        raise
    except Exception as error:
        try:
            records.write(Record(key, name, "failed", tree, error=str(error)))
        except StoreError as second:
            error.add_note(str(second))
        raise
    folder = None if result.folder is None else result.folder.name
    records.write(Record(key, name, "finished", tree, result=result.to_dict(), folder=folder, seconds=seconds))
    return result
