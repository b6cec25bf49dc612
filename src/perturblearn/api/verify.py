"""Checking and repairing perturbed sets on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from perturblearn.api.options import PathLike
from perturblearn.api.stored import SetLike, data_may_have_moved, open_set, require_data, require_same_data
from perturblearn.classifiers import Classifier
from perturblearn.data import Dataset, data_fingerprint, dataset_from, load_dataset
from perturblearn.errors import ConfigError
from perturblearn.experiment import draws_of_data, start_of_sources, start_of_targets
from perturblearn.perturbed import Damage, PerturbedSet, StoredSet, lost_standard
from perturblearn.perturbed import perturb as perturb_rows
from perturblearn.perturbed import repair as repair_files
from perturblearn.perturbed import verify as verify_files


def verify(
    perturbed: SetLike,
    *,
    repair: bool = False,
    data: Any = None,
    data_dir: PathLike | None = None,
    report: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> list[Damage]:
    """Check every file of a perturbed set against its checksum, and repair damaged ones if asked to.

    Args:
        perturbed: the set, or its folder.
        repair: make damaged shards again, from the set's own f and its data.
        data: the set's data, by name or as objects, for the repair; None if they are still where the set was made
            from them.
        data_dir: where named data are stored.
        report: called with the number of files checked, the number of all files, and a file's name.

    Returns:
        The damaged files; with ``repair``, all of them have been made again.

    Raises:
        StoreError: there is no set, its manifest is damaged, or a file that was made again differs from what was
            written. Such a file is left as it was; the files before it have been repaired.
        DataError: a repair needs the data, and they are missing or not those that the set was made from.
        ModelError: a repair needs f's network, which is the user's own, and it cannot be found.
    """
    stored = open_set(perturbed)
    damages = verify_files(stored, report=report)
    harm = [damage for damage in damages if not damage.is_extra]
    if repair and harm:
        maker = _Maker(stored, data, data_dir)
        repair_files(stored, harm, maker.shard, standard=maker.lost_standard)
    return damages


class _Maker:
    """Makes a set's shards again."""

    def __init__(self, stored: StoredSet, data: Any, data_dir: PathLike | None) -> None:
        self._stored = stored
        self._data = data
        self._data_dir = None if data_dir is None else Path(data_dir)
        self._known: tuple[Classifier, Dataset] | None = None

    def shard(self, part: str, rows: range) -> PerturbedSet:
        config = self._stored.config
        if config.attack.n_others:
            raise ConfigError(
                f"the set {self._stored.folder} cannot be repaired: attack.keep_others = {config.attack.n_others} was "
                "searched with networks that no set holds; write it again with 'perturblearn perturb'"
            )
        if self._known is None:
            self._known = self._load()
        standard, data = self._known
        return perturb_rows(
            standard,
            data,
            config.attack,
            seed=self._stored.seed,
            heldout=part == "heldout",
            rows=rows,
            published_sources=start_of_sources(config, part),
            published_targets=start_of_targets(config, part),
        )

    def lost_standard(self) -> Any:
        raise lost_standard(self._stored.folder)

    def _load(self) -> tuple[Classifier, Dataset]:
        stored, config = self._stored, self._stored.config
        standard = Classifier.load(stored.standard())
        require_data(stored, self._data, "perturblearn.verify(set, repair=True, data=...)")
        if self._data is not None and not isinstance(self._data, str):
            data = dataset_from(self._data)
            require_same_data(stored, data.content_hash(), config.data)
        else:
            of_set = config.data if self._data is None else config.data.model_copy(update={"name": self._data})
            with data_may_have_moved(stored, is_named=self._data is not None):
                fingerprint = data_fingerprint(of_set, data_dir=self._data_dir)
            require_same_data(stored, fingerprint, of_set)
            data = load_dataset(of_set, seed=stored.seed, data_dir=self._data_dir, draws=draws_of_data(config))
        # Where the set's device is missing, another may do: the checksum tells.
        device = config.device if config.device == "cpu" or torch.cuda.is_available() else "cpu"
        is_deep = config.standard.model.is_network or config.perturbation.model.is_network
        data = data.to(dtype=getattr(torch, config.dtype), device="cpu" if is_deep else device)
        return standard.to(device=device), data
