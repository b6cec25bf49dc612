"""An experiment as a graph of stages, and its execution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from perturblearn.attacks import attack_fingerprint
from perturblearn.config import NOISE_SOURCES, DataConfig, ExperimentConfig, config_tree
from perturblearn.data import Dataset, Outline, data_fingerprint, data_outline, depends_on_seed
from perturblearn.errors import ConfigError
from perturblearn.experiment import stages
from perturblearn.experiment.comparison import Comparison
from perturblearn.experiment.costs import relative_work
from perturblearn.experiment.networks import identity_of
from perturblearn.experiment.seed_stages import SeedStages
from perturblearn.graph import Executor, Plan, Stage, StageKind, Watcher, content_key, make_plan
from perturblearn.perturbed import SEARCH_STEPS, StoredSet, set_size, shard_ranges
from perturblearn.store import ArtefactStore

CONTROLS = ("unperturbed", "permuted")


class Experiment:
    """The five steps of perturbation learning for every seed of a configuration.

    Args:
        config: what to do.
        dataset: data handed over as an object; None to load what the configuration names.
        data_dir: where named data lie; None for the environment's choice.
        stored: a perturbed set that is there already, with its f: nothing but g is trained. The seeds are then g's.

    Raises:
        DataError: the data's files are not there or cannot be read.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        *,
        dataset: Dataset | None = None,
        data_dir: str | Path | None = None,
        stored: StoredSet | None = None,
    ) -> None:
        self.config = config
        self._stored = stored
        self._tree = config_tree(config)
        self._identity = {
            role: identity_of(section, self._tree[role]) if section.model.is_network else self._tree[role]
            for role, section in (("standard", config.standard), ("perturbation", config.perturbation))
            if stored is None or role == "perturbation"  # of a set that is there, f's code need not be
        }
        if stored is not None and config.measures.theory:
            raise ConfigError(
                "measures.theory = true compares f with its training, which a set on disk does not hold; set "
                "measures.theory = false, or run the whole experiment"
            )
        networks = [section.model.is_network for section in (config.standard, config.perturbation)]
        # Deep networks take what fits onto their device while they train; the data stay behind.
        self._data_device = "cpu" if any(networks) else config.device
        probe = config.controls.linear_probe
        self._probes = networks[1] if probe is None else probe
        self._dataset = dataset
        self._data_dir = data_dir
        if dataset is not None:
            self.fingerprint, self._data_has_seed = dataset.content_hash(), False
        else:
            self.fingerprint = data_fingerprint(config.data, data_dir=data_dir)
            self._data_has_seed = depends_on_seed(config.data)
        self.seeds: dict[int, SeedStages] = {seed: self._seed_stages(seed) for seed in config.seeds}

    @cached_property
    def key(self) -> str:
        """SHA-256 of the stages that are wanted: equal experiments have equal keys, whatever their names and paths."""
        return content_key([stage.key for stage in self.targets])

    @property
    def targets(self) -> tuple[Stage, ...]:
        """The stages that are wanted of all seeds."""
        return tuple(stage for of_seed in self.seeds.values() for stage in of_seed.targets)

    @property
    def stage_keys(self) -> Iterator[str]:
        """The keys of all stages that belong to it, each once."""
        seen: set[str] = set()
        waiting = list(self.targets)
        while waiting:
            stage = waiting.pop()
            if stage.key not in seen:
                seen.add(stage.key)
                waiting.extend(stage.inputs.values())
                yield stage.key

    def wanted(self, keep: str) -> tuple[Stage, ...]:
        """The stages that are wanted of all seeds, if ``measures`` alone are to be kept, or ``weights`` or ``all``."""
        if keep != "measures":
            return self.targets
        return tuple(stage for of_seed in self.seeds.values() for stage in of_seed.measured)

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run for all seeds; see `make_plan`."""
        return make_plan(self.targets, store, force=force)

    def run(self, store: ArtefactStore | None = None, *, force: bool = False, watch: Watcher | None = None) -> Executor:
        """Run what is not finished; the executor then serves every stage's result.

        Args:
            store: where finished stages are and go; None keeps all in memory.
            force: repeat stages that are finished.
            watch: called with progress.
        """
        executor = Executor(self.plan(store, force=force), store, watch)
        executor.run()
        return executor

    def compare(
        self,
        store: ArtefactStore | None = None,
        *,
        map_limits: tuple[float, float] | None = None,
        force: bool = False,
        watch: Watcher | None = None,
    ) -> tuple[Executor, dict[int, Stage], Stage]:
        """Run what is not finished, and compare every seed with theory.

        Args:
            store: where finished stages are.
            map_limits: least and largest coordinate of the decision map; None for limits that show the samples.
            force: repeat the comparison (not the training) if it is finished.
            watch: called with progress.

        Returns:
            The executor, the comparison's stage by seed, and the stage of the first seed's decision map.
        """
        stages_of = {
            seed: self._comparison_stage(stages.COMPARISON, seed, of_seed) for seed, of_seed in self.seeds.items()
        }
        drawn = self.map_stage(map_limits)
        wanted = [*stages_of.values(), drawn]
        if force and store is not None:
            for stage in wanted:
                store.remove(stage.key)
        executor = Executor(make_plan(wanted, store), store, watch)
        executor.run()
        return executor, stages_of, drawn

    def map_stage(self, limits: tuple[float, float] | None = None) -> Stage:
        """The stage of the first seed's decision map.

        Args:
            limits: least and largest coordinate; None for limits that show the samples.
        """
        parameters = {"limits": None if limits is None else list(limits)}
        return self._comparison_stage(stages.DECISION_MAP, *next(iter(self.seeds.items())), parameters)

    def measures(self, executor: Executor) -> list[dict[str, Any]]:
        """Everything measured, seed by seed.

        Returns:
            Per seed: ``seed``, the chosen ``standard_lr`` and ``perturbation_lr``, ``measures`` at that pair with the
            papers' maxima, ``controls`` with one value per draw, ``classes`` with the measures class by class,
            ``groups`` likewise where the data name groups, and ``grid`` with the measures of every pair.
        """
        return [self._measures_of(seed, of_seed, executor) for seed, of_seed in self.seeds.items()]

    def _measures_of(self, seed: int, of_seed: SeedStages, executor: Executor) -> dict[str, Any]:
        selection = executor.result(of_seed.selection)
        row, column = selection["standard"], selection["perturbation"]
        grid = [
            {
                "standard_lr": standard_lr,
                "perturbation_lr": perturbation_lr,
                **executor.result(of_seed.standard_measures[i]),
                **(executor.result(of_seed.direction_measures[i]) if of_seed.direction_measures else {}),
                **executor.result(of_seed.perturbation_measures[i][j]),
            }
            for i, standard_lr in enumerate(self.config.standard.lr)
            for j, perturbation_lr in enumerate(self.config.perturbation.lr)
        ]
        by_class = [pair.pop("classes") for pair in grid]
        by_group = [pair.pop("groups", None) for pair in grid]
        position = row * len(self.config.perturbation.lr) + column
        chosen = dict(grid[position])
        probe = {} if of_seed.linear_probe is None else executor.result(of_seed.linear_probe)
        theory = {} if of_seed.theory is None else _compared(executor.result(of_seed.theory))
        return {
            "seed": seed,
            "standard_lr": chosen.pop("standard_lr"),
            "perturbation_lr": chosen.pop("perturbation_lr"),
            "measures": {**chosen, **selection["maxima"], **probe, **theory},
            "controls": {name: executor.result(stage) for name, stage in of_seed.controls.items()},
            "classes": by_class[position],
            **({} if by_group[position] is None else {"groups": by_group[position]}),
            "grid": grid,
        }

    def _seed_stages(self, seed: int) -> SeedStages:
        config = self.config
        data = self._data_stage(seed if self._stored is None else self._stored.seed)
        standard = tuple(self._standard_stage(lr, data, seed) for lr in config.standard.lr)
        perturbed, heldout_perturbed = (
            tuple(self._perturbed_stage(data, f, seed, heldout=heldout) for f in standard) for heldout in (False, True)
        )
        mixed = tuple(self._mixed_stage(data, of_f, seed, "training") for of_f in perturbed)
        heldout_mixed = tuple(self._mixed_stage(data, of_f, seed, "heldout") for of_f in heldout_perturbed)
        # A deep g has to know the data's shape and scale.
        known = {"data": data} if config.perturbation.model.is_network else {}
        perturbation = tuple(
            tuple(
                self._classifier_stage("perturbation", lr, {"perturbed": perturbed_set, **known}, seed)
                for lr in config.perturbation.lr
            )
            for perturbed_set in mixed
        )
        standard_measures = tuple(
            self._stage(stages.STANDARD_MEASURES, {}, {"data": data, "standard": f}, "measures of f") for f in standard
        )
        direction_measures = tuple(
            self._direction_measures_stage(data, seen) for seen in perturbed if config.measures.cosine_similarity
        )
        perturbation_measures = tuple(
            tuple(
                self._stage(
                    stages.PERTURBATION_MEASURES,
                    {"loss": config.perturbation.loss},
                    {"data": data, "standard": f, "perturbed": seen, "heldout_perturbed": heldout, "perturbation": g},
                    "measures of g",
                )
                for g in row
            )
            for f, seen, heldout, row in zip(standard, mixed, heldout_mixed, perturbation, strict=True)
        )
        selection = self._stage(
            stages.SELECTION,
            {"standard_lr": list(config.standard.lr), "perturbation_lr": list(config.perturbation.lr)},
            {
                **{f"standard {row}": stage for row, stage in enumerate(standard_measures)},
                **{f"directions {row}": stage for row, stage in enumerate(direction_measures)},
                **{
                    f"perturbation {row} {column}": stage
                    for row, measured in enumerate(perturbation_measures)
                    for column, stage in enumerate(measured)
                },
            },
            "selection of learning rates",
        )
        # Without a grid nothing has to be selected, and what depends on less is shared by more.
        grid = len(standard) > 1 or len(config.perturbation.lr) > 1
        chosen = {"data": data} | ({"selection": selection} if grid else {})
        sets = {f"perturbed {row}": stage for row, stage in enumerate(mixed)}
        of_seed = SeedStages(
            data,
            standard,
            perturbed,
            heldout_perturbed,
            mixed,
            heldout_mixed,
            perturbation,
            standard_measures,
            direction_measures,
            perturbation_measures,
            selection,
            {
                name: self._control_stage(name, chosen | (sets if name == "permuted" else {}), seed)
                for name in CONTROLS
                if config.controls.draws
            },
            self._stage(stages.LINEAR_PROBE, {}, {**chosen, **sets}, "linear probe", work=1.0)
            if self._probes
            else None,
        )
        return replace(of_seed, theory=self._theory_stage(of_seed, seed)) if config.measures.theory else of_seed

    def shards(self, seed: int) -> dict[str, tuple[Stage, ...]]:
        """The stages that a perturbed set is written from, by part: for the training and for the held-out inputs.

        Raises:
            ConfigError: there are several f, of several learning rates.
        """
        rates = self.config.standard.lr
        if len(rates) > 1:
            raise ConfigError(
                f"standard.lr has {len(rates)} values, but a perturbed set is that of one f; choose one, for example "
                f"--standard.lr {rates[0]:g}"
            )
        of_seed = self.seeds[seed]
        return {
            part: self._shard_stages(of_seed.data, of_seed.standard[0], seed, heldout=part == "heldout")
            for part in ("training", "heldout")
        }

    def _standard_stage(self, lr: float, data: Stage, seed: int) -> Stage:
        if self._stored is None:
            return self._classifier_stage("standard", lr, {"data": data}, seed)
        return self._stage(
            stages.STORED_STANDARD,
            {"hash": self._stored.manifest["standard"]["hash"]},
            {},
            "standard classifier of the set",
            context={"set": self._stored},
        )

    def _classifier_stage(self, role: str, lr: float, inputs: Mapping[str, Stage], seed: int) -> Stage:
        section = self.config.standard if role == "standard" else self.config.perturbation
        is_network = section.model.is_network
        return self._stage(
            stages.NETWORK if is_network else stages.CLASSIFIER,
            {"role": role, "classifier": {**self._identity[role], "lr": [lr]}, "dtype": self.config.dtype},
            inputs,
            f"{role} classifier, {f'{section.model.name}, ' if is_network else ''}"
            + (f"lr {lr:g}" if section.training != "none" else "as it stands"),
            seed,
            work=relative_work(section),
            context=self._shapes() | self._trained_as(role, lr),
        )

    def _trained_as(self, role: str, lr: float | None = None) -> dict[str, Any]:
        """How to train on this machine: the section with its paths, and how often a training is kept."""
        tree = self._tree[role]
        return {
            "classifier": tree if lr is None else {**tree, "lr": [lr]},
            "checkpoint_minutes": self.config.checkpoint_minutes,
            "checkpoint_epochs": self.config.checkpoint_epochs,
        }

    def _perturbed_stage(self, data: Stage, standard: Stage, seed: int, *, heldout: bool) -> Stage:
        label = "perturbed held-out set" if heldout else "perturbed set"
        if self._stored is not None:
            return self._stage(
                stages.STORED_SET,
                {"set": self._stored.manifest["sha256"], "part": "heldout" if heldout else "training"},
                {"data": data},
                f"stored {label}",
                context={"set": self._stored},
            )
        shards: tuple[Stage, ...] = ()
        if self.config.attack.is_search:
            shards = self._shard_stages(data, standard, seed, heldout=heldout)
        made_of = {f"shard {stage.parameters['rows'][0]}": stage for stage in shards} or {"standard": standard}
        return self._stage(
            stages.PERTURBED_SET,
            self._attack_parameters(heldout),
            {"data": data, **made_of},
            label,
            seed,
            context=self._shapes() | self._trained_as("standard"),
        )

    def _shard_stages(self, data: Stage, standard: Stage, seed: int, *, heldout: bool) -> tuple[Stage, ...]:
        attack, outline = self.config.attack, self.outline
        count = set_size(attack, outline.n_samples, outline.n_heldout, heldout=heldout)
        steps = attack.steps or attack.pixels or SEARCH_STEPS if attack.is_search else 1
        name = "perturbed held-out set" if heldout else "perturbed set"
        return tuple(
            self._stage(
                stages.SHARD,
                {**self._attack_parameters(heldout), "rows": [rows.start, rows.stop]},
                {"data": data, "standard": standard},
                name if len(rows) == count else f"{name}, samples {rows.start:,} to {rows.stop - 1:,}",
                seed,
                work=2.0 * steps * len(rows) / outline.n_samples,
                context=self._shapes() | self._trained_as("standard"),
            )
            for rows in shard_ranges(count, outline.signature.input_dim)
        )

    def _attack_parameters(self, heldout: bool) -> dict[str, Any]:
        attack = self.config.attack
        parameters = {"attack": self._tree["attack"], "heldout": heldout}
        if attack.is_own and not attack.name.startswith("foolbox:"):
            parameters["own"] = attack_fingerprint(attack.name)
        return parameters

    def _mixed_stage(self, data: Stage, perturbed: Stage, seed: int, part: str) -> Stage:
        share = self.config.mixing.perturbed_share
        if share == 1:
            return perturbed
        return self._stage(
            stages.MIXED_SET,
            {"perturbed_share": share, "part": part},
            {"data": data, "perturbed": perturbed},
            f"{perturbed.label}, {1 - share:.0%} of it clean",
            seed,
        )

    def _direction_measures_stage(self, data: Stage, perturbed: Stage) -> Stage:
        inputs = {"data": data, "perturbed": perturbed}
        if self.config.attack.source not in NOISE_SOURCES:
            inputs["directions"] = self._directions_stage(data)
        return self._stage(stages.DIRECTION_MEASURES, self._kernel, inputs, "cosine similarity")

    def _directions_stage(self, data: Stage) -> Stage:
        return self._stage(stages.DIRECTIONS, self._kernel, {"data": data}, "predicted directions")

    def _theory_stage(self, of_seed: SeedStages, seed: int) -> Stage:
        networks = self.config.standard.model.is_network or self.config.perturbation.model.is_network
        kind = stages.NETWORK_COMPARISON if networks else stages.COMPARISON
        return self._comparison_stage(kind, seed, of_seed)

    def _comparison_stage(
        self, kind: StageKind, seed: int, of_seed: SeedStages, parameters: Mapping[str, Any] | None = None
    ) -> Stage:
        inputs = {"data": of_seed.data, "selection": of_seed.selection}
        for row, standard in enumerate(of_seed.standard):
            inputs |= {f"standard {row}": standard, f"perturbed {row}": of_seed.perturbed[row]}
            inputs |= {f"perturbation {row} {column}": g for column, g in enumerate(of_seed.perturbation[row])}
        # Name, seeds, device, data and controls change nothing that is compared.
        config = {key: self._tree[key] for key in ("standard", "attack", "perturbation")}
        # Deep networks are known by their stages: a configuration holds paths to their code and weights.
        known = {} if kind is stages.NETWORK_COMPARISON else {"config": config, **(parameters or {})}
        return self._stage(kind, known, inputs, kind.name, seed, work=1.0, context={"config": config})

    @property
    def _kernel(self) -> dict[str, Any]:
        """Which gate kernel goes with the standard classifier: its slope, and whether its units have a bias."""
        model = self.config.standard.model
        return {"slope": model.slope, "bias": model.name == "two_layer"}

    def _control_stage(self, name: str, inputs: Mapping[str, Stage], seed: int) -> Stage:
        draws, attack = self.config.controls.draws, self.config.attack
        # Of the attack a control knows what is drawn, and for bare perturbations how large random directions are.
        known = ["source", "targets", "n_sources"]
        known += ["norm", "epsilon", "pixels", "pixel_share"] if attack.source == "none" else []
        return self._stage(
            stages.CONTROL,
            {
                "control": name,
                "attack": {key: self._tree["attack"][key] for key in known if key in self._tree["attack"]},
                "classifier": self._identity["perturbation"],
                "draws": draws,
                "perturbed_share": self.config.mixing.perturbed_share,
                "set_seed": seed if self._stored is None else self._stored.seed,
            },
            inputs,
            f"{name} control, {draws} draw{'s' * (draws > 1)}",
            seed,
            work=draws * relative_work(self.config.perturbation),
            context=self._shapes() | self._trained_as("perturbation"),
        )

    def _stage(
        self,
        kind: StageKind,
        parameters: Mapping[str, Any],
        inputs: Mapping[str, Stage],
        label: str,
        seed: int | None = None,
        *,
        work: float = 0.0,
        context: Mapping[str, Any] | None = None,
    ) -> Stage:
        places = {"device": self.config.device, "data_device": self._data_device}
        return Stage(kind, parameters, inputs, seed, label, {**places, **(context or {})}, work)

    def _shapes(self) -> dict[str, Any]:
        """What an estimate of a classifier's cost has to know; the data are read for it only when it is asked for."""
        attack, model = self.config.attack, self.config.standard.model
        return {
            "outline": _OutlineOf(self.config.data, self._data_dir, self._dataset),
            "dtype": self.config.dtype,
            "n_sources": attack.n_sources,
            "attack": attack,
            "model": model,
        }

    @property
    def is_of_stored_set(self) -> bool:
        """Whether it starts from a perturbed set that is there already."""
        return self._stored is not None

    @cached_property
    def outline(self) -> Outline:
        """How large the data are; real data are read for it."""
        return _OutlineOf(self.config.data, self._data_dir, self._dataset)()

    def _data_stage(self, seed: int) -> Stage:
        config = self.config
        options = self._tree["data"] | {"name": config.data.provider}
        if self._dataset is not None:
            options = {"name": "python"}
        return Stage(
            stages.DATA,
            {"data": options, "fingerprint": self.fingerprint, "dtype": config.dtype},
            seed=seed if self._data_has_seed else None,
            label=f"data {config.data.provider}",
            context={
                "dataset": self._dataset,
                "config": config.data.model_dump(),
                "data_dir": self._data_dir,
                "data_device": self._data_device,
            },
        )


@dataclass(frozen=True)
class _OutlineOf:
    """How large some data are, once it is asked for; small enough to travel with a stage."""

    config: DataConfig
    data_dir: str | Path | None
    dataset: Dataset | None

    def __call__(self) -> Outline:
        if self.dataset is not None:
            return Outline.of(self.dataset)
        return data_outline(self.config, data_dir=self.data_dir)


def _compared(compared: Comparison | Mapping[str, float | None]) -> dict[str, float]:
    """The numbers of a comparison that apply."""
    numbers = compared.numbers if isinstance(compared, Comparison) else compared
    return {name: value for name, value in numbers.items() if value is not None}
