"""The graph of one seed: the five steps for each pair of learning rates, and what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from perturblearn.attacks import attack_fingerprint
from perturblearn.classifiers import Classifier
from perturblearn.config import (
    ClassifierConfig,
    DataConfig,
    ExperimentConfig,
    RealConfig,
    TwoLayerModelConfig,
    config_tree,
    foreign_data,
)
from perturblearn.data import (
    Dataset,
    Outline,
    data_fingerprint,
    data_outline,
    depends_on_seed,
    resolve_data_dir,
    warn_of_order,
)
from perturblearn.errors import ConfigError
from perturblearn.experiment.attribution_cost import is_attributed_unasked
from perturblearn.experiment.case import kernel_of
from perturblearn.experiment.checks import (
    AttributionOf,
    BottleneckOf,
    ControlDraws,
    DirectionMeasures,
    Directions,
    FeaturesOf,
    LinearProbe,
    Map,
    NetworkComparison,
    RobustAccuracy,
    RobustLinear,
    Selection,
    TheoryComparison,
    WithoutShortcut,
)
from perturblearn.experiment.context import Context
from perturblearn.experiment.controls import (
    CONTROLS,
    ControlName,
    Permuted,
    attack_of_control,
    without_factors,
)
from perturblearn.experiment.draws import (
    draws_of,
    draws_of_control,
    draws_of_data,
    start_of,
    start_of_sources,
    start_of_targets,
)
from perturblearn.experiment.measures import PerturbationMeasure, StandardMeasure, taken
from perturblearn.experiment.networks import identity_of
from perturblearn.experiment.steps import (
    Data,
    DeepPerturbation,
    DeepStandard,
    GenerationMeasures,
    LinearShortcut,
    LoadedSet,
    LoadedStandard,
    Mixed,
    Part,
    Perturbation,
    PerturbationMeasures,
    Perturbed,
    Projected,
    Saved,
    Shard,
    Standard,
    StandardMeasures,
    WithForeign,
)
from perturblearn.graph import AnyStage, Stage
from perturblearn.perturbed import PerturbedSet, StoredSet, check_images, set_size, shard_ranges


@dataclass(frozen=True)
class Learner:
    """One g.

    Args:
        perturbation: the classifier.
        measures: what it knows.
    """

    perturbation: Stage[Classifier]
    measures: PerturbationMeasures


@dataclass(frozen=True)
class Branch:
    """One f, the sets made with it, and the classifiers that learn from them.

    Args:
        standard: f.
        perturbed, heldout_perturbed: what the attack makes of both parts of the data.
        seen, heldout_seen: the same with clean samples among them, and as files hold it: the set that g sees, and the
            one that chooses g's learning rate. The same stages as before where nothing is mixed in or saved.
        measures: what f knows.
        directions: how the perturbations compare with the prediction; None if not asked for.
        learners: g for each of its learning rates.
    """

    standard: Stage[Classifier]
    perturbed: Stage[PerturbedSet]
    heldout_perturbed: Stage[PerturbedSet]
    seen: Stage[PerturbedSet]
    heldout_seen: Stage[PerturbedSet]
    measures: StandardMeasures
    directions: DirectionMeasures | None
    learners: tuple[Learner, ...]


@dataclass(frozen=True)
class SeedGraph:
    """All stages of one seed.

    Args:
        data: the data set.
        branches: one for each learning rate of f.
        selection: of learning rates.
        controls: by name; none if no draws are asked for.
        linear_probe, robust_accuracy, robust_linear, without_shortcut, bottleneck: None if not asked for.
        theory: the comparison with theory; None if not asked for.
        attribution: of what g knows; None if it is not asked for, and not done unasked.
        features: of f, of perturbations and of g; None if not asked for.
        generations: what networks after g have learned from one another.
    """

    data: Data
    branches: tuple[Branch, ...]
    selection: Selection
    controls: Mapping[ControlName, ControlDraws]
    linear_probe: LinearProbe | None
    robust_accuracy: RobustAccuracy | None
    robust_linear: RobustLinear | None
    without_shortcut: WithoutShortcut | None
    bottleneck: BottleneckOf | None
    theory: TheoryComparison | NetworkComparison | None
    attribution: AttributionOf | None
    features: FeaturesOf | None
    generations: tuple[GenerationMeasures, ...]

    @property
    def standards(self) -> tuple[Stage[Classifier], ...]:
        """Every f."""
        return tuple(branch.standard for branch in self.branches)

    @property
    def perturbations(self) -> tuple[tuple[Stage[Classifier], ...], ...]:
        """Every g, a row for each f."""
        return tuple(tuple(learner.perturbation for learner in branch.learners) for branch in self.branches)

    @property
    def targets(self) -> tuple[AnyStage, ...]:
        """The stages that a run wants finished, in the order in which they run.

        Classifiers are wanted too, so that a run whose weights have gone from the store trains them again.
        """
        learners = tuple(stage for row in self.perturbations for stage in row)
        return (*self.standards, *learners, *self.measured)

    @property
    def measured(self) -> tuple[AnyStage, ...]:
        """The stages that hold a run's numbers."""
        robust = (self.robust_accuracy, self.robust_linear, self.without_shortcut, self.bottleneck)
        asked_for = (self.linear_probe, *robust, self.theory, self.attribution, self.features)
        asked = (stage for stage in asked_for if stage is not None)
        return (self.selection, *self.controls.values(), *asked, *self.generations)


@dataclass(frozen=True)
class Later:
    """A generation after g.

    Args:
        attacked: the network before it.
        generation: its number, from 2 on.
    """

    attacked: Stage[Classifier]
    generation: int


class GraphBuilder:
    """Makes the stages of any seed of an experiment.

    Args:
        config: what to do.
        dataset: data handed over as an object; None to load what the configuration names.
        data_dir: where named data lie; None for the environment's choice.
        stored: an existing perturbed set, with its f.
        attributes: whether a configuration that leaves attribution open has it where that takes seconds.

    Raises:
        ConfigError: a set on disk does not hold what is asked for.
        DataError: the data's files cannot be read.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        dataset: Dataset | None,
        data_dir: str | Path | None,
        stored: StoredSet | None,
        *,
        attributes: bool,
    ) -> None:
        self.config = config
        self._dataset = dataset
        self._data_dir = data_dir
        self._stored = stored
        for key in ("theory", "features"):
            if stored is not None and getattr(config.measures, key):
                raise ConfigError(
                    f"measures.{key} = true compares f with its training, which a set on disk does not hold; set "
                    f"measures.{key} = false, or run the whole experiment"
                )
        if stored is not None and config.generations > 1:
            raise ConfigError(
                f"generations = {config.generations} attacks g as f was attacked, which a set on disk does not hold "
                "everything for; remove it, or run the whole experiment"
            )
        if draws_of(config) is not None and dataset is None:
            warn_of_order(config.data.provider, resolve_data_dir(data_dir))
        # A set's data are those that it was made from, whatever g is drawn by.
        self._of_set = config if stored is None else stored.config
        # What fixes a deep network: its user's code and weights by their content, wherever they lie.
        self._known_as = {
            role: identity_of(section)
            for role, section in (("standard", config.standard), ("perturbation", config.perturbation))
            # Of a set on disk, f's code need not be here.
            if section.model.is_network and (stored is None or role == "perturbation")
        }
        networks = [section.model.is_network for section in (config.standard, config.perturbation)]
        self.context = Context(
            device=config.device,
            # Deep networks move what fits to their device while they train; the data stay behind.
            data_device="cpu" if any(networks) else config.device,
            checkpoint_minutes=config.checkpoint_minutes,
            checkpoint_epochs=config.checkpoint_epochs,
            outline=OutlineOf(config.data, data_dir, dataset),
            dtype=config.dtype,
            standard=config.standard,
            attack=config.attack,
        )
        if config.saving.is_saved:
            signature = self.outline.signature
            check_images(signature.input_shape, is_standardised=signature.standardisation is not None)
        # What all seeds share is made once: planning thousands of runs takes long enough.
        self._sections = {
            role: tuple(section.with_rate(lr) for lr in section.lr)
            for role, section in (("standard", config.standard), ("perturbation", config.perturbation))
        }
        self._taken = {kind: taken(kind) for kind in (StandardMeasure, PerturbationMeasure)}
        self._attack_of_control = attack_of_control(config.attack)
        self._data_options = (
            {"name": "python"} if dataset is not None else {**config_tree(config.data), "name": config.data.provider}
        )
        probe = config.controls.linear_probe
        self._probes = networks[1] if probe is None else probe
        if dataset is not None:
            self.fingerprint, self._data_has_seed = dataset.content_hash(), False
        else:
            self.fingerprint = data_fingerprint(config.data, data_dir=data_dir)
            self._data_has_seed = depends_on_seed(config.data)
        asked = config.measures.attribution
        self._attributes = attributes and is_attributed_unasked(config, self.context) if asked is None else asked
        attack = config.attack
        is_users = attack.is_own and not attack.name.startswith("foolbox:")
        self._own_attack = attack_fingerprint(attack.name) if is_users else None
        robust = config.measures.robust_attack
        self._own_robust_attack = None if robust == "pgd" else attack_fingerprint(robust)

    @property
    def has_model_classes(self) -> bool:
        """See `Experiment.has_model_classes`."""
        if self._dataset is not None:
            return self._dataset.model_classes is not None
        data = self.config.data
        return isinstance(data, RealConfig) and data.model_classes is not None

    @property
    def outline(self) -> Outline:
        """How large the data are; real data are read for it."""
        return self.context.outline()

    def seed_graph(self, seed: int) -> SeedGraph:
        """The stages of one seed."""
        config = self.config
        data = self.data(seed if self._stored is None else self._stored.seed)
        of_sets = self.of_sets(data, seed)
        branches = tuple(self._branch(data, of_sets, section, seed) for section in self._sections["standard"])
        selection = Selection(
            standard_lr=config.standard.lr,
            perturbation_lr=config.perturbation.lr,
            standard=tuple(branch.measures for branch in branches),
            directions=tuple(branch.directions for branch in branches if branch.directions is not None),
            perturbation=tuple(tuple(learner.measures for learner in branch.learners) for branch in branches),
        )
        # Without a grid nothing has to be selected, and what depends on less is shared by more.
        is_grid = len(config.standard.lr) > 1 or len(config.perturbation.lr) > 1
        chosen = selection if is_grid else None
        sets = tuple(branch.seen for branch in branches)
        controls = tuple(CONTROLS) if config.controls.draws else ()
        probe = LinearProbe(data=data, selection=chosen, perturbed=sets, context=self.context)
        return SeedGraph(
            data,
            branches,
            selection,
            {control: self._control(control, of_sets, chosen, sets, seed) for control in controls},
            probe if self._probes else None,
            self._robust_accuracy(data, branches, chosen, seed) if config.measures.robust_accuracy else None,
            self._robust_linear(data, branches, chosen, seed),
            self._without_shortcut(data, branches, chosen, seed) if config.measures.linear_shortcut else None,
            self._bottleneck(data, branches, chosen, seed),
            self._asked_theory(data, branches, selection, seed),
            self._attribution(data, branches, chosen, seed) if self._attributes else None,
            self._features(data, branches, selection, seed) if config.measures.features else None,
            tuple(self._generations(data, of_sets, branches[0], seed)),
        )

    def _branch(self, data: Data, of_sets: Stage[Dataset], section: ClassifierConfig, seed: int) -> Branch:
        """The five steps for one learning rate of f."""
        config, context = self.config, self.context
        standard = self._standard(data, section, seed)
        perturbed = self._perturbed(of_sets, standard, "training", seed)
        heldout_perturbed = self._perturbed(of_sets, standard, "heldout", seed)
        seen = self._seen(data, standard, perturbed, "training", seed)
        heldout_seen = self._seen(data, standard, heldout_perturbed, "heldout", seed)
        learners: list[Learner] = []
        for perturbation_section in self._sections["perturbation"]:
            perturbation = self._perturbation(data, seen, perturbation_section, seed)
            measures = PerturbationMeasures(
                loss=config.perturbation.loss,
                taken=self._taken[PerturbationMeasure],
                data=data,
                standard=standard,
                perturbed=seen,
                heldout_perturbed=heldout_seen,
                perturbation=perturbation,
                context=context,
            )
            learners.append(Learner(perturbation, measures))
        return Branch(
            standard,
            perturbed,
            heldout_perturbed,
            seen,
            heldout_seen,
            StandardMeasures(taken=self._taken[StandardMeasure], data=data, standard=standard, context=context),
            self._direction_measures(data, perturbed) if config.measures.cosine_similarity else None,
            tuple(learners),
        )

    def data(self, seed: int) -> Data:
        """The data of one seed."""
        config = self.config
        return Data(
            options=self._data_options,
            fingerprint=self.fingerprint,
            dtype=config.dtype,
            seed=seed if self._data_has_seed else None,
            draws=draws_of_data(self._of_set) if self._dataset is None else None,
            config=config.data,
            data_dir=self._data_dir,
            dataset=self._dataset,
            data_device=self.context.data_device,
        )

    def of_sets(self, data: Data, seed: int) -> Stage[Dataset]:
        """What sets are made of: the data, beside those of another data set where sources are taken from it."""
        name = self._of_set.attack.foreign
        if name is None:
            return data
        config = foreign_data(self.config.data, name)
        foreign = Data(
            options={**config_tree(config), "name": config.provider},
            fingerprint=data_fingerprint(config, data_dir=self._data_dir),
            dtype=self.config.dtype,
            seed=seed if depends_on_seed(config) else None,
            config=config,
            data_dir=self._data_dir,
            dataset=None,
            data_device=self.context.data_device,
        )
        return WithForeign(data=data, foreign=foreign, name=name)

    def _standard(self, data: Data, section: ClassifierConfig, seed: int) -> Stage[Classifier]:
        if self._stored is not None:
            return LoadedStandard(hash=self._stored.standard_hash, stored=self._stored)
        context, dtype = self.context, self.config.dtype
        if section.model.is_network:
            known_as = {**self._known_as["standard"], "lr": list(section.lr)}
            return DeepStandard(known_as=known_as, dtype=dtype, seed=seed, data=data, section=section, context=context)
        start = start_of(self.config, "standard")
        return Standard(section=section, dtype=dtype, seed=seed, start=start, data=data, context=context)

    def _perturbation(
        self, data: Data, perturbed: Stage[PerturbedSet], section: ClassifierConfig, seed: int
    ) -> Stage[Classifier]:
        context, dtype = self.context, self.config.dtype
        if not section.model.is_network:
            start = start_of(self.config, "perturbation")
            return Perturbation(
                section=section,
                dtype=dtype,
                seed=seed,
                start=start,
                perturbed=perturbed,
                data=data if section.is_adversarial else None,
                context=context,
            )
        return DeepPerturbation(
            known_as={**self._known_as["perturbation"], "lr": list(section.lr)},
            dtype=dtype,
            seed=seed,
            data=data,
            perturbed=perturbed,
            section=section,
            context=context,
        )

    def _perturbed(
        self, data: Stage[Dataset], standard: Stage[Classifier], part: Part, seed: int
    ) -> Stage[PerturbedSet]:
        if self._stored is not None:
            return LoadedSet(hash=self._stored.hash, part=part, data=data, stored=self._stored)
        return self._attacked(data, standard, part, seed)

    def _attacked(
        self,
        data: Stage[Dataset],
        standard: Stage[Classifier],
        part: Part,
        seed: int,
        later: Later | None = None,
    ) -> Stage[PerturbedSet]:
        """A set that f is attacked for, or one of the networks after it."""
        is_search = self.config.attack.is_search
        made_from = standard if later is None else later.attacked
        return Perturbed(
            attack=self.config.attack,
            own=self._own_attack,
            part=part,
            seed=seed,
            data=data,
            made_from=tuple(self.shards(data, standard, part, seed, later)) if is_search else made_from,
            targets=start_of_targets(self.config, part),
            sources=start_of_sources(self.config, part),
            generation=None if later is None else later.generation,
            context=self.context,
        )

    def _generations(
        self, data: Data, of_sets: Stage[Dataset], branch: Branch, seed: int
    ) -> Iterator[GenerationMeasures]:
        """What every network after g has learned from the one before it."""
        standard, attacked = branch.standard, branch.learners[0].perturbation
        for number in range(2, self.config.generations + 1):
            assert isinstance(attacked, (Perturbation, DeepPerturbation)), "it is made here"
            perturbed = self._attacked(of_sets, standard, "training", seed, Later(attacked, number))
            seen = self._seen(data, attacked, perturbed, "training", seed)
            attacked = replace(attacked, perturbed=seen, generation=number)
            yield GenerationMeasures(
                number=number,
                data=data,
                standard=standard,
                perturbed=seen,
                perturbation=attacked,
                context=self.context,
            )

    def shards(
        self,
        data: Stage[Dataset],
        standard: Stage[Classifier],
        part: Part,
        seed: int,
        later: Later | None = None,
    ) -> Iterator[Shard]:
        """The parts that a perturbed set is put together or written from.

        Args:
            data, standard, part, seed: what is attacked, f, and where sources and draws come from.
            later: the network that is attacked in the place of f.
        """
        attack, outline = self.config.attack, self.outline
        count = set_size(attack, outline.n_samples, outline.n_heldout, heldout=part == "heldout")
        # The network that is attacked is what a search costs.
        context = self.context if later is None else replace(self.context, standard=self.config.perturbation)
        others = None
        if attack.n_others:
            assert isinstance(standard, (Standard, DeepStandard)), "the configuration refuses an f that is not trained"
            others = tuple(replace(standard, kept=number) for number in range(attack.n_others))
        for rows in shard_ranges(count, outline.signature.input_dim):
            yield Shard(
                attack=attack,
                own=self._own_attack,
                part=part,
                rows=rows,
                seed=seed,
                data=data,
                standard=standard if later is None else later.attacked,
                targets=start_of_targets(self.config, part),
                sources=start_of_sources(self.config, part),
                others=others,
                generation=None if later is None else later.generation,
                context=context,
                is_whole=len(rows) == count,
            )

    def _seen(
        self, data: Data, standard: Stage[Classifier], perturbed: Stage[PerturbedSet], part: Part, seed: int
    ) -> Stage[PerturbedSet]:
        """A perturbed set as g sees it."""
        share, saving, context = self.config.mixing.perturbed_share, self.config.saving, self.context
        if share < 1:
            perturbed = Mixed(share=share, part=part, seed=seed, data=data, perturbed=perturbed, context=context)
        if saving.is_saved:
            return Saved(saving=saving, data=data, standard=standard, perturbed=perturbed, context=context)
        return perturbed

    def _direction_measures(self, data: Data, perturbed: Stage[PerturbedSet]) -> DirectionMeasures:
        model = self.config.standard.model
        assert isinstance(model, TwoLayerModelConfig), "the configuration refuses directions of deep networks"
        kernel = kernel_of(model)
        at_samples = not self.config.attack.is_noise
        return DirectionMeasures(
            kernel=kernel,
            data=data,
            perturbed=perturbed,
            directions=Directions(kernel=kernel, data=data) if at_samples else None,
            context=self.context,
        )

    def _control(
        self,
        control: ControlName,
        data: Stage[Dataset],
        chosen: Selection | None,
        sets: tuple[Stage[PerturbedSet], ...],
        seed: int,
    ) -> ControlDraws:
        config = self.config
        return ControlDraws(
            control=control,
            attack=self._attack_of_control,
            known_as=self._known_as.get("perturbation") or config_tree(config.perturbation),
            draws=config.controls.draws,
            perturbed_share=config.mixing.perturbed_share,
            saving=config.saving if config.saving.is_saved and CONTROLS[control] is not Permuted else None,
            set_seed=seed if self._stored is None else self._stored.seed,
            seed=seed,
            data=data,
            selection=chosen,
            perturbed=sets if CONTROLS[control] is Permuted else (),
            published=None if CONTROLS[control] is Permuted else draws_of_control(config, self._of_set),
            section=config.perturbation,
            context=self.context,
        )

    def theory(self, data: Data, branches: tuple[Branch, ...], selection: Selection, seed: int) -> TheoryComparison:
        """The comparison of a seed's two-layer classifiers with theory."""
        config = self.config
        shared = self._of_selected(data, branches, selection, seed)
        return TheoryComparison(sections=(config.standard, config.attack, config.perturbation), **shared)

    def _asked_theory(
        self, data: Data, branches: tuple[Branch, ...], selection: Selection, seed: int
    ) -> TheoryComparison | NetworkComparison | None:
        config = self.config
        if not config.measures.theory:
            return None
        if config.standard.model.is_network or config.perturbation.model.is_network:
            return NetworkComparison(**self._of_selected(data, branches, selection, seed))
        return self.theory(data, branches, selection, seed)

    def _robust_accuracy(
        self, data: Data, branches: tuple[Branch, ...], chosen: Selection | None, seed: int
    ) -> RobustAccuracy:
        return RobustAccuracy(
            attack=self.config.robust_attack,
            own=self._own_robust_attack,
            seed=seed,
            data=data,
            selection=chosen,
            standard=tuple(branch.standard for branch in branches),
            perturbation=tuple(tuple(learner.perturbation for learner in branch.learners) for branch in branches),
            section=self.config.perturbation,
            context=self.context,
        )

    def _robust_linear(
        self, data: Data, branches: tuple[Branch, ...], chosen: Selection | None, seed: int
    ) -> RobustLinear | None:
        epsilon = self.config.measures.robust_leakage
        if epsilon is None:
            return None
        return RobustLinear(
            epsilon=epsilon,
            seed=seed,
            data=data,
            selection=chosen,
            standard=tuple(branch.standard for branch in branches),
            perturbed=tuple(branch.perturbed for branch in branches),
            perturbation=tuple(tuple(learner.perturbation for learner in branch.learners) for branch in branches),
            context=self.context,
        )

    def _bottleneck(
        self, data: Data, branches: tuple[Branch, ...], chosen: Selection | None, seed: int
    ) -> BottleneckOf | None:
        measures = self.config.measures
        if measures.bottleneck is None:
            return None
        return BottleneckOf(
            beta=measures.bottleneck,
            layer=measures.bottleneck_layer,
            seed=seed,
            data=data,
            selection=chosen,
            standard=tuple(branch.standard for branch in branches),
            perturbed=tuple(branch.perturbed for branch in branches),
            perturbation=tuple(tuple(learner.perturbation for learner in branch.learners) for branch in branches),
            context=self.context,
        )

    def _without_shortcut(
        self, data: Data, branches: tuple[Branch, ...], chosen: Selection | None, seed: int
    ) -> WithoutShortcut:
        context = self.context

        def learned(sets: tuple[Projected, ...]) -> tuple[tuple[Stage[Classifier], ...], ...]:
            sections = [without_factors(section) for section in self._sections["perturbation"]]
            return tuple(
                tuple(self._perturbation(data, projected, section, seed) for section in sections) for projected in sets
            )

        seen = tuple(branch.seen for branch in branches)
        shortcut = tuple(LinearShortcut(data=data, perturbed=perturbed, context=context) for perturbed in seen)
        rest, random = (
            tuple(
                Projected(seed=drawn_with, perturbed=perturbed, shortcut=found, context=context)
                for perturbed, found in zip(seen, shortcut, strict=True)
            )
            for drawn_with in (None, seed)
        )
        return WithoutShortcut(
            seed=seed,
            data=data,
            selection=chosen,
            perturbed=seen,
            shortcut=shortcut,
            rest=rest,
            learned_rest=learned(rest),
            learned_random=learned(random),
            context=context,
        )

    def _attribution(
        self, data: Data, branches: tuple[Branch, ...], chosen: Selection | None, seed: int
    ) -> AttributionOf:
        measures = self.config.measures
        return AttributionOf(
            n_inputs=measures.attribution_inputs,
            merged=measures.attribution_merged,
            tolerance=measures.attribution_tolerance,
            seed=seed,
            data=data,
            selection=chosen,
            perturbed=tuple(branch.seen for branch in branches),
            perturbation=tuple(tuple(learner.perturbation for learner in branch.learners) for branch in branches),
            start=None if self.config.perturbation.model.is_network else start_of(self.config, "perturbation"),
            section=self.config.perturbation,
            context=self.context,
        )

    def _features(self, data: Data, branches: tuple[Branch, ...], selection: Selection, seed: int) -> FeaturesOf:
        config = self.config
        shared = self._of_selected(data, branches, selection, seed)
        return FeaturesOf(sections=(config.standard, config.attack, config.perturbation), **shared)

    def map(self, graph: SeedGraph, seed: int, limits: tuple[float, float] | None) -> Map:
        """The decision map of a seed's classifiers."""
        config = self.config
        shared = self._of_selected(graph.data, graph.branches, graph.selection, seed)
        return Map(sections=(config.standard, config.attack, config.perturbation), limits=limits, **shared)

    def _of_selected(self, data: Data, branches: tuple[Branch, ...], selection: Selection, seed: int) -> dict[str, Any]:
        return {
            "seed": seed,
            "data": data,
            "selection": selection,
            "standard": tuple(branch.standard for branch in branches),
            "perturbed": tuple(branch.perturbed for branch in branches),
            "perturbation": tuple(tuple(learner.perturbation for learner in branch.learners) for branch in branches),
            "config": self.config,
            "context": self.context,
        }


@dataclass(frozen=True)
class OutlineOf:
    """How large some data are, once it is asked for; small enough to travel with a stage."""

    config: DataConfig
    data_dir: str | Path | None
    dataset: Dataset | None

    def __call__(self) -> Outline:
        """The outline; real data are read for it once."""
        return self._outline

    @cached_property
    def _outline(self) -> Outline:
        if self.dataset is not None:
            return Outline.of(self.dataset)
        return data_outline(self.config, data_dir=self.data_dir)
