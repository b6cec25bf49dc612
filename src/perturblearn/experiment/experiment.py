"""An experiment: its graph of stages, and their execution."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import cached_property
from pathlib import Path

from perturblearn.config import ExperimentConfig
from perturblearn.data import Dataset, Outline
from perturblearn.errors import ConfigError
from perturblearn.experiment.checks import Map, TheoryComparison
from perturblearn.experiment.context import Context
from perturblearn.experiment.measured import SeedMeasures
from perturblearn.experiment.reading import read_measures
from perturblearn.experiment.seed_graph import GraphBuilder, SeedGraph
from perturblearn.experiment.steps import Part, Shard
from perturblearn.graph import AnyStage, Executor, Plan, Watcher, content_key, keys_below, make_plan
from perturblearn.perturbed import StoredSet
from perturblearn.store import ArtefactStore


class Experiment:
    """The five steps of perturbation learning for every seed of a configuration.

    Args:
        config: what to do.
        dataset: data handed over as an object; None to load what the configuration names.
        data_dir: where named data lie; None for the environment's choice.
        stored: an existing perturbed set, with its f: only g is trained. The seeds are then g's.
        attributes: whether a configuration that leaves attribution open has it where that takes seconds.

    Raises:
        ConfigError: the set does not hold what is asked for.
        DataError: the data's files cannot be found or read.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        *,
        dataset: Dataset | None = None,
        data_dir: str | Path | None = None,
        stored: StoredSet | None = None,
        attributes: bool = False,
    ) -> None:
        self.config = config
        self.is_of_stored_set = stored is not None
        self._builder = GraphBuilder(config, dataset, data_dir, stored, attributes=attributes)
        self.seeds: dict[int, SeedGraph] = {seed: self._builder.seed_graph(seed) for seed in config.seeds}

    @property
    def context(self) -> Context:
        """Where it runs."""
        return self._builder.context

    @property
    def fingerprint(self) -> str | None:
        """Hash of the data's content; None for data that are drawn."""
        return self._builder.fingerprint

    @property
    def has_model_classes(self) -> bool:
        """Whether the data say which outputs of the user's own network their classes are."""
        return self._builder.has_model_classes

    @property
    def outline(self) -> Outline:
        """How large the data are; real data are read for it."""
        return self._builder.outline

    def of_each_seed(self) -> Iterator[Experiment]:
        """Every seed as an experiment of its own, over the same stages."""
        for seed, graph in self.seeds.items():
            alone = copy(self)
            vars(alone).pop("key", None)  # that of all seeds
            alone.config = self.config.model_copy(update={"seeds": (seed,)})
            alone.seeds = {seed: graph}
            yield alone

    @cached_property
    def key(self) -> str:
        """SHA-256 of the stages that are wanted: equal experiments have equal keys, whatever their names and paths."""
        return content_key([stage.key for stage in self.targets])

    @property
    def targets(self) -> tuple[AnyStage, ...]:
        """The stages that are wanted of all seeds."""
        return tuple(stage for of_seed in self.seeds.values() for stage in of_seed.targets)

    @property
    def is_identified(self) -> bool:
        """Whether equal keys mean equal results; otherwise it is run anew every time."""
        return all(stage.is_identified for stage in self.targets)

    @property
    def stage_keys(self) -> Iterator[str]:
        """The keys of all stages that belong to it, each once."""
        return keys_below(self.targets)

    def wanted(self, keep: str) -> tuple[AnyStage, ...]:
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
    ) -> tuple[Executor, dict[int, TheoryComparison], Map]:
        """Run what is not finished, and compare every seed with theory.

        Args:
            store: where finished stages are.
            map_limits: least and largest coordinate of the decision map; None for limits that show the samples.
            force: repeat the comparison (not the training) if it is finished.
            watch: called with progress.

        Returns:
            The executor, the comparison's stage by seed, and the stage of the first seed's decision map.
        """
        compared, drawn = self.theory_stages, self.map_stage(map_limits)
        wanted: list[AnyStage] = [*compared.values(), drawn]
        if force and store is not None:
            for stage in wanted:
                store.remove(stage.key)
        executor = Executor(make_plan(wanted, store), store, watch)
        executor.run()
        return executor, compared, drawn

    @property
    def theory_stages(self) -> dict[int, TheoryComparison]:
        """The stage of every seed's comparison with theory."""
        return {
            seed: self._builder.theory(graph.data, graph.branches, graph.selection, seed)
            for seed, graph in self.seeds.items()
        }

    def map_stage(self, limits: tuple[float, float] | None = None) -> Map:
        """The stage of the first seed's decision map.

        Args:
            limits: least and largest coordinate; None for limits that show the samples.
        """
        seed, graph = next(iter(self.seeds.items()))
        return self._builder.map(graph, seed, limits)

    def measures(self, executor: Executor) -> list[SeedMeasures]:
        """Everything measured, seed by seed; see `read_measures`."""
        return [read_measures(seed, graph, self.config, executor) for seed, graph in self.seeds.items()]

    def shards(self, seed: int) -> dict[Part, tuple[Shard, ...]]:
        """The stages that a perturbed set is written from, by the part of the data.

        Raises:
            ConfigError: there are several f, of several learning rates, or how large the set is depends on f.
        """
        if self.config.attack.is_chosen_by_f:
            raise ConfigError(
                f"attack.source = {self.config.attack.source!r} takes inputs by what f says of them, and how "
                "many there are is known once f is trained, so such a set is made in a run and not written beforehand; "
                "use perturblearn run"
            )
        if self.config.attack.is_soft:
            raise ConfigError(
                f"attack.targets = {self.config.attack.targets!r} teaches g outputs of f, which a set of labelled "
                "inputs does not hold; use perturblearn run, or targets = 'predicted'"
            )
        rates = self.config.standard.lr
        if len(rates) > 1:
            raise ConfigError(
                f"standard.lr has {len(rates)} values, but a perturbed set is that of one f; choose one, for example "
                f"--standard.lr {rates[0]:g}"
            )
        graph = self.seeds[seed]
        parts: tuple[Part, ...] = ("training", "heldout")
        standard = graph.branches[0].standard
        of_sets = self._builder.of_sets(graph.data, seed)
        return {part: tuple(self._builder.shards(of_sets, standard, part, seed)) for part in parts}
