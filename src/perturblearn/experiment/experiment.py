"""An experiment as a graph of stages, and its execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from perturblearn.attacks import attack_fingerprint
from perturblearn.config import NOISE_SOURCES, ClassifierConfig, ExperimentConfig, config_tree
from perturblearn.data import Dataset, Outline, data_fingerprint, data_outline, depends_on_seed
from perturblearn.experiment import stages
from perturblearn.experiment.networks import identity_of
from perturblearn.graph import Executor, Plan, Stage, StageKind, Watcher, content_key, make_plan
from perturblearn.perturbed import SEARCH_STEPS
from perturblearn.store import ArtefactStore

CONTROLS = ("unperturbed", "permuted")


@dataclass(frozen=True)
class SeedStages:
    """The stages of one seed: one path of the graph per pair of learning rates, and what compares them.

    Args:
        data: the data set.
        standard: f, one per learning rate of the standard classifier.
        perturbed, heldout_perturbed: for each f, the set that g sees and the one that chooses g's learning rate.
        perturbation: g, a row per f, a column per learning rate of the perturbation classifier.
        standard_measures, perturbation_measures: what is measured, laid out likewise.
        direction_measures: for each f, how its perturbations compare with the prediction; none if not asked for.
        selection: the chosen pair of learning rates and the papers' maxima.
        controls: by name; none if no draws are asked for.
        linear_probe: what a linear classifier learns from the perturbed set; None if it is not asked for.
    """

    data: Stage
    standard: tuple[Stage, ...]
    perturbed: tuple[Stage, ...]
    heldout_perturbed: tuple[Stage, ...]
    perturbation: tuple[tuple[Stage, ...], ...]
    standard_measures: tuple[Stage, ...]
    direction_measures: tuple[Stage, ...]
    perturbation_measures: tuple[tuple[Stage, ...], ...]
    selection: Stage
    controls: Mapping[str, Stage]
    linear_probe: Stage | None

    @property
    def targets(self) -> tuple[Stage, ...]:
        """The stages that a run wants finished; the order is that in which they run.

        Classifiers are wanted too, so that a run whose weights have gone from the store trains them again.
        """
        grid = tuple(stage for row in self.perturbation for stage in row)
        probe = () if self.linear_probe is None else (self.linear_probe,)
        return (*self.standard, *grid, self.selection, *self.controls.values(), *probe)


class Experiment:
    """The five steps of perturbation learning for every seed of a configuration.

    Args:
        config: what to do.
        dataset: data handed over as an object; None to load what the configuration names.
        data_dir: where named data lie; None for the environment's choice.

    Raises:
        DataError: the data's files are not there or cannot be read.
    """

    def __init__(
        self, config: ExperimentConfig, *, dataset: Dataset | None = None, data_dir: str | Path | None = None
    ) -> None:
        self.config = config
        self._tree = config_tree(config)
        self._identity = {
            role: identity_of(section, self._tree[role]) if section.model.is_network else self._tree[role]
            for role, section in (("standard", config.standard), ("perturbation", config.perturbation))
        }
        networks = [section.model.is_network for section in (config.standard, config.perturbation)]
        # Deep networks take what fits onto their device while they train; the data stay behind.
        self._data_device = "cpu" if any(networks) else config.device
        probe = config.controls.linear_probe
        self._probes = networks[1] if probe is None else probe
        self._dataset = dataset
        self._data_dir = data_dir
        if dataset is not None:
            self._fingerprint, self._data_has_seed = dataset.content_hash(), False
        else:
            self._fingerprint = data_fingerprint(config.data, data_dir=data_dir)
            self._data_has_seed = depends_on_seed(config.data)
        self.seeds: dict[int, SeedStages] = {seed: self._seed_stages(seed) for seed in config.seeds}

    @cached_property
    def key(self) -> str:
        """SHA-256 of the stages that are wanted: equal experiments have equal keys, whatever their names and paths."""
        return content_key([stage.key for stages_of_seed in self.seeds.values() for stage in stages_of_seed.targets])

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run for all seeds; see `make_plan`."""
        return make_plan((stage for of_seed in self.seeds.values() for stage in of_seed.targets), store, force=force)

    def run(self, store: ArtefactStore | None = None, *, force: bool = False, watch: Watcher | None = None) -> Executor:
        """Run what is not finished; the executor then serves every stage's result."""
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
        stages_of = {seed: self._comparison_stage(stages.COMPARISON, seed) for seed in self.seeds}
        limits = None if map_limits is None else list(map_limits)
        drawn = self._comparison_stage(stages.DECISION_MAP, next(iter(self.seeds)), {"limits": limits})
        wanted = [*stages_of.values(), drawn]
        if force and store is not None:
            for stage in wanted:
                store.remove(stage.key)
        executor = Executor(make_plan(wanted, store), store, watch)
        executor.run()
        return executor, stages_of, drawn

    def measures(self, executor: Executor) -> list[dict[str, Any]]:
        """Everything measured, seed by seed.

        Returns:
            Per seed: ``seed``, the chosen ``standard_lr`` and ``perturbation_lr``, ``measures`` at that pair with the
            papers' maxima, ``controls`` with one value per draw, ``classes`` with the measures class by class, and
            ``grid`` with the measures of every pair.
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
        position = row * len(self.config.perturbation.lr) + column
        chosen = dict(grid[position])
        probe = {} if of_seed.linear_probe is None else executor.result(of_seed.linear_probe)
        return {
            "seed": seed,
            "standard_lr": chosen.pop("standard_lr"),
            "perturbation_lr": chosen.pop("perturbation_lr"),
            "measures": {**chosen, **selection["maxima"], **probe},
            "controls": {name: executor.result(stage) for name, stage in of_seed.controls.items()},
            "classes": by_class[position],
            "grid": grid,
        }

    def _seed_stages(self, seed: int) -> SeedStages:
        config = self.config
        data = self._data_stage(seed)
        standard = tuple(self._classifier_stage("standard", lr, {"data": data}, seed) for lr in config.standard.lr)
        perturbed, heldout_perturbed = (
            tuple(self._perturbed_stage(data, f, seed, heldout=heldout) for f in standard) for heldout in (False, True)
        )
        # A deep g has to know the data's shape and scale.
        known = {"data": data} if config.perturbation.model.is_network else {}
        perturbation = tuple(
            tuple(
                self._classifier_stage("perturbation", lr, {"perturbed": perturbed_set, **known}, seed)
                for lr in config.perturbation.lr
            )
            for perturbed_set in perturbed
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
            for f, seen, heldout, row in zip(standard, perturbed, heldout_perturbed, perturbation, strict=True)
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
        sets = {f"perturbed {row}": stage for row, stage in enumerate(perturbed)}
        return SeedStages(
            data,
            standard,
            perturbed,
            heldout_perturbed,
            perturbation,
            standard_measures,
            direction_measures,
            perturbation_measures,
            selection,
            {
                name: self._control_stage(name, {"data": data, "selection": selection, **sets}, seed)
                for name in CONTROLS
                if config.controls.draws
            },
            self._stage(
                stages.LINEAR_PROBE, {}, {"data": data, "selection": selection, **sets}, "linear probe", work=1.0
            )
            if self._probes
            else None,
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
            work=_work(section),
            context=self._shapes() | self._trained_as(section, lr),
        )

    def _trained_as(self, section: ClassifierConfig, lr: float | None = None) -> dict[str, Any]:
        """How to train on this machine: the section with its paths, and how often a training is kept."""
        found = section if lr is None else section.model_copy(update={"lr": (lr,)})
        return {
            "classifier": found.model_dump(),
            "checkpoint_minutes": self.config.checkpoint_minutes,
            "checkpoint_epochs": self.config.checkpoint_epochs,
        }

    def _perturbed_stage(self, data: Stage, standard: Stage, seed: int, *, heldout: bool) -> Stage:
        attack = self.config.attack
        parameters = {"attack": self._tree["attack"], "heldout": heldout}
        if attack.is_own and not attack.name.startswith("foolbox:"):
            parameters["own"] = attack_fingerprint(attack.name)
        return self._stage(
            stages.SEARCHED_SET if attack.is_search else stages.PERTURBED_SET,
            parameters,
            {"data": data, "standard": standard},
            "perturbed held-out set" if heldout else "perturbed set",
            seed,
            work=2.0 * (attack.steps or attack.pixels or SEARCH_STEPS) if attack.is_search and not heldout else 0.0,
            context=self._shapes() | self._trained_as(self.config.standard),
        )

    def _direction_measures_stage(self, data: Stage, perturbed: Stage) -> Stage:
        inputs = {"data": data, "perturbed": perturbed}
        if self.config.attack.source not in NOISE_SOURCES:
            inputs["directions"] = self._directions_stage(data)
        return self._stage(stages.DIRECTION_MEASURES, self._kernel, inputs, "cosine similarity")

    def _directions_stage(self, data: Stage) -> Stage:
        return self._stage(stages.DIRECTIONS, self._kernel, {"data": data}, "predicted directions")

    def _comparison_stage(self, kind: StageKind, seed: int, parameters: Mapping[str, Any] | None = None) -> Stage:
        of_seed = self.seeds[seed]
        inputs = {"data": of_seed.data, "selection": of_seed.selection}
        for row, standard in enumerate(of_seed.standard):
            inputs |= {f"standard {row}": standard, f"perturbed {row}": of_seed.perturbed[row]}
            inputs |= {f"perturbation {row} {column}": g for column, g in enumerate(of_seed.perturbation[row])}
        # Name, seeds, device, data and controls change nothing that is compared.
        config = {key: self._tree[key] for key in ("standard", "attack", "perturbation")}
        return self._stage(kind, {"config": config, **(parameters or {})}, inputs, kind.name, seed, work=1.0)

    @property
    def _kernel(self) -> dict[str, Any]:
        """Which gate kernel goes with the standard classifier: its slope, and whether its units have a bias."""
        model = self.config.standard.model
        return {"slope": model.slope, "bias": model.name == "two_layer"}

    def _control_stage(self, name: str, inputs: Mapping[str, Stage], seed: int) -> Stage:
        draws = self.config.controls.draws
        return self._stage(
            stages.CONTROL,
            {
                "control": name,
                "attack": self._tree["attack"],
                "classifier": self._identity["perturbation"],
                "draws": draws,
            },
            inputs,
            f"{name} control, {draws} draw{'s' * (draws > 1)}",
            seed,
            work=draws * _work(self.config.perturbation),
            context=self._shapes() | self._trained_as(self.config.perturbation),
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
            "outline": self._outline,
            "dtype": self.config.dtype,
            "n_sources": attack.n_sources,
            "attack": attack,
            "model": model,
        }

    def _outline(self) -> Outline:
        if self._dataset is not None:
            return Outline.of(self._dataset)
        return data_outline(self.config.data, data_dir=self._data_dir)

    def _data_stage(self, seed: int) -> Stage:
        config = self.config
        options = self._tree["data"] | {"name": config.data.provider}
        if self._dataset is not None:
            options = {"name": "python"}
        return Stage(
            stages.DATA,
            {"data": options, "fingerprint": self._fingerprint, "dtype": config.dtype},
            seed=seed if self._data_has_seed else None,
            label=f"data {config.data.provider}",
            context={
                "dataset": self._dataset,
                "config": config.data.model_dump(),
                "data_dir": self._data_dir,
                "data_device": self._data_device,
            },
        )


def _work(section: ClassifierConfig) -> float:
    """About how many epochs a classifier costs, for the time left."""
    if section.model.name == "limit":
        return 20.0
    if section.training == "none":
        return 0.0
    if section.model.is_network:
        # A step goes forward, and backward twice: through the weights and through the layers below.
        return 3.0 * section.epochs
    return 200.0 + (section.exact_epochs or 0) if section.training == "flow" else float(section.epochs)
