"""Artefacts by their key: tensors and JSON, written whole or not at all, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perturblearn.errors import StoreError
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

    Args:
        folder: where artefacts live; made when first needed.

    Raises:
        StoreError: when the folder cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._clear_leftovers()

    def has(self, key: str) -> bool:
        """Whether a complete artefact lies under the key."""
        return (self._place(key) / _RECORD).is_file()

    def write(self, key: str, artefact: Artefact, *, origin: Mapping[str, Any], replace: bool = False) -> None:
        """Store an artefact under a key.

        Args:
            key: hash of what the artefact was made from.
            artefact: what to write.
            origin: what the key is the hash of, for people.
            replace: put it in the place of one that is there; otherwise the first one stays.
        """
        with self.scratch() as scratch:
            checksums = {}
            if artefact.tensors:
                from safetensors.torch import save_file

                # Copies: safetensors refuses two names for the same memory.
                tensors = {
                    name: tensor.detach().cpu().contiguous().clone() for name, tensor in artefact.tensors.items()
                }
                save_file(tensors, scratch / _TENSORS)
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
            self.move_into_place(scratch, self._place(key), replace=replace)

    def read(self, key: str) -> Artefact:
        """The artefact under a key.

        Raises:
            KeyError: there is none.
            DamagedArtefact: its files do not have the content that was written.
        """
        place = self._place(key)
        if not self.has(key):
            raise KeyError(key)
        record = self._intact_record(place)
        tensors = {}
        if record["checksums"]:
            from safetensors.torch import load

            # Read once: another process may put an equal artefact in its place between two looks.
            try:
                content = (place / _TENSORS).read_bytes()
            except OSError:
                raise _damaged(place) from None
            if hashlib.sha256(content).hexdigest() != record["checksums"][_TENSORS]:
                raise _damaged(place)
            tensors = load(content)
        return Artefact(record["content"], tensors)

    def _intact_record(self, place: Path) -> dict[str, Any]:
        try:
            record = json.loads((place / _RECORD).read_text(encoding="utf-8"))
            checksum, schema = record.pop("sha256"), record["schema"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise _damaged(place) from None
        if checksum != _body_hash(record):
            raise _damaged(place)
        if schema > _SCHEMA:
            raise StoreError(
                f"{place} was written by a newer version of perturblearn; update it, or name another output folder"
            )
        return record

    def remove(self, key: str) -> None:
        """Delete the artefact under a key, if there is one."""
        with self.scratch() as scratch, suppress(FileNotFoundError):
            os.rename(self._place(key), scratch / "removed")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the store's disk, gone afterwards unless it was moved into place."""
        scratch = self.folder / "tmp" / f"{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}"
        try:
            scratch.mkdir(parents=True)
        except OSError as error:
            raise StoreError(
                f"cannot write to {self.folder} ({error.strerror}); make it writable or name another folder with --out"
            ) from error
        try:
            yield scratch
        except OSError as error:
            raise StoreError(
                f"cannot write to {self.folder} ({error.strerror}); free some space, or name another folder with --out"
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
        # The rename fails where another process was first: its folder is as good as ours and stays.
        try:
            os.rename(finished, place)
        except OSError:
            if not place.is_dir():
                raise

    def _place(self, key: str) -> Path:
        return self.folder / "artefacts" / key[:2] / key

    def _clear_leftovers(self) -> None:
        """Delete what processes of this machine that no longer exist have left half-written."""
        for leftover in (self.folder / "tmp").glob("*.*.*"):
            machine, process, _ = leftover.name.rsplit(".", 2)
            if machine == socket.gethostname() and process.isdecimal() and not _is_running(int(process)):
                shutil.rmtree(leftover, ignore_errors=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
