"""Artefacts by their key: tensors and JSON, written whole or not at all, checked when read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from perturblearn.errors import StoreError
from perturblearn.store.eviction import Stored, size_of, stored_in
from perturblearn.store.versions import versions

if TYPE_CHECKING:
    from torch import Tensor

_SCHEMA = 1
_TENSORS = "tensors.safetensors"
_RECORD = "artefact.json"


class DamagedArtefact(Exception):
    """A stored artefact does not have the content that was written."""


@dataclass(frozen=True)
class Artefact:
    """What a stage leaves behind.

    Args:
        content: JSON values; numbers that are not finite are refused when it is written.
        tensors: named tensors of any shape and type.
    """

    content: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


class ArtefactStore:
    """A folder of artefacts, each in a folder of its own named by its key.

    An artefact is written beside its place and moved there by one rename, so what is found under a key is complete.
    Every file is checked against its SHA-256 when it is read; that also covers a machine that lost power before
    the disk had everything, so nothing is forced to the disk at writing.

    With a limit, a write that brings the artefacts above it removes those least recently written or read, down to 90 %
    of the limit. Many processes may share such a folder. Each adds up what it writes and looks at the whole folder only
    when that sum is above the limit, so until then what others write at the same time is not noticed.

    Args:
        folder: where artefacts live; made when first needed.
        limit: how many bytes the artefacts' files may have together; None for any number.
        option: the command line's option that names the folder, for errors.

    Raises:
        StoreError: when the folder cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike[str], *, limit: int | None = None, option: str = "--out") -> None:
        self.folder = Path(folder)
        self.limit = limit
        self._option = option
        self._total: int | None = None
        self._warned = False
        self._clear_leftovers()

    def has(self, key: str) -> bool:
        """Whether a complete artefact lies under the key."""
        # Not Path.is_file, which raises where another user's folder may not be looked into.
        return os.path.isfile(self._place(key) / _RECORD)

    def write(self, key: str, artefact: Artefact, *, origin: Mapping[str, Any], replace: bool = False) -> None:
        """Store an artefact under a key.

        One that is larger than the limit all by itself is not kept, which is no error: it is as if it had been removed
        at once.

        Args:
            key: hash of what the artefact was made from.
            artefact: what to write.
            origin: what the key is the hash of, for people.
            replace: put it in the place of one that is there; otherwise the first one stays.

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
            size = size_of(scratch)
            too_large = self.limit is not None and size > self.limit
            if not too_large:
                self.move_into_place(scratch, place, replace=replace)
        if not too_large:
            _renew(place)
            self._keep_limit(place, size)
        elif replace:
            self.remove(key)

    def read(self, key: str) -> Artefact:
        """The artefact under a key, which counts as used now.

        Raises:
            KeyError: there is none, another process has removed it, or it is another user's and cannot be read.
            DamagedArtefact: its files do not have the content that was written.
        """
        place = self._place(key)
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
                    # Another process removed it between two looks, or put an equal one in its place: look again.
                    continue
                except PermissionError:
                    raise KeyError(key) from None
            _renew(place)
            return artefact

    def _intact(self, place: Path, file: IO[bytes]) -> Artefact:
        record = self._intact_record(place, file)
        tensors = {}
        if record["checksums"]:
            from safetensors.torch import load

            # Read once: another process may put an equal artefact in its place between two looks.
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
                f"or name another folder with {self._option}"
            )
        return record

    def place(self, key: str, path: Path) -> None:
        """Put an artefact's file of tensors somewhere else, checked: the same file where the disk allows it.

        Args:
            key: as for `read`.
            path: where; nothing may be there.

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
            except OSError:  # another disk, or one without links
                shutil.copyfile(place / _TENSORS, path)
        except (FileNotFoundError, PermissionError):
            raise KeyError(key) from None
        if file_hash(path) != checksum:
            path.unlink()
            raise _damaged(place)
        _renew(place)

    def remove(self, key: str) -> None:
        """Delete the artefact under a key, if there is one."""
        with self.scratch() as scratch, suppress(FileNotFoundError):
            os.rename(self._place(key), scratch / "removed")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the store's disk, gone afterwards unless it was moved into place.

        Raises:
            StoreError: the store cannot be written, or its disk is full.
        """
        scratch = self.folder / "tmp" / f"{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}"
        try:
            scratch.mkdir(parents=True)
        except OSError as error:
            raise StoreError(
                f"cannot write to {self.folder} ({error.strerror}); make it writable or name another folder with "
                f"{self._option}"
            ) from error
        try:
            yield scratch
        except OSError as error:
            raise StoreError(
                f"cannot write to {self.folder} ({error.strerror}); free some space, or name another folder with "
                f"{self._option}"
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def move_into_place(self, finished: Path, place: Path, *, replace: bool) -> None:
        """Move a finished folder to its place by one rename.

        Args:
            finished: a folder on the store's disk.
            place: where it goes.
            replace: move an older one away first; otherwise the older one stays.
        """
        place.parent.mkdir(parents=True, exist_ok=True)
        if replace and place.exists():
            with self.scratch() as old, suppress(FileNotFoundError):
                os.rename(place, old / "replaced")
        # The rename fails where another process was first: its folder is as good as ours and stays. By now a third
        # process may have removed it.
        try:
            os.rename(finished, place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) and not place.is_dir():
                raise

    def _keep_limit(self, written: Path, size: int) -> None:
        if self.limit is None:
            return
        if self._total is not None and self._total + size <= self.limit:
            self._total += size
            return
        stored = stored_in(self.folder / "artefacts", record=_RECORD)
        total = sum(artefact.size for artefact in stored)
        if total > self.limit:
            self._total = None  # until the removal has come to its end
            total = self._remove_oldest(stored, total, keep=written)
        self._total = total

    def _remove_oldest(self, stored: list[Stored], total: int, *, keep: Path) -> int:
        """Remove artefacts until 90 % of the limit are left; returns how many bytes that is."""
        assert self.limit is not None
        stuck: tuple[Path, OSError] | None = None
        # One rename takes a whole artefact away, so nobody sees half of one.
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

    def _clear_leftovers(self) -> None:
        """Delete what processes of this machine that no longer exist have left half-written."""
        for leftover in (self.folder / "tmp").glob("*.*.*"):
            machine, process, _ = leftover.name.rsplit(".", 2)
            if machine == socket.gethostname() and process.isdecimal() and not _is_running(int(process)):
                shutil.rmtree(leftover, ignore_errors=True)


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors as a safetensors file; equal tensors give equal files.

    Raises:
        OSError: the path cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(separate(tensors), path)
    except SafetensorError as error:
        # A full disk is an error of its own kind there.
        number = re.search(r"os error ([0-9]+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    path.chmod(mode)  # safetensors makes files for their owner alone, whatever the umask says


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them, on the CPU and in memory of their own: copied only where they share it."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != own.nbytes:
            own = own.clone()
        seen.add(own.untyped_storage().data_ptr())
        found[name] = own
    return found


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _renew(place: Path) -> None:
    """Note that an artefact is used now."""
    # By this process's clock, which is finer than the file system's. A folder that is read-only, another user's or
    # gone by now keeps its time.
    now = time.time_ns()
    with suppress(OSError):
        os.utime(place, ns=(now, now))


def _is_still_at(file: IO[bytes], path: Path) -> bool:
    # While it is open, no other file can get its number.
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
