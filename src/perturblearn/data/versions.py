"""Hashes of files, computed once for each version of the files."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

SETTLED_NANOSECONDS = 2 * 10**9
"""Age after which any further change of a file alters its time: the coarsest file systems count in steps of 2 s."""


def hash_once(compute: Callable[[Path], str], path: Path, files: Iterable[Path]) -> str:
    """``compute(path)``, cached as long as the files it reads have not changed.

    A file counts as changed if its size, times, name or inode differ.

    Args:
        compute: a module-level function that hashes the content of a path.
        path: its argument.
        files: all files that it reads.

    Raises:
        DataError: whatever ``compute`` raises.
    """
    version = _settled_version(files)
    return compute(path) if version is None else _hash_of_version(compute, path, version)


def _settled_version(files: Iterable[Path]) -> str | None:
    """An identifier of the files' present state; None if a change right after this could go unnoticed."""
    digest = hashlib.sha256()
    newest = 0
    try:
        for file in files:
            state = file.stat()
            newest = max(newest, state.st_mtime_ns)
            # Also the time of the inode's last change, because copying tools reset the modification time.
            version = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
            digest.update(repr((str(file), version)).encode())
    except OSError:
        return None  # the computation itself will report the error
    return digest.hexdigest() if time.time_ns() - newest > SETTLED_NANOSECONDS else None


@lru_cache(maxsize=64)
def _hash_of_version(compute: Callable[[Path], str], path: Path, version: str) -> str:
    return compute(path)
