"""Loading data sets by name, their size, and whether they depend on the seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from perturblearn.config import JSON
from perturblearn.config.data import (
    CorrelatedConfig,
    DataConfig,
    FolderConfig,
    NpzConfig,
    RealConfig,
    ShiftedGaussConfig,
    SplitConfig,
    SyntheticConfig,
)
from perturblearn.data.dataset import Dataset
from perturblearn.data.decoded import DecodedCache
from perturblearn.data.npz import npz_has_split
from perturblearn.data.places import refuse_in_memory, user_path
from perturblearn.data.prepare import prepare
from perturblearn.data.providers import data_fingerprint, read_data
from perturblearn.data.published import draw_published
from perturblearn.data.raw import RawData
from perturblearn.data.scan import scan_folder
from perturblearn.data.signature import Signature
from perturblearn.data.standardise import warn_of_scale
from perturblearn.data.synthetic import draw_samples
from perturblearn.seeding import PublishedDraws

_last_decoded = DecodedCache()


def load_dataset(
    config: DataConfig, *, seed: int = 0, data_dir: str | Path | None = None, draws: PublishedDraws | None = None
) -> Dataset:
    """Load the data that a configuration names and prepare them for an experiment.

    Args:
        config: the data, the part to use, and how to prepare them.
        seed: the run's seed, for synthetic data, drawn splits and drawn limits.
        data_dir: folder of MNIST, Fashion-MNIST and CIFAR-10, also for downloads; see ``resolve_data_dir``.
        draws: the published script by which synthetic data are drawn; None for our own draws.

    Returns:
        The data. Their provenance names the provider, the files' content hash and all choices; with ``skip_bad`` also
        the skipped unreadable images (``skipped``).

    Raises:
        DataError: the data cannot be found, downloaded or read, or do not fit the configuration.
    """
    config = refuse_in_memory(config)
    fingerprint = data_fingerprint(config, data_dir=data_dir)
    provenance: dict[str, JSON] = {"name": _name(config), "sha256": fingerprint}
    if isinstance(config, SyntheticConfig):
        # Exactly as many samples are drawn as the configuration asks for, so there is nothing left to limit.
        raw = draw_samples(config, seed=seed) if draws is None else draw_published(config, draws, seed=seed)
        provenance["input_dim"] = raw.inputs.shape[1]
        if isinstance(config, ShiftedGaussConfig):
            provenance["shift"] = config.shift
        if isinstance(config, CorrelatedConfig):
            provenance["rho"] = config.rho
        return prepare(
            raw,
            centre=config.centre,
            standardise=config.is_standardised,
            flatten=config.flatten,
            seed=seed,
            provenance=provenance,
        )
    raw = _decoded(config, fingerprint, data_dir)
    if not config.is_standardised:
        warn_of_scale(raw.inputs, name=_name(config), advice="set data.standardise = true")
    if isinstance(config, FolderConfig) and config.skip_bad:
        provenance["skipped"] = list(raw.skipped)
    return prepare(
        raw,
        classes=config.classes,
        n_samples=config.n_samples,
        n_heldout=config.n_heldout,
        heldout_share=config.heldout_share if isinstance(config, SplitConfig) else None,
        model_classes=config.model_classes,
        centre=config.centre,
        standardise=config.is_standardised,
        flatten=config.flatten,
        seed=seed,
        provenance=provenance,
    )


@dataclass(frozen=True)
class Outline:
    """The size of a data set.

    Args:
        n_samples, n_heldout: numbers of training and held-out samples.
        signature: shape, classes, and the scale of the data of one seed.
    """

    n_samples: int
    n_heldout: int
    signature: Signature

    @classmethod
    def of(cls, data: Dataset) -> Outline:
        """The outline of a data set."""
        return cls(data.n_samples, data.n_heldout, Signature.of(data))


def data_outline(config: DataConfig, *, data_dir: str | Path | None = None) -> Outline:
    """The size of the data. Real data are read for it, once for all seeds as long as they do not change.

    Args:
        config: the data and the part to use.
        data_dir: folder of the known data sets.

    Raises:
        DataError: the data cannot be found, downloaded or read, or do not fit the configuration.
    """
    if isinstance(config, SyntheticConfig):
        signature = Signature((config.input_dim,), 2, 0.0, (0.0,), (1.0,))
        return Outline(config.n_samples, config.n_heldout, signature)
    fingerprint = data_fingerprint(config, data_dir=data_dir)
    return _outline_of_version(config.model_dump_json(), None if data_dir is None else str(data_dir), fingerprint)


@lru_cache(maxsize=32)
def _outline_of_version(config: str, data_dir: str | None, fingerprint: str | None) -> Outline:
    return Outline.of(load_dataset(DataConfig.model_validate_json(config), data_dir=data_dir))


def depends_on_seed(config: DataConfig) -> bool:
    """Whether the data depend on the seed: drawn data, a drawn split, or a drawn limit.

    In the user's own files, a split is recognised by names, without decoding.

    Raises:
        DataError: the user's files cannot be listed.
    """
    config = refuse_in_memory(config)
    if isinstance(config, SyntheticConfig) or config.n_samples is not None or config.n_heldout is not None:
        return True
    return draws_split(config)


def draws_split(config: DataConfig) -> bool:
    """Whether every seed draws its own held-out part, so that one seed trains on samples that another holds out.

    Raises:
        DataError: the user's files cannot be listed.
    """
    if isinstance(config, FolderConfig):
        return scan_folder(user_path(config)).heldout is None
    if isinstance(config, NpzConfig):
        return not npz_has_split(user_path(config))
    return isinstance(config, SplitConfig)


def _name(config: DataConfig) -> str:
    # Only the last part of the path: full paths may reveal private names and must not enter results.
    return config.provider if config.path is None else f"{config.provider}:{user_path(config).name}"


def _decoded(config: RealConfig, fingerprint: str | None, data_dir: str | Path | None) -> RawData:
    # Only the chosen classes of a folder are decoded, so these are part of the key.
    how = None
    if isinstance(config, FolderConfig):
        how = (config.classes, config.skip_bad, config.image_size, config.resize)
    return _last_decoded.get((config.provider, fingerprint, how), lambda: read_data(config, data_dir=data_dir))
