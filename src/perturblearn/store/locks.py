"""Files by which others see whether a process still works on something, on this machine or another."""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl


@contextmanager
def working_on(folder: Path, *names: str) -> Generator[None, None, None]:
    """Hold a lock that the system takes away when this process dies, however it dies.

    Args:
        folder: of such locks; made if it is missing.
        names: what is worked on. Several processes may work on the same.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in _locks(folder, names):
        if not _is_held(left):
            left.unlink(missing_ok=True)
    # A file of this process's own: one that others share could not be deleted without a race.
    path = folder / f"{_stem(names)}.{uuid.uuid4().hex}"
    try:
        with path.open("w") as file:
            _hold(file)
            yield
    finally:
        path.unlink(missing_ok=True)


def is_worked_on(folder: Path, *names: str) -> bool:
    """Whether a living process works on this."""
    return any(map(_is_held, _locks(folder, names)))


def _stem(names: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:32]


def _locks(folder: Path, names: tuple[str, ...]) -> list[Path]:
    return list(folder.glob(f"{_stem(names)}.*"))


if sys.platform == "win32":

    def _hold(file: IO[str]) -> None:
        """An open file cannot be deleted there."""

    def _is_held(path: Path) -> bool:
        try:
            path.unlink()
        except OSError:
            return path.exists()
        return False

else:

    def _hold(file: IO[str]) -> None:
        with suppress(OSError):  # of a disk without locks nobody can tell
            fcntl.flock(file, fcntl.LOCK_EX)

    def _is_held(path: Path) -> bool:
        try:
            with path.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:  # held, or on a disk without locks, or not ours to open
            return True
        return False
