"""What is measured, and on what."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from torch import Tensor

from perturblearn.classifiers import Classifier
from perturblearn.data import Dataset
from perturblearn.perturbed import PerturbedSet
from perturblearn.theory import random_cosine, row_cosines
from perturblearn.training import LOSSES

MEASURES = {
    "standard_accuracy": "f, its clean training set",
    "standard_accuracy_heldout": "f, clean held-out inputs",
    "perturbation_accuracy": "g, f's clean training set",
    "perturbation_accuracy_heldout": "g, clean held-out inputs",
    "agreement": "f and g, clean held-out inputs",
    "cosine_similarity": "size of the cosine of r_n and t_n, mean over the perturbed set",
    "cosine_similarity_signed": "cosine of y'_n r_n and t_n, mean over the perturbed set",
    "cosine_similarity_random": "the size for random directions, about sqrt(2 / (pi d))",
    "positive_share": "share of clean held-out inputs that g labels +1",
    "attack_success": "f on what g sees, where the target is not the label",
    "perturbed_loss": "g, the set it was trained on",
    "perturbed_loss_heldout": "g, held-out perturbed set",
    "unperturbed_control": "no perturbation, f's training set",
    "unperturbed_control_heldout": "no perturbation, held-out inputs",
    "permuted_control": "targets permuted, f's training set",
    "permuted_control_heldout": "targets permuted, held-out inputs",
    **{
        f"{name}_max": "the papers' choice: maximum over the grid of lr"
        for name in (
            "standard_accuracy",
            "standard_accuracy_heldout",
            "perturbation_accuracy",
            "perturbation_accuracy_heldout",
            "agreement",
            "cosine_similarity",
        )
    },
}
"""Every measure of a run, and what it is measured on."""


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Share of samples with y f(x) > 0; an output of exactly 0 is wrong."""
    return (labels * outputs > 0).double().mean().item()


def agreement(first: Tensor, second: Tensor) -> float:
    """Share of samples with sign f = sign g."""
    return (first.sign() == second.sign()).double().mean().item()


def mean_loss(classifier: Classifier, inputs: Tensor, labels: Tensor, loss: str) -> float:
    """Mean over y f(x) of the loss of this name, in float64: exp(89) has no float32.

    Where even float64 overflows, its largest number: a file of results holds no infinity.
    """
    margins = (labels * classifier.outputs(inputs)).double()
    return min(LOSSES[loss](margins).mean().item(), sys.float_info.max)


def measure_standard(standard: Classifier, data: Dataset) -> dict[str, float]:
    """Accuracy of f on both parts of the data."""
    return {
        "standard_accuracy": accuracy(standard.outputs(data.inputs), data.labels),
        "standard_accuracy_heldout": accuracy(standard.outputs(data.heldout_inputs), data.heldout_labels),
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


def measure_perturbation(
    perturbation: Classifier,
    standard: Classifier,
    data: Dataset,
    perturbed: PerturbedSet,
    heldout_perturbed: PerturbedSet,
    loss: str,
) -> dict[str, float | None]:
    """What g has learned: accuracy on clean inputs, agreement with f, and its loss on the perturbed sets.

    The loss on the held-out perturbed set chooses g's learning rate; it needs no clean label.
    """
    heldout = perturbation.outputs(data.heldout_inputs)
    return {
        "perturbation_accuracy": accuracy(perturbation.outputs(data.inputs), data.labels),
        "perturbation_accuracy_heldout": accuracy(heldout, data.heldout_labels),
        "agreement": agreement(standard.outputs(data.heldout_inputs), heldout),
        "positive_share": (heldout > 0).double().mean().item(),
        "attack_success": perturbed.success_rate,
        "perturbed_loss": mean_loss(perturbation, perturbed.inputs, perturbed.target_labels, loss),
        "perturbed_loss_heldout": mean_loss(
            perturbation, heldout_perturbed.inputs, heldout_perturbed.target_labels, loss
        ),
    }
