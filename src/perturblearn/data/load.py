"""Data sets by name: loading, identity, and what depends on the seed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from perturblearn.config.data import IN_MEMORY, DataConfig
from perturblearn.data import synthetic
from perturblearn.data.cifar10 import cifar10_hash, read_cifar10
from perturblearn.data.dataset import Dataset
from perturblearn.data.digits import digits_hash, read_digits
from perturblearn.data.folder import folder_hash, read_folder, scan_folder
from perturblearn.data.idx import hash_idx
from perturblearn.data.mnist import FASHION_MNIST, MNIST, IdxDataset, locate_idx, read_idx_dataset
from perturblearn.data.npz import npz_has_split, npz_hash, read_npz
from perturblearn.data.prepare import prepare
from perturblearn.data.raw import RawData
from perturblearn.data.signature import Signature
from perturblearn.errors import DataError

DATA_VARIABLE = "PERTURBLEARN_DATA"
IDX_DATASETS = {"mnist": MNIST, "fashion_mnist": FASHION_MNIST}


def resolve_data_dir(data_dir: str | Path | None = None) -> Path:
    """Where known data sets lie: the argument, else PERTURBLEARN_DATA, else a folder in the user's cache."""
    chosen = data_dir or os.environ.get(DATA_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("perturblearn")) / "data"


def load_dataset(config: DataConfig, *, seed: int = 0, data_dir: str | Path | None = None) -> Dataset:
    """The data that a configuration names, ready for an experiment.

    Args:
        config: which data, which part of it, and how it is prepared.
        seed: the run's seed, for synthetic data, drawn splits and drawn limits.
        data_dir: where MNIST, Fashion-MNIST and CIFAR-10 lie or are downloaded to; see ``resolve_data_dir``.

    Raises:
        DataError: the data cannot be found, downloaded, read, or do not allow what was asked for.
    """
    _refuse_in_memory(config)
    provenance: dict[str, object] = {"name": _name(config), "sha256": data_fingerprint(config, data_dir=data_dir)}
    if config.is_synthetic:
        # The numbers of samples are the numbers drawn: nothing is left to limit.
        raw = _draw(config, seed)
        provenance["input_dim"] = raw.inputs.shape[1]
        if config.provider == "shifted_gauss":
            provenance["shift"] = _shift(config)
        return prepare(raw, centre=config.centre, flatten=config.flatten, seed=seed, provenance=provenance)
    return prepare(
        _read(config, data_dir),
        classes=config.classes,
        n_samples=config.n_samples,
        n_heldout=config.n_heldout,
        heldout_share=config.heldout_share,
        centre=config.centre,
        flatten=config.flatten,
        seed=seed,
        provenance=provenance,
    )


@dataclass(frozen=True)
class Outline:
    """How large a data set is.

    Args:
        n_samples, n_heldout: of its two parts.
        signature: shape, classes, and the scale of one seed's.
    """

    n_samples: int
    n_heldout: int
    signature: Signature

    @classmethod
    def of(cls, data: Dataset) -> Outline:
        """The outline of a data set."""
        return cls(data.n_samples, data.n_heldout, Signature.of(data))


def data_outline(config: DataConfig, *, data_dir: str | Path | None = None) -> Outline:
    """How large the data are; real data are read for it, once for all seeds.

    Raises:
        DataError: the data cannot be found, downloaded, read, or do not allow what was asked for.
    """
    if config.is_synthetic:
        signature = Signature((config.input_dim or synthetic.DEFAULT_INPUT_DIM,), 2, 0.0, (0.0,), (1.0,))
        return Outline(
            config.n_samples or synthetic.DEFAULT_N_SAMPLES, config.n_heldout or synthetic.DEFAULT_N_HELDOUT, signature
        )
    return _outline_of_files(config.model_dump_json(), None if data_dir is None else str(data_dir))


@lru_cache(maxsize=32)
def _outline_of_files(config: str, data_dir: str | None) -> Outline:
    return Outline.of(load_dataset(DataConfig.model_validate_json(config), data_dir=data_dir))


def depends_on_seed(config: DataConfig) -> bool:
    """Whether another seed gives other data: drawn data, a drawn split, or a drawn limit.

    For the user's own files, a split is looked for by name, without decoding.

    Raises:
        DataError: the user's files cannot be listed.
    """
    _refuse_in_memory(config)
    if config.is_synthetic or config.n_samples is not None or config.n_heldout is not None:
        return True
    if config.provider == "folder":
        return scan_folder(_path(config)).heldout is None
    if config.provider == "npz":
        return not npz_has_split(_path(config))
    return config.provider == "digits"


def data_fingerprint(config: DataConfig, *, data_dir: str | Path | None = None) -> str | None:
    """SHA-256 over the contents and relative names of the files that the data come from, without decoding them.

    It does not depend on where the files lie; for the known data sets neither on how they are packed.

    Args:
        config: which data.
        data_dir: as for ``load_dataset``; absent files are downloaded.

    Returns:
        64 hexadecimal digits; None for synthetic data.

    Raises:
        DataError: the files cannot be found, downloaded or read.
    """
    _refuse_in_memory(config)
    if config.is_synthetic:
        return None
    if config.provider in IDX_DATASETS:
        return _idx_hash(IDX_DATASETS[config.provider], resolve_data_dir(data_dir))
    if config.provider == "cifar10":
        return cifar10_hash(resolve_data_dir(data_dir))
    if config.provider == "digits":
        return digits_hash()
    return folder_hash(_path(config)) if config.provider == "folder" else npz_hash(_path(config))


def _name(config: DataConfig) -> str:
    # The path's last part tells people what it was; where it lay is nobody's business.
    return config.provider if config.path is None else f"{config.provider}:{_path(config).name}"


def _path(config: DataConfig) -> Path:
    path = Path(config.path or "").expanduser()
    if not path.exists():
        raise DataError(f"there is no {path}, which data.name = {config.name} names; check the path")
    return path


def _shift(config: DataConfig) -> float:
    return synthetic.DEFAULT_SHIFT if config.shift is None else config.shift


def _draw(config: DataConfig, seed: int) -> RawData:
    n_samples = config.n_samples or synthetic.DEFAULT_N_SAMPLES
    n_heldout = config.n_heldout or synthetic.DEFAULT_N_HELDOUT
    input_dim = config.input_dim or synthetic.DEFAULT_INPUT_DIM
    if config.provider == "shifted_gauss":
        return synthetic.shifted_gauss(
            n_samples=n_samples, n_heldout=n_heldout, input_dim=input_dim, shift=_shift(config), seed=seed
        )
    draw = {"gauss": synthetic.gauss, "uniform": synthetic.uniform}[config.provider]
    return draw(n_samples=n_samples, n_heldout=n_heldout, input_dim=input_dim, seed=seed)


def _read(config: DataConfig, data_dir: str | Path | None) -> RawData:
    readers: dict[str, Callable[[], RawData]] = {
        "digits": read_digits,
        "cifar10": lambda: read_cifar10(resolve_data_dir(data_dir)),
        "folder": lambda: read_folder(_path(config), config.classes),
        "npz": lambda: read_npz(_path(config)),
    }
    for name, dataset in IDX_DATASETS.items():
        readers[name] = lambda dataset=dataset: read_idx_dataset(dataset, resolve_data_dir(data_dir))
    return readers[config.provider]()


def _refuse_in_memory(config: DataConfig) -> None:
    if config.provider == IN_MEMORY:
        raise DataError(
            "data.name = python stands for data handed over as objects; pass them to the run, or name other data"
        )


def _idx_hash(dataset: IdxDataset, directory: Path) -> str:
    digests: dict[str, str] = {}
    for name, path in locate_idx(dataset, directory).items():
        # Unpacked, so that a plain file and every way to compress it are one identity.
        digests[name] = _hash_of_version(path, *_version(path))
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()


def _version(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=64)
def _hash_of_version(path: Path, changed: int, size: int) -> str:
    """The hash of a file as it was last changed: many experiments over the same files read them once."""
    return hash_idx(path)
