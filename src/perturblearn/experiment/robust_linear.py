"""How much of what g learned may be robust linear features that the perturbed set leaks."""

from __future__ import annotations

import torch
from torch import Tensor

from perturblearn.classifiers import Classifier
from perturblearn.data import Components, Dataset, row_slices
from perturblearn.experiment.measures import accuracy
from perturblearn.experiment.pictured import FeatureMeasures, PicturedFeatures, pictured_features
from perturblearn.experiment.probe import LinearProbe
from perturblearn.perturbed import PerturbedSet
from perturblearn.seeding import derive_seed
from perturblearn.theory import LinearFeatures

PERMUTATIONS = 5
"""Permutations of the targets in the control, whose best is reported beside its mean: of two classes, a single feature
may happen to separate all inputs."""
PICTURED = 4
"""Features of either kind that are shown: robust ones, and others that are useful."""


def measure_robust_linear(
    data: Dataset,
    standard: Classifier,
    perturbed: PerturbedSet,
    perturbation: Classifier,
    *,
    epsilon: float,
    seed: int,
) -> FeatureMeasures:
    """A lower bound of the leakage of robust features [Goh19], with its controls, and what g has of these features.

    Args:
        data: clean inputs, of which the training part defines the features.
        standard: f.
        perturbed: what g was trained on, with its sources.
        perturbation: g.
        epsilon: L2 size of the moves against which a feature is robustly useful.
        seed: of the permutations.

    Returns:
        The measures ``robust_linear_*`` of the table in *Results*, and the most useful features of either kind.
    """
    features = LinearFeatures(Components.of(data.inputs.cpu()))
    clean, labels = data.inputs.cpu(), data.labels.cpu()
    useful = features.usefulness(clean, labels, data.label_values)
    kept = features.robust(useful, epsilon)
    heldout, heldout_labels = features(data.heldout_inputs.cpu()), data.heldout_labels.cpu()

    def reached(inputs: Tensor, targets: Tensor) -> float:
        """Held-out accuracy of the linear classifier that has these features alone."""
        probe = LinearProbe(inputs, targets, data.label_values, kept=kept)
        return accuracy(probe(heldout), heldout_labels)

    seen, targets = features(perturbed.inputs.cpu()), perturbed.target_labels.cpu()
    orders = (
        torch.randperm(
            len(targets), generator=torch.Generator().manual_seed(derive_seed(seed, "robust linear", str(number)))
        )
        for number in range(PERMUTATIONS)
    )
    permuted = [reached(seen, targets[order]) for order in orders]
    span = features.components.directions[kept.any(dim=0)]
    numbers = {
        "robust_linear_features": float(kept.sum(dim=1).double().mean()),
        "robust_linear_heldout": reached(seen, targets),
        "robust_linear_permuted_heldout": sum(permuted) / PERMUTATIONS,
        "robust_linear_permuted_best_heldout": max(permuted),
        "robust_linear_clean_heldout": reached(features(clean), labels),
        "robust_linear_share": share_within(perturbed, span),
    }
    if not perturbed.is_bare:
        assert perturbed.sources is not None, "a stage has a set with its sources"
        numbers["robust_linear_unperturbed_heldout"] = reached(features(perturbed.sources.cpu()), targets)
    for name, inside in (("g_heldout", True), ("g_without_heldout", False)):
        inputs = restricted(data.heldout_inputs.cpu(), span, features.components.mean, inside=inside)
        outputs = perturbation.outputs(inputs.to(data.heldout_inputs))
        numbers[f"robust_linear_{name}"] = accuracy(outputs, data.heldout_labels)
    return FeatureMeasures(numbers, _pictured(features, useful, kept, data, standard, perturbed, perturbation))


def _pictured(
    features: LinearFeatures,
    useful: Tensor,
    kept: Tensor,
    data: Dataset,
    standard: Classifier,
    perturbed: PerturbedSet,
    perturbation: Classifier,
) -> PicturedFeatures:
    """The most useful features of those that are robust for a class, and of the others."""
    most, is_robust = useful.abs().amax(dim=0), kept.any(dim=0)
    chosen = [
        number
        for kind in (is_robust, ~is_robust)
        for number in most.masked_fill(~kind, -1.0).argsort(descending=True)[: min(PICTURED, int(kind.sum()))].tolist()
    ]
    directions = features.components.directions[chosen]

    def share_of(_: Tensor, steps: Tensor) -> Tensor:
        total = steps.square().sum()
        return (steps @ directions.T).square().sum(dim=0) / torch.where(total > 0, total, 1.0)

    names = tuple(f"component {number}, {'' if is_robust[number] else 'not '}robust" for number in chosen)
    return pictured_features(
        directions, names, share_of, data, standard, perturbed, perturbation, places=perturbed.inputs
    )


def share_within(perturbed: PerturbedSet, span: Tensor) -> float:
    """Share of the perturbations' squared lengths that lies in a span, in [0, 1].

    Args:
        perturbed: a set with its sources.
        span: orthonormal rows, (k, d) float64.
    """
    within, total = 0.0, 0.0
    for rows in row_slices(perturbed.inputs):
        steps = perturbed.perturbations_of(rows).cpu().flatten(1).double()
        within += float((steps @ span.T).square().sum())
        total += float(steps.square().sum())
    return within / total if total else 0.0


def restricted(inputs: Tensor, span: Tensor, mean: Tensor, *, inside: bool) -> Tensor:
    """Inputs with the mean's part outside a span, or inside it.

    Args:
        inputs: (n, ...).
        span: orthonormal rows, (k, d) float64.
        mean: (d,) float64.
        inside: keep what the inputs have inside the span; otherwise what they have outside.
    """
    centred = inputs.flatten(1).double() - mean
    within = centred @ span.T @ span
    return (mean + (within if inside else centred - within)).view_as(inputs)
