"""Writing perturbed sets to disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from perturblearn.api.objects import UserObjects
from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.prepared import Prepared
from perturblearn.api.run import make_experiment
from perturblearn.config import JSON, ConfigLike, Keys, config_tree
from perturblearn.data import Signature
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
        config, data, standard, attack, overrides, data_dir: as in `learn_from_perturbations`.
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
    prepared = prepare_perturb(config, objects, overrides=overrides, data_dir=data_dir)
    return prepared.run(options)


def prepare_perturb(
    config: ConfigLike | None = None,
    objects: UserObjects | None = None,
    *,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
) -> PreparedSets:
    """What `perturb` does with these arguments, validated and not yet done."""
    experiment = make_experiment(config, objects, overrides=overrides, data_dir=data_dir)
    return PreparedSets(experiment, {seed: experiment.shards(seed) for seed in experiment.seeds})


@dataclass(frozen=True)
class PreparedSets(Prepared[list[StoredSet]]):
    """Perturbed sets that are ready to be made and written, each into a folder of its own.

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

    def _computed_key(self) -> str:
        return content_key([self._key(seed) for seed in self.shards])

    def plan(self, options: RunOptions) -> Plan:
        """What would run, and what is finished."""
        return make_plan(self._targets(list(self.shards)), options.stages, force=options.force)

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
            plan = make_plan(self._targets(missing), options.stages, force=options.force)
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

    def _targets(self, seeds: list[int]) -> Iterator[AnyStage]:
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
