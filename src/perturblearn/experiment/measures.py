"""What is measured, and on what: every measure is one entry of `MEASURES`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from perturblearn.classifiers import Classifier, identify, is_target, label_loss, predicted_labels
from perturblearn.config import MOST_GENERATIONS
from perturblearn.data import Dataset
from perturblearn.experiment.measured import ClassMeasures, GroupMeasures, LearnerMeasures
from perturblearn.perturbed import PerturbedSet
from perturblearn.theory import random_cosine, row_cosines
from perturblearn.training import LOSSES

DEAD = 0.5
"""Share of outputs that say nothing beyond which a classifier counts as dead, and the share is measured."""


@dataclass(frozen=True, eq=False)
class StandardCase:
    """What measures of the standard classifier f are taken of.

    Args:
        standard: f.
        data: with its true labels.
    """

    standard: Classifier
    data: Dataset

    # Each network labels each set of inputs once, however many measures ask for it.
    @cached_property
    def standard_outputs(self) -> Tensor:
        """Outputs of f for the held-out inputs, (M,) or logits (M, K)."""
        return self.standard.outputs(self.data.heldout_inputs)

    @cached_property
    def standard_labels(self) -> Tensor:
        """What f says of the held-out inputs, (M,)."""
        return predicted_labels(self.standard_outputs)


@dataclass(frozen=True, eq=False)
class PerturbationCase(StandardCase):
    """What measures of the perturbation classifier g are taken of.

    Args:
        perturbation: g.
        perturbed: the set that it was trained on.
        heldout_perturbed: the set that chooses its learning rate.
        loss: the name of the loss that it was trained with.
    """

    perturbation: Classifier
    perturbed: PerturbedSet
    heldout_perturbed: PerturbedSet
    loss: str

    @cached_property
    def perturbation_outputs(self) -> Tensor:
        """Outputs of g for the held-out inputs, (M,) or logits (M, K)."""
        return self.perturbation.outputs(self.data.heldout_inputs)

    @cached_property
    def perturbation_labels(self) -> Tensor:
        """What g says of the held-out inputs, (M,)."""
        return predicted_labels(self.perturbation_outputs)

    @cached_property
    def label_shares(self) -> list[float]:
        """Share of the held-out inputs that g gives each label, in the order of the data's labels."""
        return [(self.perturbation_labels == label).double().mean().item() for label in self.data.label_values]


@dataclass(frozen=True)
class Measure:
    """A number that a run measures; one that has no function here is the result of a stage of its own.

    Args:
        name: as results, tables and files call it.
        measured_on: in a few words, for tables.
        is_usual: whether most runs have it; a stage is not known by others, which are measured only where something is
            wrong.
        is_heldout_share: whether it is a share of all clean held-out inputs, whose sampling error follows from their
            number.
    """

    name: str
    measured_on: str
    is_usual: bool = field(default=True, kw_only=True)
    is_heldout_share: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class StandardMeasure(Measure):
    """A measure of f.

    Args:
        take: the measure; None where there is nothing to measure.
        applies: whether a case has it at all.
    """

    take: Callable[[StandardCase], float | None]
    applies: Callable[[StandardCase], bool] = lambda case: True


@dataclass(frozen=True)
class PerturbationMeasure(Measure):
    """A measure of g.

    Args:
        take: the measure; None where there is nothing to measure.
        applies: whether a case has it at all.
    """

    take: Callable[[PerturbationCase], float | None]
    applies: Callable[[PerturbationCase], bool] = lambda case: True


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Share of samples whose predicted label is theirs; an output of exactly 0 is wrong."""
    return is_target(outputs, labels).double().mean().item()


def dead_share(outputs: Tensor) -> float:
    """Share of samples of which the outputs say nothing: exactly 0 for two classes, equal logits for more."""
    dead = outputs == 0 if outputs.ndim == 1 else outputs.amin(dim=1) == outputs.amax(dim=1)
    return dead.double().mean().item()


def agreement(first: Tensor, second: Tensor) -> float:
    """Share of samples with equal predicted labels, sign f = sign g for two classes.

    Args:
        first, second: outputs of two classifiers for the same samples, (n,) or logits (n, K).
    """
    return (predicted_labels(first) == predicted_labels(second)).double().mean().item()


def mean_loss(classifier: Classifier, inputs: Tensor, labels: Tensor, loss: str) -> float:
    """Mean of the loss of this name over y f(x) (with more than two classes: of the cross-entropy), in float64.

    In float32 exp(89) is no number. Where even float64 overflows, its largest number: a file of results holds no
    infinity.
    """
    outputs = classifier.outputs(inputs).double()
    losses = LOSSES[loss](labels * outputs) if outputs.ndim == 1 else label_loss(outputs, labels)
    return min(losses.mean().item(), sys.float_info.max)


def measure_standard(standard: Classifier, data: Dataset) -> dict[str, float | None]:
    """Every `StandardMeasure`, by name.

    Args:
        standard: f.
        data: with its true labels.
    """
    case = StandardCase(standard, data)
    return {
        measure.name: measure.take(case)
        for measure in MEASURES.values()
        if isinstance(measure, StandardMeasure) and measure.applies(case)
    }


def measure_directions(perturbed: PerturbedSet, data: Dataset, directions: Iterable[Tensor]) -> dict[str, float]:
    """How well perturbations follow the prediction t_n [NeurIPS24, section 5].

    Args:
        perturbed: a set with its sources.
        data: its data.
        directions: t_n where the perturbations were taken, (n, d), in blocks of rows.
    """
    total, signed, start = 0.0, 0.0, 0
    for block in directions:
        rows = slice(start, start + len(block))
        cosines = row_cosines(perturbed.perturbations_of(rows).flatten(1), block).double()
        total += float(cosines.abs().sum())
        signed += float((perturbed.target_labels[rows] * cosines).sum())
        start = rows.stop
    return {
        "cosine_similarity": total / len(perturbed),
        "cosine_similarity_signed": signed / len(perturbed),
        "cosine_similarity_random": random_cosine(data.input_dim),
    }


def taken(kind: type[StandardMeasure | PerturbationMeasure]) -> tuple[str, ...]:
    """What a stage that takes the measures of a kind is known by: names of the usual ones, code of a user's own."""
    return tuple(_identity(measure) for measure in MEASURES.values() if isinstance(measure, kind) and measure.is_usual)


def _identity(measure: StandardMeasure | PerturbationMeasure) -> str:
    # Our own are known by the version of their stage, so that a rewritten line leaves results valid.
    is_ours = measure.take.__module__.partition(".")[0] == "perturblearn"
    return measure.name if is_ours else identify(measure.take, measure.applies, name=measure.name).digest


def measure_perturbation(case: PerturbationCase) -> LearnerMeasures:
    """Every `PerturbationMeasure`, and the same questions class by class and group by group.

    The loss on the held-out perturbed set, which chooses g's learning rate, needs no clean label.
    """
    numbers = {
        measure.name: measure.take(case)
        for measure in MEASURES.values()
        if isinstance(measure, PerturbationMeasure) and measure.applies(case)
    }
    groups = None if case.data.heldout_groups is None else _measure_groups(case)
    return LearnerMeasures(numbers, _measure_classes(case), groups)


def measure_fooling(classifier: Classifier, perturbed: PerturbedSet) -> dict[str, float | None]:
    """How often perturbations of one network fool another.

    Args:
        classifier: the other network.
        perturbed: perturbed inputs with their sources.

    Returns:
        ``success``: share of the redirected samples that it gives their target label. ``error``: of the samples whose
        source it recognises, the share that it recognises no longer. None where there are no such samples.
    """
    assert perturbed.sources is not None
    outputs = classifier.outputs(perturbed.inputs)
    redirected = perturbed.redirected
    success = (is_target(outputs, perturbed.target_labels) & redirected).sum() / redirected.sum()
    error = None
    if perturbed.true_labels is not None:
        known = is_target(classifier.outputs(perturbed.sources), perturbed.true_labels)
        lost = known & ~is_target(outputs, perturbed.true_labels)
        error = float(lost.sum() / known.sum()) if bool(known.any()) else None
    return {"success": float(success) if bool(redirected.any()) else None, "error": error}


def measure_generation(
    number: int, standard: Classifier, perturbation: Classifier, data: Dataset, perturbed: PerturbedSet
) -> dict[str, float | None]:
    """What is measured of a later generation.

    Args:
        number: of the generation, from 2 on.
        standard: f.
        perturbation: the network.
        data: with its true labels.
        perturbed: what the network was trained on, for which the generation before it was attacked.
    """
    outputs = perturbation.outputs(data.heldout_inputs)
    return {
        f"generation_{number}_accuracy": accuracy(perturbation.outputs(data.inputs), data.labels),
        f"generation_{number}_accuracy_heldout": accuracy(outputs, data.heldout_labels),
        f"generation_{number}_agreement": agreement(standard.outputs(data.heldout_inputs), outputs),
        f"generation_{number}_success": perturbed.success_rate,
    }


def _of_generation(number: int) -> tuple[Measure, ...]:
    learner, before = f"generation {number}", "g" if number == 2 else f"generation {number - 1}"
    return (
        Measure(f"generation_{number}_accuracy", f"{learner}, f's clean training set"),
        Measure(f"generation_{number}_accuracy_heldout", f"{learner}, clean held-out inputs", is_heldout_share=True),
        Measure(f"generation_{number}_agreement", f"f and {learner}, clean held-out inputs", is_heldout_share=True),
        Measure(f"generation_{number}_success", f"{before} on what {learner} sees, where the target is not the label"),
    )


def _measure_classes(case: PerturbationCase) -> ClassMeasures:
    data, perturbed = case.data, case.perturbed
    truths = [data.heldout_labels == label for label in data.label_values]
    targeted = [perturbed.redirected & (perturbed.target_labels == label) for label in data.label_values]
    says = [case.perturbation_labels == label for label in data.label_values]
    return ClassMeasures(
        **_shares(case, data.class_names, truths),
        attack_success=tuple(_share(perturbed.success, rows) for rows in targeted),
        confusion=tuple(tuple(int((rows & column).sum()) for column in says) for rows in truths),
    )


def _measure_groups(case: PerturbationCase) -> GroupMeasures:
    return GroupMeasures(**_shares(case, case.data.group_names, _group_members(case.data)))


def _shares(case: PerturbationCase, names: Iterable[str], members: list[Tensor]) -> dict[str, Any]:
    """Counts, accuracies and agreement over parts of the held-out inputs, as `GroupMeasures` takes them."""
    truths, of_f, of_g = case.data.heldout_labels, case.standard_labels, case.perturbation_labels
    return {
        "names": tuple(names),
        "n_heldout": tuple(int(rows.sum()) for rows in members),
        "standard_accuracy": tuple(_share(of_f == truths, rows) for rows in members),
        "perturbation_accuracy": tuple(_share(of_g == truths, rows) for rows in members),
        "agreement": tuple(_share(of_f == of_g, rows) for rows in members),
    }


def _group_members(data: Dataset) -> list[Tensor]:
    """For each group, which held-out inputs belong to it."""
    assert data.heldout_groups is not None
    return [data.heldout_groups == group for group in range(len(data.group_names))]


def _worst_group(predicted: Tensor, data: Dataset) -> float:
    """The lowest accuracy over the groups that occur among the held-out inputs."""
    reached = [_share(predicted == data.heldout_labels, rows) for rows in _group_members(data)]
    return min(share for share in reached if share is not None)


def _has_groups(case: StandardCase) -> bool:
    return case.data.heldout_groups is not None


def _mean_moved(perturbed: PerturbedSet, column: Tensor | None) -> float | None:
    """Mean over the samples that are perturbed; None where mixing has left none."""
    assert column is not None, "it applies to sets with this column"
    moved = column if perturbed.clean is None else column[~perturbed.clean]
    return moved.double().mean().item() if len(moved) else None


def _loss_on(case: PerturbationCase, perturbed: PerturbedSet) -> float:
    return mean_loss(case.perturbation, perturbed.inputs, perturbed.target_labels, case.loss)


def _share(holds: Tensor, rows: Tensor) -> float | None:
    count = int(rows.sum())
    return int((holds & rows).sum()) / count if count else None


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        StandardMeasure(
            "standard_accuracy",
            "f, its clean training set",
            lambda case: accuracy(case.standard.outputs(case.data.inputs), case.data.labels),
        ),
        StandardMeasure(
            "standard_accuracy_heldout",
            "f, clean held-out inputs",
            lambda case: accuracy(case.standard_outputs, case.data.heldout_labels),
            is_heldout_share=True,
        ),
        Measure("standard_robust_accuracy", "f, held-out inputs moved away from their labels", is_heldout_share=True),
        StandardMeasure(
            "standard_accuracy_worst_group",
            "f, clean held-out inputs of its worst group",
            lambda case: _worst_group(case.standard_labels, case.data),
            _has_groups,
        ),
        StandardMeasure(
            "standard_dead_share",
            "share of clean held-out inputs of which f's outputs say nothing",
            lambda case: dead_share(case.standard_outputs),
            lambda case: dead_share(case.standard_outputs) > DEAD,
            is_usual=False,
        ),
        PerturbationMeasure(
            "perturbation_accuracy",
            "g, f's clean training set",
            lambda case: accuracy(case.perturbation.outputs(case.data.inputs), case.data.labels),
        ),
        PerturbationMeasure(
            "perturbation_accuracy_heldout",
            "g, clean held-out inputs",
            lambda case: accuracy(case.perturbation_outputs, case.data.heldout_labels),
            is_heldout_share=True,
        ),
        Measure(
            "perturbation_robust_accuracy", "g, held-out inputs moved away from their labels", is_heldout_share=True
        ),
        PerturbationMeasure(
            "perturbation_accuracy_worst_group",
            "g, clean held-out inputs of its worst group",
            lambda case: _worst_group(case.perturbation_labels, case.data),
            _has_groups,
        ),
        PerturbationMeasure(
            "agreement",
            "f and g, clean held-out inputs",
            lambda case: (case.standard_labels == case.perturbation_labels).double().mean().item(),
            is_heldout_share=True,
        ),
        PerturbationMeasure(
            "perturbation_dead_share",
            "share of clean held-out inputs of which g's outputs say nothing",
            lambda case: dead_share(case.perturbation_outputs),
            lambda case: dead_share(case.perturbation_outputs) > DEAD,
            is_usual=False,
        ),
        Measure("cosine_similarity", "size of the cosine of r_n and t_n, mean over the perturbed set"),
        Measure("cosine_similarity_signed", "cosine of y'_n r_n and t_n, mean over the perturbed set"),
        Measure("cosine_similarity_random", "the size for random directions, about sqrt(2 / (pi d))"),
        PerturbationMeasure(
            "positive_share",
            "share of clean held-out inputs that g labels +1",
            lambda case: case.label_shares[0],
            lambda case: case.data.is_binary,
            is_heldout_share=True,
        ),
        PerturbationMeasure(
            "largest_share",
            "share of clean held-out inputs under g's most frequent label",
            lambda case: max(case.label_shares),
            lambda case: not case.data.is_binary,
            is_heldout_share=True,
        ),
        PerturbationMeasure(
            "attack_success",
            "f on what g sees, where the target is not the label",
            lambda case: case.perturbed.success_rate,
        ),
        PerturbationMeasure(
            "perturbation_size",
            "size of the perturbations, mean over the perturbed samples",
            lambda case: _mean_moved(case.perturbed, case.perturbed.sizes),
            lambda case: case.perturbed.sizes is not None,
        ),
        PerturbationMeasure(
            "kept_share",
            "how often networks that were to be left alone give what g sees its true label",
            lambda case: _mean_moved(case.perturbed, case.perturbed.kept),
            lambda case: case.perturbed.kept is not None,
            is_usual=False,
        ),
        PerturbationMeasure(
            "perturbed_loss", "g, the set it was trained on", lambda case: _loss_on(case, case.perturbed)
        ),
        PerturbationMeasure(
            "perturbed_loss_heldout", "g, held-out perturbed set", lambda case: _loss_on(case, case.heldout_perturbed)
        ),
        *(measure for number in range(2, MOST_GENERATIONS + 1) for measure in _of_generation(number)),
        Measure("attribution_total", "class signal of g, held-out inputs: the sum of its parts"),
        Measure("attribution_perturbation", "what the perturbations taught g"),
        Measure("attribution_source", "what their sources taught g, under the target labels"),
        Measure("attribution_start", "what g started with"),
        Measure("attribution_decay", "what weight decay did"),
        Measure("attribution_statistics", "what the running statistics of g's layers did"),
        Measure("attribution_perturbation_accuracy", "the perturbations' part alone, held-out inputs"),
        Measure("attribution_source_accuracy", "the sources' part alone, held-out inputs"),
        Measure("attribution_unperturbed", "class signal of g trained on the sources alone"),
        Measure("attribution_cancellation", "sizes of the parts, over the size of their total"),
        Measure("attribution_needs_perturbation", "share that g gets right, and wrong without that part"),
        Measure("attribution_error", "what the parts miss of what g has learned"),
        Measure("linear_probe", "a linear classifier of the perturbed set, f's training set"),
        Measure(
            "linear_probe_heldout", "a linear classifier of the perturbed set, held-out inputs", is_heldout_share=True
        ),
        Measure("robust_linear_features", "robust linear features of a class, mean number"),
        Measure(
            "robust_linear_heldout",
            "a linear classifier of the perturbed set that has robust linear features alone",
            is_heldout_share=True,
        ),
        Measure(
            "robust_linear_unperturbed_heldout", "the same of the sources, under the targets", is_heldout_share=True
        ),
        Measure("robust_linear_permuted_heldout", "the same of the perturbed set, targets permuted, mean"),
        Measure("robust_linear_permuted_best_heldout", "the same, the best of 5 permutations"),
        Measure("robust_linear_clean_heldout", "the same of f's training set", is_heldout_share=True),
        Measure("robust_linear_share", "share of the perturbations, by squared length, in these features"),
        Measure(
            "robust_linear_g_heldout", "g, held-out inputs of which these features are left", is_heldout_share=True
        ),
        Measure("robust_linear_g_without_heldout", "g, held-out inputs without these features", is_heldout_share=True),
        Measure("linear_shortcut_directions", "directions that a linear classifier of the perturbed set looks at"),
        Measure("linear_shortcut_share", "share of the perturbations, by squared length, in these directions"),
        Measure("linear_shortcut_heldout", "that linear classifier", is_heldout_share=True),
        Measure(
            "linear_shortcut_rest_heldout",
            "g trained without these directions, held-out inputs without them",
            is_heldout_share=True,
        ),
        Measure("linear_shortcut_random_heldout", "the same with as many random directions", is_heldout_share=True),
        Measure(
            "linear_shortcut_rest_linear_heldout",
            "a linear classifier of what is left without these directions",
            is_heldout_share=True,
        ),
        Measure("bottleneck_robust_units", "share of f's units that bear noise larger than their deviation"),
        Measure("bottleneck_information", "information that passes f's layer under this noise, nats"),
        Measure("bottleneck_noisy_heldout", "f with this noise, clean held-out inputs", is_heldout_share=True),
        Measure("bottleneck_robust_variance", "share of the layer's variance in these units, clean training inputs"),
        Measure("bottleneck_robust_share", "share of what the perturbations change of the layer, squared, in them"),
        Measure(
            "bottleneck_robust_heldout", "f, all other units at their means, held-out inputs", is_heldout_share=True
        ),
        Measure(
            "bottleneck_non_robust_heldout", "f, these units at their means, held-out inputs", is_heldout_share=True
        ),
        Measure("bottleneck_robust_agreement", "g and f with the units that bear noise alone", is_heldout_share=True),
        Measure("bottleneck_non_robust_agreement", "g and f with the other units alone", is_heldout_share=True),
        Measure("unperturbed_control", "no perturbation, f's training set"),
        Measure("unperturbed_control_heldout", "no perturbation, held-out inputs", is_heldout_share=True),
        Measure("permuted_control", "targets permuted, f's training set"),
        Measure("permuted_control_heldout", "targets permuted, held-out inputs", is_heldout_share=True),
        *(
            Measure(f"{name}_max", "the papers' choice: maximum over the grid of lr")
            for name in (
                "standard_accuracy",
                "standard_accuracy_heldout",
                "perturbation_accuracy",
                "perturbation_accuracy_heldout",
                "agreement",
                "cosine_similarity",
            )
        ),
    )
}
"""Every measure of a run by its name, in the order of tables. Another one is another entry."""
