"""Data that are read from files: how each kind is identified, by a hash of the files' content, and decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.config.data import (
    CIFAR10Config,
    DataConfig,
    DigitsConfig,
    FashionMNISTConfig,
    FolderConfig,
    MNISTConfig,
    NpzConfig,
    RealConfig,
)
from perturblearn.data.cifar10 import batch_files, cifar10_hash, locate_cifar10, read_cifar10
from perturblearn.data.digits import digits_hash, read_digits
from perturblearn.data.folder import read_folder
from perturblearn.data.idx import hash_idx
from perturblearn.data.mnist import IDX_DATASETS, locate_idx, read_idx_dataset
from perturblearn.data.npz import npz_hash, read_npz
from perturblearn.data.places import refuse_in_memory, resolve_data_dir, user_path
from perturblearn.data.raw import RawData
from perturblearn.data.scan import folder_hash, image_files
from perturblearn.data.versions import hash_once

DataDir = str | Path | None


@dataclass(frozen=True)
class Provider:
    """How data of one kind are read.

    Args:
        fingerprint: hash of their files' content, given the configuration and the folder of the known data sets.
        read: the data themselves, given the same.
    """

    fingerprint: Callable[[Any, DataDir], str]
    read: Callable[[Any, DataDir], RawData]


def data_fingerprint(config: DataConfig, *, data_dir: DataDir = None) -> str | None:
    """SHA-256 over the contents and relative names of the data's files, without decoding them.

    It does not depend on where the files are stored nor, for the known data sets, on how they are packed. A process
    reads unchanged files only once.

    Args:
        config: the data.
        data_dir: as for ``load_dataset``; missing files are downloaded.

    Returns:
        64 hexadecimal digits; None for synthetic data.

    Raises:
        DataError: the files cannot be found, downloaded or read.
    """
    refuse_in_memory(config)
    return None if config.is_synthetic else PROVIDERS[type(config)].fingerprint(config, data_dir)


def read_data(config: RealConfig, *, data_dir: DataDir = None) -> RawData:
    """The data as their files hold them, of a folder the chosen classes alone.

    Args:
        config: the data.
        data_dir: as for ``load_dataset``; missing files are downloaded.

    Raises:
        DataError: the files cannot be found, downloaded or read.
    """
    return PROVIDERS[type(config)].read(config, data_dir)


def _hash_idx(config: RealConfig, data_dir: DataDir) -> str:
    # Hashed unpacked, so that plain and compressed files have the same identity.
    found = locate_idx(IDX_DATASETS[config.provider], resolve_data_dir(data_dir))
    digests = {name: hash_once(hash_idx, path, [path]) for name, path in found.items()}
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()


def _hash_cifar10(_: RealConfig, data_dir: DataDir) -> str:
    location = locate_cifar10(resolve_data_dir(data_dir))
    return hash_once(cifar10_hash, location, batch_files(location))


def _hash_folder(config: FolderConfig, _: DataDir) -> str:
    path = user_path(config)
    return hash_once(folder_hash, path, image_files(path))


def _read_folder(config: FolderConfig, _: DataDir) -> RawData:
    return read_folder(
        user_path(config),
        config.classes,
        skip_bad=config.skip_bad,
        image_size=config.image_size,
        resize=config.resize or "crop",
    )


_IDX = Provider(
    _hash_idx, lambda config, data_dir: read_idx_dataset(IDX_DATASETS[config.name], resolve_data_dir(data_dir))
)
PROVIDERS: dict[type[DataConfig], Provider] = {
    DigitsConfig: Provider(lambda config, data_dir: digits_hash(), lambda config, data_dir: read_digits()),
    MNISTConfig: _IDX,
    FashionMNISTConfig: _IDX,
    CIFAR10Config: Provider(_hash_cifar10, lambda config, data_dir: read_cifar10(resolve_data_dir(data_dir))),
    FolderConfig: Provider(_hash_folder, _read_folder),
    NpzConfig: Provider(
        lambda config, data_dir: hash_once(npz_hash, user_path(config), [user_path(config)]),
        lambda config, data_dir: read_npz(user_path(config)),
    ),
}
"""Every kind of data that is read from files, by its section of the configuration."""
