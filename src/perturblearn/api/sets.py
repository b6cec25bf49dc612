"""Perturbed sets on disk: writing them, learning from them, checking them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from perturblearn.api.commands import command
from perturblearn.api.run import ConfigLike, Running, make_experiment
from perturblearn.api.stores import artefact_store, cache_store
from perturblearn.classifiers import Classifier
from perturblearn.config import DataConfig, ExperimentConfig, ModelConfig, PythonConfig, config_tree
from perturblearn.data import Dataset, Signature, data_fingerprint, dataset_from, load_dataset
from perturblearn.errors import ConfigError, DataError
from perturblearn.experiment import Experiment, Part, Shard
from perturblearn.graph import AnyStage, Executor, Grouped, Plan, Watcher, content_key, make_plan
from perturblearn.perturbed import Damage, PerturbedSet, ShardSource, StoredSet, lost_standard, repair, write_set
from perturblearn.perturbed import perturb as perturb_rows
from perturblearn.perturbed import verify as verify_files
from perturblearn.perturbed.manifest import MANIFEST
from perturblearn.report import Result
from perturblearn.store import ArtefactStore

SetLike = StoredSet | str | os.PathLike[str]

_OF_THE_SET = ("data", "standard", "attack")
"""Sections that a set has settled."""
_SAME_DATA = ("data.name",)
"""Their keys that only say where something is."""


def perturb(
    config: ConfigLike | None = None,
    *,
    out: str | os.PathLike[str],
    data: Any = None,
    standard: Any = None,
    attack: Any = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    watch: Watcher | None = None,
) -> list[StoredSet]:
    """Train f, or take it as it stands, and write its perturbed set, for every seed: the first half of a run.

    A set is made shard by shard, so it may be larger than memory; an interrupted call goes on from its last block. It
    is the same, to the bit, as the one that `learn_from_perturbations` trains g on.

    Args:
        config, data, standard, attack, overrides, data_dir: as in `learn_from_perturbations`.
        out: folder for the sets' own folders and the store of finished stages.
        cache_dir, cache_size: likewise.
        force: repeat stages that are finished, and write sets again.
        watch: called with the progress of each stage.

    Returns:
        The training part of each set, as a data set of torch: ``(input, class index)``.

    Raises:
        ConfigError, DataError, DivergenceError, ModelError, StoreError: as in `learn_from_perturbations`; and several
            learning rates of f, of which a set has one.

    Example:
        >>> (samples,) = perturb(out="sets", overrides={"seeds": 1})  # doctest: +SKIP
        >>> loader = torch.utils.data.DataLoader(samples, batch_size=64, shuffle=True)  # doctest: +SKIP
    """
    prepared = prepare_perturbing(
        config, data=data, standard=standard, attack=attack, overrides=overrides, data_dir=data_dir
    )
    return prepared.run(out, cache_store(cache_dir, cache_size), force=force, watch=watch)


def prepare_perturbing(
    config: ConfigLike | None = None,
    *,
    data: Any = None,
    standard: Any = None,
    attack: Any = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Perturbing:
    """What `perturb` does with these arguments, validated and not yet done."""
    experiment = make_experiment(
        config, data=data, standard=standard, attack=attack, overrides=overrides, data_dir=data_dir
    )
    return Perturbing(experiment, {seed: experiment.shards(seed) for seed in experiment.seeds})


@dataclass(frozen=True)
class Perturbing:
    """The writing of perturbed sets.

    Args:
        experiment: whose sets they are.
        shards: by seed and part, the stages that a set is written from.
    """

    experiment: Experiment
    shards: Mapping[int, Mapping[Part, tuple[Shard, ...]]]

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run."""
        return make_plan(self._targets(list(self.shards)), store, force=force)

    def folder(self, seed: int, out: Path) -> Path:
        """Where the set of a seed goes."""
        return out / f"{self.experiment.config.name}-seed-{seed}-{self._key(seed)[:10]}"

    def run(
        self,
        out: str | os.PathLike[str],
        cache: ArtefactStore | None = None,
        *,
        force: bool = False,
        watch: Watcher | None = None,
    ) -> list[StoredSet]:
        """Make what is not finished, and write the sets."""
        folders = {seed: self.folder(seed, Path(out)) for seed in self.shards}
        missing = [seed for seed in self.shards if force or not self._is_written(seed, folders[seed])]
        if missing:
            # Sets are put together here and moved into place, so that takes a store on their own disk.
            store = artefact_store(Path(out))
            stages_in = store if cache is None else cache
            executor = Executor(make_plan(self._targets(missing), stages_in, force=force), stages_in, watch)
            executor.run()
            for seed in missing:
                with store.scratch() as scratch:
                    inside = scratch / folders[seed].name
                    inside.mkdir()
                    self._write(seed, executor, inside)
                    store.move_into_place(inside, folders[seed], replace=True)
        return [StoredSet(folder) for folder in folders.values()]

    def _targets(self, seeds: list[int]) -> Iterator[AnyStage]:
        for seed, of_seed in self.experiment.seeds.items():
            # What trains together is the same whichever sets are there already.
            standard = of_seed.branches[0].standard
            if seed in seeds or isinstance(standard, Grouped):
                yield standard
        for seed in seeds:
            yield self.experiment.seeds[seed].branches[0].measures
            for stages in self.shards[seed].values():
                yield from stages

    def _key(self, seed: int) -> str:
        return content_key([stage.key for stages in self.shards[seed].values() for stage in stages])

    def _is_written(self, seed: int, folder: Path) -> bool:
        if not (folder / MANIFEST).exists():
            return False
        # What another version wrote, or what is damaged, is not silently replaced.
        stored = StoredSet(folder)
        # A set says how g is to be trained, and where its data are: with other answers it is written again.
        return stored.key == self._key(seed) and stored.manifest["config"] == self._tree(seed)

    def _tree(self, seed: int) -> dict[str, Any]:
        """The configuration that a set carries: that of its own seed."""
        return json.loads(json.dumps({**config_tree(self.experiment.config), "seeds": [seed]}))

    def _write(self, seed: int, executor: Executor, folder: Path) -> None:
        experiment, of_seed = self.experiment, self.experiment.seeds[seed]
        config, data = experiment.config, executor.result(of_seed.data)
        about = {
            "name": config.name,
            "key": self._key(seed),
            "seed": seed,
            "attack": config_tree(config)["attack"],
            **{name: getattr(config.attack, name) for name in ("norm", "epsilon", "source", "targets")},
            "dtype": config.dtype,
            "input_shape": list(data.inputs.shape[1:]),
            "image_shape": None if data.image_shape is None else list(data.image_shape),
            "value_range": data.dump().content["value_range"],
            "offset": data.mean,
            "class_names": list(data.class_names),
            "label_values": data.label_values,
            "signature": Signature.of(data).to_dict(),
            "data": {"name": config.data.provider, "fingerprint": experiment.fingerprint},
            "config": self._tree(seed),
        }
        write_set(
            folder,
            about=about,
            parts={part: self._sources(stages, executor) for part, stages in self.shards[seed].items()},
            standard=executor.result(of_seed.branches[0].standard).dump(),
            accuracy=executor.result(of_seed.branches[0].measures),
        )

    def _sources(self, shards: tuple[Shard, ...], executor: Executor) -> Iterator[ShardSource]:
        for shard in shards:
            content = executor.result(shard).dump().content
            yield ShardSource(shard.rows, content, partial(executor.place, shard))


def learn(
    perturbed: SetLike,
    *,
    perturbation: Any = None,
    data: Any = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    report: bool = True,
    watch: Watcher | None = None,
) -> Result:
    """Train g on a perturbed set that is there, and measure it on clean data: the second half of a run.

    Args:
        perturbed: the set, or its folder.
        perturbation: the network of g in place of the configuration's, as in `learn_from_perturbations`. Keys of the
            other network do not hold for it, nor how that one is trained if only one of them is of the theory.
        data: where the set's data are now, by name or as objects; None where the set found them.
        overrides: keys by dotted name: of ``perturbation``, ``controls``, ``measures``, ``mixing``, ``name`` and
            ``seeds``, which are g's. By default g has the seed that the set has.
        data_dir, out, cache_dir, cache_size, force, report, watch: as in `learn_from_perturbations`.

    Returns:
        The result, as of a whole run.

    Raises:
        ConfigError: a key that the set has settled, or that is wrong.
        DataError: the data are not those that the set was made from.
        StoreError: there is no set, or it is damaged.
        DivergenceError, ModelError: see `learn_from_perturbations`.
    """
    prepared = prepare_learning(
        perturbed, perturbation=perturbation, data=data, overrides=overrides, data_dir=data_dir, report=report
    )
    return prepared.run(out, cache_store(cache_dir, cache_size), force=force, watch=watch)


def prepare_learning(
    perturbed: SetLike,
    *,
    perturbation: Any = None,
    data: Any = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    report: bool = True,
) -> Running:
    """What `learn` does with these arguments, validated and not yet done."""
    stored = _opened(perturbed)
    for key in overrides or {}:
        if key.partition(".")[0] in _OF_THE_SET and key not in _SAME_DATA:
            raise ConfigError(
                f"the key {key} belongs to the set {stored.folder}, which is there already; leave it out, or write "
                "another set with 'perturblearn perturb'"
            )
        if key == "dtype":
            raise ConfigError(f"the set {stored.folder} has settled the key dtype; leave it out")
    keys = {"seeds": [stored.seed], **(overrides or {})}
    _require_data(stored, data, "perturblearn.learn(set, data=...)")
    network = keys.get("perturbation.model.name") if perturbation is None else perturbation
    config = config_tree(stored.config) if network is None else _for_network(stored.config, network)
    with _data_may_have_moved(stored, is_named=data is not None or "data.name" in keys):
        experiment = make_experiment(
            config, data=data, perturbation=perturbation, overrides=keys, data_dir=data_dir, stored=stored
        )
    _require_same_data(stored, experiment.fingerprint, experiment.config.data)
    given = keys if network is None else {**keys, "perturbation.model.name": network}
    again = command("learn", stored.folder, options={"data": data, "data-dir": data_dir}, keys=given)
    return Running(experiment, report=report, command=again)


def verify(
    perturbed: SetLike,
    *,
    mend: bool = False,
    data: Any = None,
    data_dir: str | os.PathLike[str] | None = None,
    report: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> list[Damage]:
    """Compare every file of a perturbed set with what was written.

    Args:
        perturbed: the set, or its folder.
        mend: make damaged shards again, from the set's own f and its data; the set must then be as it was.
        data: where the set's data are now, if shards are to be made again; None where the set found them.
        data_dir: where named data lie.
        report: called with files done, files in all and a file's name.

    Returns:
        What was found damaged; with ``mend`` all of it has been made again.

    Raises:
        StoreError: there is no set, its manifest is damaged, or a file that is made again is not what was written;
            then that file is as it was, and files before it have been repaired.
        DataError: the data are needed, and are not there or not those that the set was made from.
        ModelError: f's network is the user's own, is needed, and is not there.
    """
    stored = _opened(perturbed)
    damages = verify_files(stored, report=report)
    harm = [damage for damage in damages if not damage.is_extra]
    if mend and harm:
        maker = _Maker(stored, data, data_dir)
        repair(stored, harm, maker.shard, standard=maker.lost_standard)
    return damages


class _Maker:
    """Makes a set's shards again."""

    def __init__(self, stored: StoredSet, data: Any, data_dir: str | os.PathLike[str] | None) -> None:
        self._stored = stored
        self._data = data
        self._data_dir = None if data_dir is None else Path(data_dir)
        self._known: tuple[Classifier, Dataset] | None = None

    def shard(self, part: str, rows: range) -> PerturbedSet:
        config = self._stored.config
        if self._known is None:
            self._known = self._load()
        standard, data = self._known
        return perturb_rows(standard, data, config.attack, seed=self._stored.seed, heldout=part == "heldout", rows=rows)

    def lost_standard(self) -> Any:
        raise lost_standard(self._stored.folder)

    def _load(self) -> tuple[Classifier, Dataset]:
        stored, config = self._stored, self._stored.config
        standard = Classifier.load(stored.standard())
        _require_data(stored, self._data, "perturblearn.verify(set, mend=True, data=...)")
        if self._data is not None and not isinstance(self._data, str):
            data = dataset_from(self._data)
            _require_same_data(stored, data.content_hash(), config.data)
        else:
            of_set = config.data if self._data is None else config.data.model_copy(update={"name": self._data})
            with _data_may_have_moved(stored, is_named=self._data is not None):
                fingerprint = data_fingerprint(of_set, data_dir=self._data_dir)
            _require_same_data(stored, fingerprint, of_set)
            data = load_dataset(of_set, seed=stored.seed, data_dir=self._data_dir)
        # Where the set's device is not at hand, another may do: the checksum says.
        device = config.device if config.device == "cpu" or torch.cuda.is_available() else "cpu"
        is_deep = config.standard.model.is_network or config.perturbation.model.is_network
        data = data.to(dtype=getattr(torch, config.dtype), device="cpu" if is_deep else device)
        return standard.to(device=device), data


def _opened(perturbed: SetLike) -> StoredSet:
    return perturbed if isinstance(perturbed, StoredSet) else StoredSet(perturbed)


def _for_network(config: ExperimentConfig, network: Any) -> dict[str, Any]:
    """The set's configuration for a g that may be another network, to which keys of the set's own mean nothing."""
    tree, of_set = config_tree(config), config.perturbation.model
    if network != of_set.name:
        # A network of the theory and a deep one are trained in different ways.
        named = ModelConfig.named(network)
        if of_set.is_network == (named is None or named.is_network):
            del tree["perturbation"]["model"]
        else:
            del tree["perturbation"]
    return tree


@contextmanager
def _data_may_have_moved(stored: StoredSet, *, is_named: bool) -> Iterator[None]:
    """Tell somebody who named no data what to do where they are not found or cannot be read."""
    try:
        yield
    except DataError as error:
        if is_named:
            raise
        raise DataError(f"{error}, or say with --data where the data of {stored.folder} are now") from error


def _require_data(stored: StoredSet, data: Any, call: str) -> None:
    if isinstance(stored.config.data, PythonConfig) and data is None:
        raise DataError(f"the data of {stored.folder} were handed over in Python; call {call} with them")


def _require_same_data(stored: StoredSet, fingerprint: str | None, config: DataConfig) -> None:
    # Synthetic data have no files that could be compared, but are what their configuration says.
    is_same = config == stored.config.data if fingerprint is None else True
    if fingerprint != stored.manifest["data"]["fingerprint"] or not is_same:
        raise DataError(
            f"the data are not those that {stored.folder} was made from ({stored.config.data.name}); name the same "
            "ones, wherever they are now, with --data"
        )
