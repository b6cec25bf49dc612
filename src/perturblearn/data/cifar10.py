"""CIFAR-10 from its published Python batches, read without executing any code in them."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perturblearn.data.fetch import fetch
from perturblearn.data.inert_pickle import read_inert_pickle
from perturblearn.data.raw import RawData, mean_value
from perturblearn.errors import DataError

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
TRAINING_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"
META = "batches.meta"
FILES = (*TRAINING_BATCHES, TEST_BATCH, META)
IMAGE_SHAPE = (3, 32, 32)


def locate_cifar10(directory: Path) -> Path:
    """The folder of batches in the data directory, or else the archive, which is downloaded if it is missing.

    Raises:
        DataError: both are missing and the archive cannot be downloaded.
    """
    folder, archive = directory / FOLDER, directory / ARCHIVE
    if folder.is_dir():
        return folder
    if not archive.is_file():
        advice = f"put {ARCHIVE} into {directory}, or give the directory with --data-dir or PERTURBLEARN_DATA"
        fetch(URL, archive, sha256=SHA256, advice=advice)
    return archive


def read_cifar10(directory: Path) -> RawData:
    """Images and labels of all six batches.

    Args:
        directory: the data directory, with the folder of batches or the published archive; the archive is downloaded if
            both are missing.

    Returns:
        Inputs (50000, 3, 32, 32) uint8 and 10,000 held-out ones; the mean over all training pixels.

    Raises:
        DataError: files are missing or damaged, or a file contains code (which is not executed).
    """
    location = locate_cifar10(directory)
    contents: dict[str, Any] = {}
    for name, content in read_batches(location):
        contents[name] = read_inert_pickle(content, name=f"{location.name}/{name}")
    training = [_batch(contents[name], f"{location.name}/{name}") for name in TRAINING_BATCHES]
    heldout_inputs, heldout_labels = _batch(contents[TEST_BATCH], f"{location.name}/{TEST_BATCH}")
    names = _class_names(contents[META], f"{location.name}/{META}")
    inputs, labels = (torch.cat(tensors) for tensors in zip(*training, strict=True))
    for part in (labels, heldout_labels):
        if len(part) and not 0 <= int(part.min()) <= int(part.max()) < len(names):
            raise DataError(
                f"{location} has labels from {int(part.min())} to {int(part.max())} for {len(names)} classes; "
                "replace it with the original"
            )
    return RawData(
        inputs=inputs,
        labels=labels,
        class_names=names,
        value_range=(0.0, 1.0),
        mean=mean_value(inputs),
        heldout_inputs=heldout_inputs,
        heldout_labels=heldout_labels,
    )


def batch_files(location: Path) -> list[Path]:
    """The files that the batches are read from: the existing files of the folder, or the archive."""
    if not location.is_dir():
        return [location]
    return [location / name for name in FILES if (location / name).is_file()]


def cifar10_hash(location: Path) -> str:
    """SHA-256 over the batches, equal for the folder and the archive."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in read_batches(location)}
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()


def read_batches(location: Path) -> Iterator[tuple[str, bytes]]:
    """Each batch file's name and content, in any order, from the folder or as a stream from the archive.

    Raises:
        DataError: a batch is missing or the archive is damaged.
    """
    missing = set(FILES)
    with _readable(location):
        if location.is_dir():
            for file in batch_files(location):
                missing.discard(file.name)
                yield file.name, file.read_bytes()
        else:
            with tarfile.open(location, "r|*") as archive:
                for member in archive:
                    path = PurePosixPath(member.name)
                    stream = archive.extractfile(member) if path.name in missing and member.isfile() else None
                    if stream is not None and path.parent.name == FOLDER:
                        missing.discard(path.name)
                        yield path.name, stream.read()
    if missing:
        raise DataError(f"{location} lacks {', '.join(sorted(missing))}; replace it with the original")


@contextmanager
def _readable(location: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{location} cannot be read ({error}); replace it with an intact copy") from error


def _batch(content: object, name: str) -> tuple[Tensor, Tensor]:
    values, labels = _entry(content, "data", name), _entry(content, "labels", name)
    length = int(np.prod(IMAGE_SHAPE))
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[1] != length:
        raise DataError(f"{name} has no array of {length} bytes per image; replace it with the original")
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise DataError(f"{name} has no list of integer labels; replace it with the original")
    if len(values) != len(labels):
        raise DataError(f"{name} has {len(values)} images but {len(labels)} labels; replace it with the original")
    images: NDArray[np.uint8] = values.reshape(-1, *IMAGE_SHAPE)
    return torch.from_numpy(images.copy()), torch.tensor(labels, dtype=torch.int64)


def _class_names(content: object, name: str) -> tuple[str, ...]:
    names = _entry(content, "label_names", name)
    if not isinstance(names, list) or not all(isinstance(entry, (str, bytes)) for entry in names):
        raise DataError(f"{name} has no list of class names; replace it with the original")
    return tuple(entry.decode("utf-8", "replace") if isinstance(entry, bytes) else entry for entry in names)


def _entry(content: object, key: str, name: str) -> Any:
    if isinstance(content, dict):
        for spelled in (key.encode(), key):
            if spelled in content:
                return content[spelled]
    raise DataError(f"{name} has no entry {key!r}; replace it with the original")
