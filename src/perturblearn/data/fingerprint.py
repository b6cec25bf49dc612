"""The identity of real data: a hash of the content of their files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from perturblearn.config.data import CIFAR10Config, DataConfig, DigitsConfig, FolderConfig
from perturblearn.data.cifar10 import batch_files, cifar10_hash, locate_cifar10
from perturblearn.data.digits import digits_hash
from perturblearn.data.idx import hash_idx
from perturblearn.data.mnist import IDX_DATASETS, IdxDataset, locate_idx
from perturblearn.data.npz import npz_hash
from perturblearn.data.places import refuse_in_memory, resolve_data_dir, user_path
from perturblearn.data.scan import folder_hash, image_files
from perturblearn.data.versions import hash_once


def data_fingerprint(config: DataConfig, *, data_dir: str | Path | None = None) -> str | None:
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
    if config.is_synthetic:
        return None
    if config.provider in IDX_DATASETS:
        return _idx_hash(IDX_DATASETS[config.provider], resolve_data_dir(data_dir))
    if isinstance(config, CIFAR10Config):
        location = locate_cifar10(resolve_data_dir(data_dir))
        return hash_once(cifar10_hash, location, batch_files(location))
    if isinstance(config, DigitsConfig):
        return digits_hash()
    path = user_path(config)
    if isinstance(config, FolderConfig):
        return hash_once(folder_hash, path, image_files(path))
    return hash_once(npz_hash, path, [path])


def _idx_hash(dataset: IdxDataset, directory: Path) -> str:
    # Hashed unpacked, so that plain and compressed files have the same identity.
    digests = {name: hash_once(hash_idx, path, [path]) for name, path in locate_idx(dataset, directory).items()}
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()
