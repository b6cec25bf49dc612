"""What lies in a store, and in which order it goes when the store is above its limit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stored:
    """One artefact as it lies on the disk.

    Args:
        place: its folder.
        size: bytes of its files.
        used: when it was last written or read, in nanoseconds.
    """

    place: Path
    size: int
    used: int


def stored_in(folder: Path, *, record: str) -> list[Stored]:
    """Every artefact below a folder, the one least recently used first.

    Args:
        folder: where artefacts lie, as ``ab/ab...``.
        record: name of the file that makes a folder an artefact; whatever else lies there is not ours to count.
    """
    found = []
    for place in folder.glob("??/*"):
        # Another process may remove it at any moment.
        try:
            if not place.name.startswith(place.parent.name) or not (place / record).is_file():
                continue
            found.append(Stored(place, size_of(place), place.stat().st_mtime_ns))
        except OSError:
            continue
    return sorted(found, key=lambda artefact: artefact.used)


def size_of(folder: Path) -> int:
    """Bytes of the files of a folder, as their lengths say."""
    with os.scandir(folder) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
