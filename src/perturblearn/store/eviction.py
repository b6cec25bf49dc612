"""The artefacts of a store in the order in which they are evicted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StoredArtefact:
    """One artefact on disk.

    Args:
        place: its folder.
        size: bytes of its files.
        used: time of its last write or read, in nanoseconds.
    """

    place: Path
    size: int
    used: int


def list_artefacts(folder: Path, *, record: str) -> list[StoredArtefact]:
    """Every artefact in a folder, the least recently used first.

    Args:
        folder: the folder of artefacts, stored as ``ab/ab...``.
        record: name of the file that marks an artefact. Folders without it are not ours: neither counted nor removed.
    """
    found = []
    for place in folder.glob("??/*"):
        # Another process may evict it at any moment.
        try:
            if not place.name.startswith(place.parent.name) or not (place / record).is_file():
                continue
            found.append(StoredArtefact(place, folder_size(place), place.stat().st_mtime_ns))
        except OSError:
            continue
    return sorted(found, key=lambda artefact: artefact.used)


def folder_size(folder: Path) -> int:
    """Total length of the files in a folder, in bytes."""
    with os.scandir(folder) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
