"""Artefacts by their key: tensors and JSON, written atomically and verified when read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from perturblearn.errors import StoreError
from perturblearn.store.artefact import Artefact
from perturblearn.store.eviction import StoredArtefact, folder_size, list_artefacts
from perturblearn.store.files import cannot_write, replacing, write_tensors
from perturblearn.store.versions import versions

if TYPE_CHECKING:
    from perturblearn.config import Keys

_SCHEMA = 1
_FORMAT = 2
"""How keys are computed: raised when equal work gets another key, so that what is stored cannot be found any more."""
_FORMAT_FILE = Path("artefacts/format")
_TENSORS = "tensors.safetensors"
_RECORD = "artefact.json"


class DamagedArtefact(Exception):
    """A stored artefact does not have the content that was written."""


@dataclass(frozen=True)
class KnownArtefact:
    """An artefact and what it was made of; nothing is known of a damaged one.

    Args:
        key, folder: its own.
        inputs: keys of the results that it was made of.
        draft_of: key of the unfinished result that it is a part of; None for whole ones.
    """

    key: str
    folder: Path
    inputs: frozenset[str]
    draft_of: str | None


class ArtefactStore:
    """A folder of artefacts, each in its own folder named by its key.

    An artefact is written to a scratch folder and moved into place by a single rename, so whatever is found under a key
    is complete. Every file is verified against its SHA-256 when it is read. This also detects files that were lost in a
    power cut, so writing does not wait for the disk (no fsync).

    With a limit, a write that takes the artefacts above it removes the least recently used ones, until 90 % of the
    limit are left. Many processes may share the folder. Each process adds up what it writes itself and measures the
    whole folder only when that sum exceeds the limit; until then it does not notice what others write.

    Args:
        folder: the folder of artefacts; created when first needed.
        limit: maximum size of all artefacts' files, in bytes; None for no limit.
        option: the command-line option that names the folder, for error messages.

    Raises:
        StoreError: a newer version of perturblearn has written to the folder.

    Warns:
        UserWarning: the folder holds results of an earlier version, which cannot be reused.
    """

    def __init__(self, folder: str | os.PathLike[str], *, limit: int | None = None, option: str = "--out") -> None:
        self.folder = Path(folder)
        self.limit = limit
        self._option = option
        self._total: int | None = None
        self._warned = False
        self._has_format = self._check_format()
        self._remove_stale_scratch()

    def has(self, key: str) -> bool:
        """Whether there is a complete artefact under the key."""
        # Not Path.is_file, which raises an error if another user's folder is not readable.
        return os.path.isfile(self._place(key) / _RECORD)

    def keys(self, pattern: str) -> list[str]:
        """The keys that match a glob pattern, of which the first two characters name a folder; opens no file."""
        return [place.name for place in self.folder.glob(f"artefacts/{pattern[:2]}/{pattern}")]

    def write(self, key: str, artefact: Artefact, *, origin: Keys, replace: bool = False) -> None:
        """Store an artefact under a key.

        An artefact that alone exceeds the limit is not stored. This is not an error: it is as if it had been evicted at
        once.

        Args:
            key: hash of everything the artefact was made from.
            artefact: what to write.
            origin: what the key is the hash of, for people who inspect the store.
            replace: replace an existing artefact; otherwise the existing one is kept.

        Raises:
            StoreError: the folder cannot be written.
        """
        place = self._place(key)
        with self.scratch() as scratch:
            checksums = {}
            if artefact.tensors:
                write_tensors(artefact.tensors, scratch / _TENSORS)
                checksums[_TENSORS] = file_hash(scratch / _TENSORS)
            body = {
                "schema": _SCHEMA,
                "key": key,
                "origin": dict(origin),
                "versions": versions(),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "checksums": checksums,
                "content": dict(artefact.content),
            }
            record = {"sha256": _body_hash(body), **body}
            (scratch / _RECORD).write_text(json.dumps(record, allow_nan=False), encoding="utf-8")
            size = folder_size(scratch)
            too_large = self.limit is not None and size > self.limit
            if not too_large:
                self._mark_format()
                self.move_into_place(scratch, place, replace=replace)
        if not too_large:
            _mark_used(place)
            self._enforce_limit(place, size)
        elif replace:
            self.remove(key)

    def read(self, key: str) -> Artefact:
        """The artefact under a key; reading it counts as use.

        Raises:
            KeyError: there is none, another process has removed it, or it belongs to another user and cannot be read.
            DamagedArtefact: its files do not have the content that was written.
        """
        place = self._place(key)
        # Readers take no lock: locks on shared disks are unreliable, and eviction is rare. Instead, a read that finds
        # something wrong checks whether the artefact was replaced meanwhile, and starts again if so.
        while True:
            try:
                file = (place / _RECORD).open("rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
                raise KeyError(key) from None
            except OSError:
                raise _damaged(place) from None
            with file:
                try:
                    artefact = self._intact(place, file)
                except DamagedArtefact:
                    if _is_still_at(file, place / _RECORD):
                        raise
                    # Another process removed or replaced it between opening and reading: read again.
                    continue
                except PermissionError:
                    raise KeyError(key) from None
            _mark_used(place)
            return artefact

    def _intact(self, place: Path, file: IO[bytes]) -> Artefact:
        record = self._intact_record(place, file)
        tensors = {}
        if record["checksums"]:
            from safetensors.torch import load

            # Read once and hash these bytes: another process may replace the file between two reads.
            try:
                content = (place / _TENSORS).read_bytes()
            except PermissionError:
                raise
            except OSError:
                raise _damaged(place) from None
            if hashlib.sha256(content).hexdigest() != record["checksums"][_TENSORS]:
                raise _damaged(place)
            tensors = load(content)
        return Artefact(record["content"], tensors)

    def _intact_record(self, place: Path, file: IO[bytes]) -> dict[str, Any]:
        try:
            record = json.loads(file.read().decode("utf-8"))
            checksum, schema = record.pop("sha256"), record["schema"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise _damaged(place) from None
        if checksum != _body_hash(record):
            raise _damaged(place)
        if schema > _SCHEMA:
            raise StoreError(
                f"{place} was written by a newer version of perturblearn; update it, "
                f"or choose another folder with {self._option}"
            )
        return record

    def place(self, key: str, path: Path) -> None:
        """Link or copy an artefact's file of tensors to another path, and verify it.

        Args:
            key: as for `read`.
            path: the new path; it must not exist.

        Raises:
            KeyError, DamagedArtefact: as `read`.
            OSError: the path cannot be written.
        """
        place = self._place(key)
        try:
            with (place / _RECORD).open("rb") as file:
                checksum = self._intact_record(place, file)["checksums"][_TENSORS]
            try:
                os.link(place / _TENSORS, path)
            except OSError:  # a different disk, or one without hard links
                shutil.copyfile(place / _TENSORS, path)
        except (FileNotFoundError, PermissionError):
            raise KeyError(key) from None
        if file_hash(path) != checksum:
            path.unlink()
            raise _damaged(place)
        _mark_used(place)

    def artefacts(self) -> Iterator[KnownArtefact]:
        """Every artefact, with what its record says that it was made of."""
        for stored in list_artefacts(self.folder / "artefacts", record=_RECORD):
            try:
                with (stored.place / _RECORD).open("rb") as file:
                    origin = self._intact_record(stored.place, file)["origin"]
            except (DamagedArtefact, OSError):
                origin = {}
            inputs = frozenset(_flat(list(origin.get("inputs", {}).values())))
            yield KnownArtefact(stored.place.name, stored.place, inputs, origin.get("draft of"))

    def remove(self, key: str) -> None:
        """Delete the artefact under a key, if there is one."""
        with self.scratch() as scratch, suppress(FileNotFoundError):
            os.rename(self._place(key), scratch / "removed")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the store's disk, deleted afterwards unless it was moved into place.

        Raises:
            StoreError: the store cannot be written, or its disk is full.
        """
        # On the store's own disk, because only a rename within one file system is atomic. The name tells
        # `_remove_stale_scratch` which machine and process the folder belongs to.
        scratch = self.folder / "tmp" / f"{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}"
        other = f"choose another folder with {self._option}"
        try:
            scratch.mkdir(parents=True)
            yield scratch
        except OSError as error:
            raise cannot_write(self.folder, error, other) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def move_into_place(self, finished: Path, place: Path, *, replace: bool) -> None:
        """Move a finished folder into place by a single rename.

        Args:
            finished: a folder on the store's disk.
            place: its destination.
            replace: move an existing folder away first; otherwise the existing one is kept.
        """
        place.parent.mkdir(parents=True, exist_ok=True)
        if not (replace and place.exists()):
            _move(finished, place)
            return
        with self.scratch() as old:
            try:
                os.rename(place, old / "replaced")
            except FileNotFoundError:  # another process was first
                _move(finished, place)
                return
            try:
                _move(finished, place)
            except OSError:
                os.rename(old / "replaced", place)  # rather the older one than none
                raise

    def _enforce_limit(self, written: Path, size: int) -> None:
        if self.limit is None:
            return
        if self._total is not None and self._total + size <= self.limit:
            self._total += size
            return
        stored = list_artefacts(self.folder / "artefacts", record=_RECORD)
        total = sum(artefact.size for artefact in stored)
        if total > self.limit:
            self._total = None  # if the removal fails half-way, the next write measures the folder again
            total = self._evict(stored, total, keep=written)
        self._total = total

    def _evict(self, stored: list[StoredArtefact], total: int, *, keep: Path) -> int:
        """Remove artefacts until 90 % of the limit are left; returns the remaining bytes.

        Not just down to the limit, because then every further write would have to measure the whole folder.
        """
        assert self.limit is not None
        stuck: tuple[Path, OSError] | None = None
        # A rename removes a whole artefact at once, so no reader sees half of one; the files are deleted afterwards.
        with self.scratch() as scratch:
            for number, artefact in enumerate(stored):
                if total <= 0.9 * self.limit:
                    break
                if artefact.place == keep:
                    continue
                try:
                    os.rename(artefact.place, scratch / str(number))
                except FileNotFoundError:  # another process was first
                    pass
                except OSError as error:
                    stuck = artefact.place, error
                    continue
                total -= artefact.size
        if stuck and total > self.limit and not self._warned:
            self._warned = True
            warnings.warn(
                f"the stored results in {self.folder} have {total} bytes, more than the limit of {self.limit}, but "
                f"{stuck[0]} cannot be removed ({stuck[1].strerror}); make it writable, or raise --cache-size",
                stacklevel=4,
            )
        return total

    def _place(self, key: str) -> Path:
        return self.folder / "artefacts" / key[:2] / key

    def _mark_format(self) -> None:
        # Before the first artefact: a store that has artefacts and no such file is one of the first version.
        if not self._has_format:
            path = self.folder / _FORMAT_FILE
            path.parent.mkdir(exist_ok=True)
            with replacing(path, f"choose another folder with {self._option}") as scratch:
                scratch.write_text(f"{_FORMAT}\n", encoding="ascii")
            self._has_format = True

    def _check_format(self) -> bool:
        """Whether keys in this folder are known to be computed as they are now."""
        try:
            found = int((self.folder / _FORMAT_FILE).read_text(encoding="ascii"))
        except (OSError, ValueError):
            found = 1  # that version left no such file
        if found > _FORMAT:
            raise StoreError(
                f"{self.folder} was written by a newer version of perturblearn; update it, or choose another folder "
                f"with {self._option}"
            )
        if found < _FORMAT and any(self.folder.glob(f"artefacts/??/{'?' * 64}")):
            warnings.warn(
                f"{self.folder} holds results of an earlier version of perturblearn, which this version cannot reuse; "
                "finished runs stay readable, and everything else is computed again. To free the space, delete "
                f"{self.folder / 'artefacts'}",
                stacklevel=3,
            )
        return found == _FORMAT

    def _remove_stale_scratch(self) -> None:
        """Delete scratch folders of processes on this machine that no longer exist.

        Folders of other machines stay: whether their processes still run cannot be known from here.
        """
        for leftover in (self.folder / "tmp").glob("*.*.*"):
            machine, process, _ = leftover.name.rsplit(".", 2)
            if machine == socket.gethostname() and process.isdecimal() and not _is_running(int(process)):
                shutil.rmtree(leftover, ignore_errors=True)


def _move(finished: Path, place: Path) -> None:
    """Move a folder into place, unless another process has done so."""
    # A rename cannot replace a folder that is not empty, so it fails if another process was first. That is fine: equal
    # keys mean equal content. The folder may be gone again by now if a third process has evicted it, which is why the
    # error number is checked before the folder's existence.
    try:
        os.rename(finished, place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) and not place.is_dir():
            raise


def _flat(keys: Any) -> Iterator[str]:
    """The keys in an origin's inputs, which are keys and lists of keys."""
    for key in keys:
        if isinstance(key, str):
            yield key
        else:
            yield from _flat(key)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mark_used(place: Path) -> None:
    """Mark an artefact as used now, for the order of eviction."""
    # An explicit time, because the file system's own clock may be coarse. A folder that is read-only, belongs to
    # another user or is gone by now keeps its time.
    now = time.time_ns()
    with suppress(OSError):
        os.utime(place, ns=(now, now))


def _is_still_at(file: IO[bytes], path: Path) -> bool:
    # Compares inodes: while the file is open, no other file can get its number.
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _damaged(place: Path) -> DamagedArtefact:
    return DamagedArtefact(f"the stored result {place} is damaged")


def _body_hash(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
