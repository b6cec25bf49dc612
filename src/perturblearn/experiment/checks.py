"""What is asked of f and g besides the five steps: which learning rates count, controls, comparisons with theory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from perturblearn.attacks import make_attack
from perturblearn.classifiers import Classifier, Identity
from perturblearn.config import (
    AttackConfig,
    ClassifierConfig,
    ExperimentConfig,
    OwnAttackConfig,
    PGDConfig,
    SavingConfig,
)
from perturblearn.data import Dataset
from perturblearn.errors import PerturbLearnError
from perturblearn.experiment.attribution import Attribution, attribute
from perturblearn.experiment.bottleneck import BATCH, STEPS, measure_bottleneck
from perturblearn.experiment.case import Case
from perturblearn.experiment.comparison import Comparison, compare
from perturblearn.experiment.context import ContextStage
from perturblearn.experiment.controls import CONTROLS, ControlName, run_control, unperturbed_set
from perturblearn.experiment.costs import estimate_control
from perturblearn.experiment.features import measure_features
from perturblearn.experiment.linear_shortcut import measure_linear_shortcut, random_directions
from perturblearn.experiment.maps import draw_map, dump_map, load_map
from perturblearn.experiment.measured import ControlAccuracies
from perturblearn.experiment.measures import measure_directions, measure_fooling
from perturblearn.experiment.network_comparison import compare_networks
from perturblearn.experiment.network_costs import estimate_network, estimate_shard, step_operations
from perturblearn.experiment.networks import unidentified_in
from perturblearn.experiment.numbers import Numbers, NumbersStage
from perturblearn.experiment.pictured import FeatureMeasures, FeatureStage
from perturblearn.experiment.probe import measure_linear_probe
from perturblearn.experiment.robust_linear import measure_robust_linear
from perturblearn.experiment.robustness import robust_accuracy
from perturblearn.experiment.selection import Selected, select
from perturblearn.experiment.steps import LinearShortcut, PerturbationMeasures, StandardMeasures
from perturblearn.experiment.training import named, resumption
from perturblearn.graph import Costly, Estimate, Results, ResultT_co, Stage, Stored, aside, optional
from perturblearn.perturbed import PerturbedSet, mix, through_files
from perturblearn.seeding import PublishedControl, PublishedStart, derive_seed
from perturblearn.store import Artefact
from perturblearn.theory import DecisionMap, GateKernel, perturbation_direction

MOST_DIRECTIONS = 2**30
"""Bytes of predicted directions that are kept for several classifiers; more are made again for each, in blocks."""
DIRECTION_ROWS = 16384
"""Rows of such a block."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Directions(Stage[Tensor | None]):
    """The predicted directions t_n at the training inputs, which several f share; None where they are too large.

    Args:
        kernel: the gate kernel that goes with f.
    """

    kind = "perturbation directions"
    title = "predicted directions"
    kernel: GateKernel
    data: Stage[Dataset]

    def run(self, result: Results) -> Tensor | None:
        """Predict them."""
        data = result(self.data)
        if data.inputs.nbytes > MOST_DIRECTIONS:
            return None
        return perturbation_direction(data.inputs.flatten(1), data.labels, kernel=self.kernel)


@dataclass(frozen=True, eq=False, kw_only=True)
class DirectionMeasures(ContextStage[Numbers], NumbersStage):
    """How well perturbations follow the predicted directions.

    Args:
        kernel: the gate kernel that goes with f.
        directions: at the training inputs; None where perturbations have places of their own.
    """

    kind = "direction measures"
    title = "cosine similarity"
    kernel: GateKernel
    data: Stage[Dataset]
    perturbed: Stage[PerturbedSet]
    directions: Directions | None

    def run(self, result: Results) -> Numbers:
        """Measure the cosines."""
        perturbed = result(self.perturbed).to(self.context.data_device)
        data = result(self.data)
        known = None if self.directions is None else result(self.directions)
        if known is not None:
            return measure_directions(perturbed, data, [known])
        # Perturbations of noise have their own places.
        assert perturbed.sources is not None
        places = data.inputs if perturbed.true_labels is not None else perturbed.sources
        blocks = (
            perturbation_direction(data.inputs.flatten(1), data.labels, kernel=self.kernel, at=part.flatten(1))
            for part in places.split(DIRECTION_ROWS)
        )
        return measure_directions(perturbed, data, blocks)


@dataclass(frozen=True, eq=False, kw_only=True)
class Selection(Stored[Selected]):
    """The pair of learning rates that counts.

    Args:
        standard_lr, perturbation_lr: the rates of f and of g.
        standard, directions: measures of f, one for each rate of f; ``directions`` may be empty.
        perturbation: measures of g, a row for each rate of f.
    """

    kind = "selection"
    title = "selection of learning rates"
    standard_lr: tuple[float, ...]
    perturbation_lr: tuple[float, ...]
    standard: tuple[StandardMeasures, ...]
    directions: tuple[DirectionMeasures, ...]
    perturbation: tuple[tuple[PerturbationMeasures, ...], ...]

    def run(self, result: Results) -> Selected:
        """Choose it."""
        standards = [dict(result(stage)) for stage in self.standard]
        for measures, stage in zip(standards, self.directions, strict=False):
            measures.update(result(stage))
        return select(standards, [[result(stage).numbers for stage in row] for row in self.perturbation])

    @classmethod
    def dump(cls, result: Selected) -> Artefact:
        """The choice as an artefact."""
        return Artefact(
            {"standard": result.standard, "perturbation": result.perturbation, "maxima": dict(result.maxima)}
        )

    @classmethod
    def load(cls, artefact: Artefact) -> Selected:
        """The choice again."""
        return Selected(**artefact.content)


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearProbe(ContextStage[Numbers], NumbersStage):
    """What a linear classifier learns from the perturbed set.

    Args:
        selection: of learning rates; None where there is one of each.
        perturbed: the set for each learning rate of f.
    """

    kind = "linear probe"
    version = 2
    data: Stage[Dataset]
    selection: Selection | None
    perturbed: tuple[Stage[PerturbedSet], ...]

    @property
    def work(self) -> float:
        """Little."""
        return 1.0

    def run(self, result: Results) -> Numbers:
        """Train and measure it."""
        row = _selected(self.selection, result).standard
        return measure_linear_probe(result(self.perturbed[row]), result(self.data), device=self.device)


@dataclass(frozen=True, eq=False, kw_only=True)
class RobustAccuracy(ContextStage[Numbers], NumbersStage, Costly[Numbers]):
    """What f and g still recognise where a search moves held-out inputs away from their labels.

    Args:
        attack: the search.
        own: identity of the user's own attack; None for our own.
        seed: the run's seed.
        selection: of learning rates; None where there is one of each.
        standard: f for each of its learning rates.
        perturbation: g, a row for each f.
        section: how g is made and trained.
    """

    kind = "robust accuracy"
    attack: PGDConfig | OwnAttackConfig
    own: Identity | None
    seed: int
    data: Stage[Dataset]
    selection: Selection | None
    standard: tuple[Stage[Classifier], ...]
    perturbation: tuple[tuple[Stage[Classifier], ...], ...]
    section: ClassifierConfig = aside()

    @property
    def unidentified(self) -> tuple[str, ...]:
        """What nothing identifies in the attack."""
        return () if self.own is None else self.own.unidentified

    @property
    def work(self) -> float:
        """A step goes forward and back, for both networks."""
        outline = self.context.outline()
        steps = self.attack.gradient_steps(outline.signature.input_dim) * self.attack.searches
        return 4.0 * steps * outline.n_heldout / outline.n_samples

    def run(self, result: Results) -> Numbers:
        """Search around the held-out inputs."""
        selected, data = _selected(self.selection, result), result(self.data)
        row, column = selected.standard, selected.perturbation
        attack = make_attack(self.attack, data.input_dim)
        numbers = {}
        for position, stage in enumerate((self.standard[row], self.perturbation[row][column])):

            def tell(done: int, steps: int, note: str, position: int = position) -> None:
                result.report(position * steps + done, 2 * steps, f"{'fg'[position]}, {note}")

            role = ("standard", "perturbation")[position]
            numbers[f"{role}_robust_accuracy"] = robust_accuracy(
                result(stage).to(device=self.device),
                data.heldout_inputs,
                data.heldout_labels,
                attack,
                value_range=data.value_range,
                seed=derive_seed(self.seed, role),
                report=tell,
            )
        return numbers

    @classmethod
    def estimate(cls, group: Sequence[Any]) -> Estimate:
        """What the searches cost if no input is found wrong before their end."""
        (stage,) = group
        shapes = replace(stage.context.shapes(), attack=stage.attack)
        count = shapes.outline.n_heldout
        f, g = (estimate_shard(section, shapes, count) for section in (stage.context.standard, stage.section))
        return Estimate(
            f.operations + g.operations,
            f.unshared + g.unshared,
            max(f.memory, g.memory),
            f.seconds + g.seconds,
            f"f and g, each at most {f.note}",
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class RobustLinear(ContextStage[FeatureMeasures], FeatureStage):
    """What the perturbed set leaks of robust linear features, and what g has of them.

    Args:
        epsilon: L2 size of the moves against which a feature is robustly useful.
        seed: the run's seed.
        selection: of learning rates; None where there is one of each.
        standard: f for each of its learning rates.
        perturbed: the set for each of them.
        perturbation: g, a row for each f.
    """

    kind = "robust linear features"
    version = 2
    epsilon: float
    seed: int
    data: Stage[Dataset]
    selection: Selection | None
    standard: tuple[Stage[Classifier], ...]
    perturbed: tuple[Stage[PerturbedSet], ...]
    perturbation: tuple[tuple[Stage[Classifier], ...], ...]

    @property
    def work(self) -> float:
        """Little."""
        return 1.0

    def run(self, result: Results) -> FeatureMeasures:
        """Train linear classifiers, and measure them and g."""
        selected = _selected(self.selection, result)
        g = result(self.perturbation[selected.standard][selected.perturbation]).to(device=self.device)
        f = result(self.standard[selected.standard]).to(device=self.device)
        perturbed = result(self.perturbed[selected.standard])
        return measure_robust_linear(result(self.data), f, perturbed, g, epsilon=self.epsilon, seed=self.seed)


@dataclass(frozen=True, eq=False, kw_only=True)
class BottleneckOf(ContextStage[Numbers], NumbersStage):
    """Which units of a layer of f bear noise, what perturbations move of them, and what g has of them.

    Args:
        beta: price of a nat of information.
        layer: its name; None for what the last linear layer receives.
        seed: the run's seed.
        selection: of learning rates; None where there is one of each.
        standard: f for each of its learning rates.
        perturbed: the set for each of them.
        perturbation: g, a row for each f.
    """

    kind = "bottleneck"
    title = "information bottleneck of f"
    beta: float
    layer: str | None
    seed: int
    data: Stage[Dataset]
    selection: Selection | None
    standard: tuple[Stage[Classifier], ...]
    perturbed: tuple[Stage[PerturbedSet], ...]
    perturbation: tuple[tuple[Stage[Classifier], ...], ...]

    @property
    def work(self) -> float:
        """Every step goes through f and back."""
        return 1.0 + STEPS * BATCH / max(1, self.context.outline().n_samples)

    def run(self, result: Results) -> Numbers:
        """Find the noise, and measure f, the perturbations and g."""
        selected = _selected(self.selection, result)
        return measure_bottleneck(
            result(self.data),
            result(self.standard[selected.standard]).to(device=self.device),
            result(self.perturbed[selected.standard]),
            result(self.perturbation[selected.standard][selected.perturbation]).to(device=self.device),
            beta=self.beta,
            layer=self.layer,
            seed=self.seed,
            report=result.report,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class WithoutShortcut(ContextStage[Numbers], NumbersStage):
    """What g learns of the perturbed set without its linear shortcut, and without as many random directions.

    Args:
        seed: of the random directions.
        selection: of learning rates; None where there is one of each.
        perturbed, shortcut, rest: the set for each learning rate of f, its shortcut, and the set without it.
        learned_rest, learned_random: what is trained as g on such sets, a row for each f.
    """

    kind = "learning without the linear shortcut"
    seed: int
    data: Stage[Dataset]
    selection: Selection | None
    perturbed: tuple[Stage[PerturbedSet], ...]
    shortcut: tuple[LinearShortcut, ...]
    rest: tuple[Stage[PerturbedSet], ...]
    learned_rest: tuple[tuple[Stage[Classifier], ...], ...]
    learned_random: tuple[tuple[Stage[Classifier], ...], ...]

    def run(self, result: Results) -> Numbers:
        """Measure it."""
        selected = _selected(self.selection, result)
        row, column = selected.standard, selected.perturbation
        shortcut = result(self.shortcut[row])
        perturbed, rest = (result(sets[row]).to(self.context.data_device) for sets in (self.perturbed, self.rest))
        learned = (result(stages[row][column]) for stages in (self.learned_rest, self.learned_random))
        return measure_linear_shortcut(
            result(self.data),
            perturbed,
            shortcut,
            random_directions(shortcut.directions, seed=self.seed),
            rest,
            *(classifier.to(device=self.device) for classifier in learned),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class ControlDraws(ContextStage[ControlAccuracies], Stored[ControlAccuracies], Costly[ControlAccuracies]):
    """Classifiers trained as g is, without the information under test.

    Args:
        control: which.
        attack: what a control knows of it: sources and targets, and how large bare perturbations are.
        known_as: what fixes g's training, without paths.
        draws: how many.
        perturbed_share: of g's training set.
        set_seed: that of the perturbed set.
        seed: the run's seed.
        selection: of learning rates; None where there is one of each.
        perturbed: the set for each learning rate of f; empty for a control that does not see it.
        published: how a published script draws what the control learns, and its first draw; None for our own draws.
        saving: the files that its inputs go through, as g's do; None for none, and for g's own set.
        section: how g is trained, as found on this machine.
    """

    kind = "control"
    version = 4
    control: ControlName
    attack: AttackConfig
    known_as: Mapping[str, Any]
    draws: int
    perturbed_share: float
    set_seed: int
    seed: int
    data: Stage[Dataset]
    selection: Selection | None
    perturbed: tuple[Stage[PerturbedSet], ...]
    published: PublishedControl | None = optional()
    saving: SavingConfig | None = optional()
    section: ClassifierConfig = aside()

    @property
    def label(self) -> str:
        """Words for people."""
        return f"{self.control} control, {self.draws} draw{'s' * (self.draws > 1)}"

    @property
    def unidentified(self) -> tuple[str, ...]:
        """What nothing identifies in g's network."""
        return unidentified_in(self.known_as)

    @property
    def work(self) -> float:
        """That of as many classifiers."""
        return self.draws * self.section.relative_work

    @property
    def step_operations(self) -> float:
        """See `Stage.step_operations`."""
        return step_operations(self.section, self.context.shapes(), on_perturbed=True)

    def run(self, result: Results) -> ControlAccuracies:
        """Train and measure all draws."""
        selected = _selected(self.selection, result)
        data = result(self.data)
        if self.perturbed:
            seen = result(self.perturbed[selected.standard]).to(self.context.data_device)
        else:  # no f, no perturbation: sources and targets are drawn as the set's were
            seen = unperturbed_set(data, self.attack, seed=self.set_seed, published=self.published)
            if self.perturbed_share < 1:
                seed = derive_seed(self.seed, "mixing", "training")
                seen = mix(seen, data, self.perturbed_share, seed=seed)
            if self.saving is not None:
                seen = replace(seen, inputs=through_files(seen.inputs, data, self.saving))
        section = self.section.with_rate(self.section.lr[selected.perturbation])
        start = None if self.published is None else self.published.start
        control = CONTROLS[self.control](data, seen, self.attack, section, self.seed, start)
        try:
            return run_control(
                control,
                draws=self.draws,
                device=self.device,
                resumption=resumption(self.context, result),
                report=result.report,
            )
        except PerturbLearnError as error:
            raise named(self, error) from None

    @classmethod
    def dump(cls, result: ControlAccuracies) -> Artefact:
        """The accuracies as an artefact."""
        return Artefact(result.to_dict())

    @classmethod
    def load(cls, artefact: Artefact) -> ControlAccuracies:
        """The accuracies again."""
        return ControlAccuracies.from_dict(artefact.content)

    @classmethod
    def estimate(cls, group: Sequence[Any]) -> Estimate:
        """What the draws cost."""
        (stage,) = group
        section, shapes = stage.section.with_rate(stage.section.lr[0]), stage.context.shapes()
        if section.model.is_network:
            return estimate_network(section, shapes, on_perturbed=True, draws=stage.draws)
        return estimate_control(CONTROLS[stage.control], section, stage.draws, shapes)


@dataclass(frozen=True, eq=False, kw_only=True)
class AttributionOf(ContextStage[Attribution], Stored[Attribution]):
    """Where what g knows of held-out inputs comes from.

    Args:
        n_inputs: held-out inputs that are looked at.
        merged, tolerance: how finely g's training is followed; see `attribute_training`.
        seed: the run's seed.
        selection: of learning rates; None where there is one of each.
        perturbed: the set for each learning rate of f.
        perturbation: g, a row for each f: what fixes its training, which is followed once more.
        start: where a published script draws g's first weights; None for our own draws.
        section: how g is trained, as found on this machine.
    """

    kind = "attribution"
    version = 3
    title = "attribution of what g knows"
    result_type = Attribution
    n_inputs: int
    merged: int | None
    tolerance: float
    seed: int
    data: Stage[Dataset]
    selection: Selection | None
    perturbed: tuple[Stage[PerturbedSet], ...]
    perturbation: tuple[tuple[Stage[Classifier], ...], ...]
    start: PublishedStart | None = optional()
    section: ClassifierConfig = aside()

    @property
    def work(self) -> float:
        """A second pass backward, and derivatives: several times that of g's training."""
        return 5 * self.section.relative_work

    @property
    def step_operations(self) -> float:
        """See `Stage.step_operations`."""
        return step_operations(self.section, self.context.shapes(), on_perturbed=True)

    def run(self, result: Results) -> Attribution:
        """Follow g's training once more."""
        selected = _selected(self.selection, result)
        try:
            return attribute(
                result(self.data),
                result(self.perturbed[selected.standard]).to(self.context.data_device),
                self.section.with_rate(self.section.lr[selected.perturbation]),
                seed=self.seed,
                n_inputs=self.n_inputs,
                merged=self.merged,
                tolerance=self.tolerance,
                device=self.device,
                start=self.start,
                report=result.report,
            )
        except PerturbLearnError as error:
            raise named(self, error) from None


@dataclass(frozen=True, eq=False, kw_only=True)
class Fooling(ContextStage[Numbers], NumbersStage):
    """How often perturbations of one network fool another.

    Args:
        attacked, fooled: what the networks are called.
        of_seed: the seed of the perturbations.
        perturbed: perturbations of the one.
        classifier: the other.
    """

    kind = "fooling"
    perturbed: Stage[PerturbedSet]
    classifier: Stage[Classifier]
    attacked: str = aside()
    fooled: str = aside()
    of_seed: int = aside()

    @property
    def label(self) -> str:
        """Words for people."""
        return f"how often perturbations of {self.attacked} fool {self.fooled}, seed {self.of_seed}"

    def run(self, result: Results) -> Numbers:
        """Measure it."""
        classifier = result(self.classifier).to(device=self.device)
        return measure_fooling(classifier, result(self.perturbed).to(self.context.data_device))


@dataclass(frozen=True, eq=False, kw_only=True)
class _OfSelected(ContextStage[ResultT_co]):
    """A stage that looks at the classifiers whose learning rates count.

    Args:
        seed: the run's seed.
        standard: f for each of its learning rates.
        perturbed: the set that each f's g was trained on.
        perturbation: g, a row for each f.
        config: the experiment's.
    """

    seed: int
    data: Stage[Dataset]
    selection: Selection
    standard: tuple[Stage[Classifier], ...]
    perturbed: tuple[Stage[PerturbedSet], ...]
    perturbation: tuple[tuple[Stage[Classifier], ...], ...]
    config: ExperimentConfig = aside()

    @property
    def work(self) -> float:
        """Little."""
        return 1.0

    @property
    def step_operations(self) -> float:
        """Unknown: kernels and maps of any size."""
        return math.inf

    def case(self, result: Results) -> Case:
        """The classifiers with all that predictions need."""
        selected, device = result(self.selection), self.device
        row, column = selected.standard, selected.perturbation
        return Case(
            self.config,
            self.seed,
            result(self.data),
            result(self.standard[row]).to(device=device),
            result(self.perturbation[row][column]).to(device=device),
            result(self.perturbed[row]).to(self.context.data_device),
            self.config.standard.lr[row],
            self.config.perturbation.lr[column],
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class TheoryComparison(_OfSelected[Comparison], Stored[Comparison]):
    """Two-layer networks beside what both papers predict for them.

    Args:
        sections: how f and g are trained, and the attack.
    """

    kind = "comparison with theory"
    version = 2
    result_type = Comparison
    sections: tuple[ClassifierConfig, AttackConfig, ClassifierConfig]

    def run(self, result: Results) -> Comparison:
        """Compare them."""
        return compare(self.case(result), report=result.report)


@dataclass(frozen=True, eq=False, kw_only=True)
class FeaturesOf(_OfSelected[FeatureMeasures], FeatureStage):
    """Which of f's features perturbations carry, and which of them g has.

    Args:
        sections: how f and g are trained, and the attack.
    """

    kind = "features"
    version = 2
    title = "features of f, of perturbations and of g"
    sections: tuple[ClassifierConfig, AttackConfig, ClassifierConfig]

    @property
    def work(self) -> float:
        """That of the control that is trained, and about as much for the kernel."""
        return 2 * self.config.perturbation.relative_work

    def run(self, result: Results) -> FeatureMeasures:
        """Measure them."""
        try:
            return measure_features(self.case(result), report=result.report)
        except PerturbLearnError as error:
            raise named(self, error) from None


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkComparison(_OfSelected[Numbers], NumbersStage):
    """Deep networks beside their linearisations and kernels.

    They are known by their stages: a configuration holds paths to their code and weights.
    """

    kind = "comparison of networks"
    version = 2

    def run(self, result: Results) -> Numbers:
        """Compare them."""
        return compare_networks(self.case(result), report=result.report)


@dataclass(frozen=True, eq=False, kw_only=True)
class Map(_OfSelected[DecisionMap], Stored[DecisionMap]):
    """The decision map of f and g.

    Args:
        sections: how f and g are trained, and the attack.
        limits: least and largest coordinate; None for limits that show the samples.
    """

    kind = "decision map"
    sections: tuple[ClassifierConfig, AttackConfig, ClassifierConfig]
    limits: tuple[float, float] | None

    def run(self, result: Results) -> DecisionMap:
        """Draw it."""
        return draw_map(self.case(result), limits=self.limits)

    @classmethod
    def dump(cls, result: DecisionMap) -> Artefact:
        """The map as an artefact."""
        return dump_map(result)

    @classmethod
    def load(cls, artefact: Artefact) -> DecisionMap:
        """The map again."""
        return load_map(artefact)


def _selected(selection: Selection | None, result: Results) -> Selected:
    """Positions of the learning rates of f and g that count."""
    return Selected(0, 0, {}) if selection is None else result(selection)
