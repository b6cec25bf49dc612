"""The files of a folder or an archive by their relative paths, without extracting anything to disk."""

from __future__ import annotations

import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from perturblearn.errors import DataError

Parts = tuple[str, ...]
"""A relative path, folder by folder."""

HIDDEN_FOLDER = "__MACOSX"


@dataclass(frozen=True)
class Member:
    """A visible file or folder. ``read`` works only until the next member is requested: archives are streamed."""

    parts: Parts
    is_folder: bool
    read: Callable[[], bytes]


def walk_members(path: Path) -> Iterator[Member]:
    """Every visible file and folder in a folder, or in a .zip or .tar file (compressed by gzip, bzip2 or xz).

    A folder's members come in sorted order, an archive's in its own.

    Args:
        path: the folder or archive.

    Raises:
        DataError: the path does not exist, is neither, or is damaged; a tar member is a link.
    """
    with _readable(path):
        if path.is_dir():
            yield from _walk_folder(path)
        elif not path.is_file():
            raise DataError(f"there is no folder or archive {path}; check the path")
        elif zipfile.is_zipfile(path):
            yield from _walk_zip(path)
        elif tarfile.is_tarfile(path):
            yield from _walk_tar(path)
        else:
            raise DataError(f"{path} is neither a folder nor a .zip or .tar archive; give one of these")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read ({error}); check it or replace it with an intact copy") from error


def _reader(path: Path, open_member: Callable[[], IO[bytes]]) -> Callable[[], bytes]:
    def read() -> bytes:
        # Errors are explained here too, because some damage shows only when the content is unpacked.
        with _readable(path), open_member() as stream:
            return stream.read()

    return read


def _visible(parts: Parts) -> bool:
    # Also drops "..": a member outside the archive's own tree is not data.
    return bool(parts) and not any(part.startswith(".") or part == HIDDEN_FOLDER for part in parts)


def _parts(name: str) -> Parts:
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _walk_folder(root: Path) -> Iterator[Member]:
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_raise):
        here = Path(folder)
        # A link to a folder above would be followed forever.
        subfolders[:] = sorted(
            name
            for name in subfolders
            if _visible((name,)) and not here.resolve().is_relative_to((here / name).resolve())
        )
        inside = here.relative_to(root).parts
        for name in sorted(filter(lambda name: _visible((name,)), files)):
            file = here / name
            yield Member((*inside, name), False, _reader(file, lambda file=file: file.open("rb")))
        for name in subfolders:
            yield Member((*inside, name), True, _no_content)


def _raise(error: OSError) -> None:
    raise error


def _no_content() -> bytes:
    return b""


def _walk_zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            parts = _parts(info.filename)
            if _visible(parts):
                yield Member(parts, info.is_dir(), _reader(path, lambda info=info: archive.open(info)))


def _walk_tar(path: Path) -> Iterator[Member]:
    # "r|*" reads the file once from beginning to end; seeking in a compressed file would unpack it again and again.
    with tarfile.open(path, "r|*") as archive:
        for info in archive:
            parts = _parts(info.name)
            if not _visible(parts):
                continue
            if info.islnk() or info.issym():
                raise DataError(f"{path} contains the link {info.name}; pack the files themselves (tar --dereference)")
            if info.isfile() or info.isdir():
                yield Member(parts, info.isdir(), _reader(path, lambda info=info: _content(archive, info)))


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    return io.BytesIO() if stream is None else stream
