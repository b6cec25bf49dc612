"""Writing perturbed sets to disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from perturblearn.api.export import export
from perturblearn.api.objects import UserObjects
from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.prepared import Prepared
from perturblearn.api.run import make_experiment
from perturblearn.config import JSON, ConfigLike, ExperimentConfig, Keys, config_tree
from perturblearn.data import Signature
from perturblearn.errors import ConfigError
from perturblearn.experiment import Experiment, Part, Shard, try_networks
from perturblearn.graph import AnyStage, Executor, Grouped, Plan, Watcher, content_key, make_plan
from perturblearn.perturbed import ShardSource, StoredSet, write_set
from perturblearn.perturbed.manifest import MANIFEST


def perturb(
    config: ConfigLike | None = None,
    *,
    out: PathLike,
    data: Any = None,
    standard: Any = None,
    attack: Any = None,
    scale: str | None = None,
    tensors: PathLike | None = None,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
    cache_dir: PathLike | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    watch: Watcher | None = None,
) -> list[StoredSet]:
    """Train f or take it unchanged, and write its perturbed set, for every seed: the first half of a run.

    A set is made shard by shard, so it may be larger than memory; an interrupted call continues after its last block.
    The set is equal to the bit to the one on which `learn_from_perturbations` trains g.

    Args:
        config, data, standard, attack, overrides, data_dir: as in `learn_from_perturbations`. The configuration may be
            ``"studies/constructed_sets"``: the four constructed data sets of Ilyas19, each of which takes its name.
        scale: of the constructed sets, as in `reproduce`; None for ``"quick"``.
        tensors: folder for the same sets as `export` writes them, named after the set, and its seed where there are
            several; None writes none.
        out: folder for the sets' own folders and the store of finished stages.
        cache_dir, cache_size: as in `learn_from_perturbations`.
        force: repeat stages that are finished, and write sets again.
        watch: called with the progress of each stage.

    Returns:
        The training part of each set, a torch data set of ``(input, class index)``.

    Raises:
        ConfigError, DataError, DivergenceError, ModelError, StoreError: as in `learn_from_perturbations`; also if f
            has several learning rates, because a set is that of one f.

    Example:
        >>> (samples,) = perturb(out="sets", overrides={"seeds": 1})  # doctest: +SKIP
        >>> loader = torch.utils.data.DataLoader(samples, batch_size=64, shuffle=True)  # doctest: +SKIP
    """
    options = RunOptions(out=out, cache_dir=cache_dir, cache_size=cache_size, force=force, watch=watch)
    objects = UserObjects(data=data, standard=standard, attack=attack)
    prepared = prepare_perturb(config, objects, scale=scale, tensors=tensors, overrides=overrides, data_dir=data_dir)
    return prepared.run(options)


def prepare_perturb(
    config: ConfigLike | None = None,
    objects: UserObjects | None = None,
    *,
    scale: str | None = None,
    tensors: PathLike | None = None,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
) -> PreparedSets:
    """What `perturb` does with these arguments, validated and not yet done."""
    from perturblearn.papers import CONSTRUCTED_SETS

    configs: list[tuple[ConfigLike | None, Keys | None]] = [(config, overrides)]
    if config == CONSTRUCTED_SETS.name:
        configs = [(each, None) for each in _constructed(scale or "quick", overrides or {})]
    elif scale is not None:
        raise ConfigError(f"scale = {scale!r} is that of {CONSTRUCTED_SETS.name} alone; remove it")
    experiments = (make_experiment(each, objects, overrides=keys, data_dir=data_dir) for each, keys in configs)
    return PreparedSets(
        tuple(
            PreparedSetsOf(experiment, {seed: experiment.shards(seed) for seed in experiment.seeds})
            for experiment in experiments
        ),
        tensors,
    )


def _constructed(scale: str, overrides: Keys) -> Iterator[ExperimentConfig]:
    """The experiments of the constructed data sets, each named after its set."""
    from perturblearn.papers import CONSTRUCTED_SETS

    study = CONSTRUCTED_SETS
    if scale not in study.scales:
        raise ConfigError(f"scale = {scale!r}, but {study.name} has {' and '.join(study.scales)}; choose one")
    if "name" in overrides:
        raise ConfigError(f"name = {overrides['name']!r}, but the sets of {study.name} have their own; remove it")
    for point in study.at(scale).with_keys(overrides).points(seeds=3):
        yield point.config.model_copy(update={"name": str(point.values["set"])})


@dataclass(frozen=True)
class PreparedSets(Prepared[list[StoredSet]]):
    """Perturbed sets of one or more experiments, which share what is equal.

    Args:
        members: the experiments' own.
        tensors: folder for the same sets as plain tensors; None writes none.
    """

    members: tuple[PreparedSetsOf, ...]
    tensors: PathLike | None = None

    @property
    def name(self) -> str:
        """What the first of them is called."""
        return self.members[0].name

    def _computed_key(self) -> str:
        return content_key([member.key for member in self.members])

    def plan(self, options: RunOptions) -> Plan:
        """What would run, and what is finished."""
        targets = (stage for member in self.members for stage in member.targets(list(member.shards)))
        return make_plan(targets, options.stages, force=options.force)

    def run(self, options: RunOptions) -> list[StoredSet]:
        """Make what is not finished, and write the sets.

        Raises:
            StoreError: a folder cannot be written.
        """
        sets = [stored for member in self.members for stored in member.run(options)]
        if self.tensors is not None:
            names = [stored.manifest["name"] for stored in sets]
            for name, stored in zip(names, sets, strict=True):
                prefix = name if names.count(name) == 1 else f"{name}-seed-{stored.seed}"
                export(stored, self.tensors, prefix=prefix)
        return sets


@dataclass(frozen=True)
class PreparedSetsOf:
    """Perturbed sets of one experiment that are ready to be made and written, each into a folder of its own.

    Args:
        experiment: the experiment whose sets they are.
        shards: by seed and part, the stages that a set is written from.
    """

    experiment: Experiment
    shards: Mapping[int, Mapping[Part, tuple[Shard, ...]]]

    @property
    def name(self) -> str:
        """What the configuration calls them."""
        return self.experiment.config.name

    @property
    def key(self) -> str:
        """SHA-256 of what makes them."""
        return content_key([self._key(seed) for seed in self.shards])

    def set_folder(self, seed: int, out: PathLike) -> Path:
        """Folder of a seed's set among the sets in ``out``."""
        return Path(out) / f"{self.name}-seed-{seed}-{self._key(seed)[:10]}"

    def run(self, options: RunOptions) -> list[StoredSet]:
        """Make what is not finished, and write the sets.

        Raises:
            StoreError: a folder cannot be written.
        """
        assert options.out is not None
        folders = {seed: self.set_folder(seed, options.out) for seed in self.shards}
        anew = options.force or not self.experiment.is_identified
        missing = [seed for seed in self.shards if anew or not self._is_written(seed, folders[seed])]
        if missing:
            plan = make_plan(self.targets(missing), options.stages, force=options.force)
            try_networks(plan)
            executor = options.make_executor(plan, options.stages, options.watcher)
            executor.run()
            # Sets are put together beside their place and moved there, which takes a store on their own disk.
            assert options.results is not None
            for seed in missing:
                with options.results.scratch() as scratch:
                    inside = scratch / folders[seed].name
                    inside.mkdir()
                    self._write(seed, executor, inside)
                    options.results.move_into_place(inside, folders[seed], replace=True)
        return [StoredSet(folder) for folder in folders.values()]

    def targets(self, seeds: list[int]) -> Iterator[AnyStage]:
        """The stages that the sets of some seeds are written from."""
        for seed, of_seed in self.experiment.seeds.items():
            # All f train as one group, whichever sets exist already: their rounding depends on who is in it.
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
        # A set that is damaged, or that another version wrote, is reported and not silently replaced.
        stored = StoredSet(folder)
        # A set says how to train g and where its data are; where that has changed, it is written again.
        return stored.key == self._key(seed) and stored.manifest["config"] == self._tree(seed)

    def _tree(self, seed: int) -> dict[str, JSON]:
        """The configuration that a set carries: that of its own seed."""
        return json.loads(json.dumps({**config_tree(self.experiment.config), "seeds": [seed]}))

    def _write(self, seed: int, executor: Executor, folder: Path) -> None:
        experiment, of_seed = self.experiment, self.experiment.seeds[seed]
        config, data = experiment.config, executor.result(of_seed.data)
        about: dict[str, JSON] = {
            "name": config.name,
            "key": self._key(seed),
            "seed": seed,
            "attack": config_tree(config.attack),
            **{name: getattr(config.attack, name) for name in ("norm", "epsilon", "source", "targets")},
            "dtype": config.dtype,
            "input_shape": list(data.inputs.shape[1:]),
            "image_shape": None if data.image_shape is None else list(data.image_shape),
            "value_range": data.dump().content["value_range"],
            "offset": data.mean,
            "signature": Signature.of(data).to_dict(),
            "data": {"name": config.data.provider, "fingerprint": experiment.fingerprint},
            "config": self._tree(seed),
        }
        if data.standardisation is not None:
            about["standardisation"] = data.standardisation.to_dict()
        write_set(
            folder,
            about=about,
            classes=dict(zip(data.class_names, data.label_values, strict=True)),
            parts={part: self._sources(stages, executor) for part, stages in self.shards[seed].items()},
            standard=executor.result(of_seed.branches[0].standard).dump(),
            accuracy=executor.result(of_seed.branches[0].measures),
        )

    def _sources(self, shards: tuple[Shard, ...], executor: Executor) -> Iterator[ShardSource]:
        for shard in shards:
            yield ShardSource(shard.rows, executor.result(shard).zero_gradients, partial(executor.place, shard))
