"""What is measured, and on what."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from perturblearn.classifiers import Classifier, is_target, label_loss, predicted_labels
from perturblearn.data import Dataset
from perturblearn.perturbed import PerturbedSet
from perturblearn.theory import random_cosine, row_cosines
from perturblearn.training import LOSSES

MEASURES = {
    "standard_accuracy": "f, its clean training set",
    "standard_accuracy_heldout": "f, clean held-out inputs",
    "standard_accuracy_worst_group": "f, clean held-out inputs of its worst group",
    "perturbation_accuracy": "g, f's clean training set",
    "perturbation_accuracy_heldout": "g, clean held-out inputs",
    "perturbation_accuracy_worst_group": "g, clean held-out inputs of its worst group",
    "agreement": "f and g, clean held-out inputs",
    "cosine_similarity": "size of the cosine of r_n and t_n, mean over the perturbed set",
    "cosine_similarity_signed": "cosine of y'_n r_n and t_n, mean over the perturbed set",
    "cosine_similarity_random": "the size for random directions, about sqrt(2 / (pi d))",
    "positive_share": "share of clean held-out inputs that g labels +1",
    "largest_share": "share of clean held-out inputs under g's most frequent label",
    "attack_success": "f on what g sees, where the target is not the label",
    "perturbation_size": "size of the perturbations, mean over the perturbed samples",
    "perturbed_loss": "g, the set it was trained on",
    "perturbed_loss_heldout": "g, held-out perturbed set",
    "linear_probe": "a linear classifier of the perturbed set, f's training set",
    "linear_probe_heldout": "a linear classifier of the perturbed set, held-out inputs",
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
    """Share of samples whose predicted label is theirs; an output of exactly 0 is wrong."""
    return is_target(outputs, labels).double().mean().item()


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


def measure_standard(standard: Classifier, data: Dataset) -> dict[str, float]:
    """Accuracy of the standard classifier f on both parts of the data, and on its worst group if there are any."""
    heldout = standard.outputs(data.heldout_inputs)
    return {
        "standard_accuracy": accuracy(standard.outputs(data.inputs), data.labels),
        "standard_accuracy_heldout": accuracy(heldout, data.heldout_labels),
        **_worst_group("standard", predicted_labels(heldout), data),
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
) -> dict[str, Any]:
    """What g has learned: accuracy on clean inputs, agreement with f, and its loss on the perturbed sets.

    The loss on the held-out perturbed set chooses g's learning rate; it needs no clean label.

    Returns:
        Numbers by the names of `MEASURES`, under ``classes`` the same class by class (see `measure_classes`), and under
        ``groups`` group by group (see `measure_groups`) where the data name groups.
    """
    heldout = perturbation.outputs(data.heldout_inputs)
    of_f, of_g = predicted_labels(standard.outputs(data.heldout_inputs)), predicted_labels(heldout)
    shares = torch.stack([(of_g == label).double().mean() for label in data.label_values])
    balance = {"positive_share": shares[0].item()} if data.is_binary else {"largest_share": shares.max().item()}
    sizes = {} if perturbed.sizes is None else {"perturbation_size": _mean_size(perturbed, perturbed.sizes)}
    groups = {} if data.heldout_groups is None else {"groups": measure_groups(of_f, of_g, data)}
    return {
        "perturbation_accuracy": accuracy(perturbation.outputs(data.inputs), data.labels),
        "perturbation_accuracy_heldout": accuracy(heldout, data.heldout_labels),
        **_worst_group("perturbation", of_g, data),
        "agreement": (of_f == of_g).double().mean().item(),
        **balance,
        "attack_success": perturbed.success_rate,
        **sizes,
        "perturbed_loss": mean_loss(perturbation, perturbed.inputs, perturbed.target_labels, loss),
        "perturbed_loss_heldout": mean_loss(
            perturbation, heldout_perturbed.inputs, heldout_perturbed.target_labels, loss
        ),
        "classes": measure_classes(of_f, of_g, data, perturbed),
        **groups,
    }


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


def measure_classes(of_f: Tensor, of_g: Tensor, data: Dataset, perturbed: PerturbedSet) -> dict[str, Any]:
    """Accuracies, agreement and attack success class by class, and what g takes each class for.

    Args:
        of_f, of_g: labels predicted on the held-out inputs, (M,).
        data: its held-out labels are the true ones.
        perturbed: what g was trained on.

    Returns:
        ``names``, and in their order: ``n_heldout``, ``standard_accuracy``, ``perturbation_accuracy`` and ``agreement``
        over the held-out inputs of each class, ``attack_success`` over the redirected samples with that target, each
        None where there are none; ``confusion``: a row per true class, a column per class that g says, in numbers of
        held-out inputs (an output of exactly 0 is in no column).
    """
    truths = [data.heldout_labels == label for label in data.label_values]
    targeted = [perturbed.redirected & (perturbed.target_labels == label) for label in data.label_values]
    return {
        "names": list(data.class_names),
        "n_heldout": [int(rows.sum()) for rows in truths],
        "standard_accuracy": [_share(of_f == data.heldout_labels, rows) for rows in truths],
        "perturbation_accuracy": [_share(of_g == data.heldout_labels, rows) for rows in truths],
        "agreement": [_share(of_f == of_g, rows) for rows in truths],
        "attack_success": [_share(perturbed.success, rows) for rows in targeted],
        "confusion": [[int((rows & (of_g == label)).sum()) for label in data.label_values] for rows in truths],
    }


def measure_groups(of_f: Tensor, of_g: Tensor, data: Dataset) -> dict[str, Any]:
    """Accuracies and agreement group by group.

    Args:
        of_f, of_g: labels predicted on the held-out inputs, (M,).
        data: names the groups, and says which each held-out input belongs to.

    Returns:
        ``names``, and in their order: ``n_heldout``, ``standard_accuracy``, ``perturbation_accuracy`` and ``agreement``
        over the held-out inputs of each group, each None where there are none.
    """
    members = _heldout_members(data)
    return {
        "names": list(data.group_names),
        "n_heldout": [int(rows.sum()) for rows in members],
        "standard_accuracy": [_share(of_f == data.heldout_labels, rows) for rows in members],
        "perturbation_accuracy": [_share(of_g == data.heldout_labels, rows) for rows in members],
        "agreement": [_share(of_f == of_g, rows) for rows in members],
    }


def _worst_group(role: str, predicted: Tensor, data: Dataset) -> dict[str, float]:
    """The lowest accuracy over the groups that occur among the held-out inputs; nothing where no groups are named."""
    if data.heldout_groups is None:
        return {}
    reached = [_share(predicted == data.heldout_labels, rows) for rows in _heldout_members(data)]
    return {f"{role}_accuracy_worst_group": min(share for share in reached if share is not None)}


def _heldout_members(data: Dataset) -> list[Tensor]:
    """For each group, which held-out inputs belong to it."""
    assert data.heldout_groups is not None
    return [data.heldout_groups == group for group in range(len(data.group_names))]


def _mean_size(perturbed: PerturbedSet, sizes: Tensor) -> float | None:
    """Mean over the samples that are perturbed; None where mixing has left none."""
    moved = sizes if perturbed.clean is None else sizes[~perturbed.clean]
    return moved.double().mean().item() if len(moved) else None


def _share(holds: Tensor, rows: Tensor) -> float | None:
    count = int(rows.sum())
    return int((holds & rows).sum()) / count if count else None
