"""What a linear classifier of the perturbed set looks at, and the set without it [SandovalSegura23].

Sandoval-Segura et al., "What Can We Learn from Unlearnable Datasets?", NeurIPS 2023, algorithm 1.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.classifiers import Classifier
from perturblearn.data import Dataset, row_slices
from perturblearn.experiment.measures import accuracy
from perturblearn.experiment.numbers import Numbers
from perturblearn.experiment.probe import LinearProbe
from perturblearn.experiment.robust_linear import restricted, share_within
from perturblearn.perturbed import PerturbedSet
from perturblearn.seeding import derive_seed


def shortcut_of(perturbed: PerturbedSet, data: Dataset) -> LinearProbe:
    """The linear classifier of a perturbed set whose directions are projected out.

    Coordinates have one scale: on standardised ones the weights would be largest where the inputs hardly vary, as in
    the corners of digits, and the directions would miss most of what the perturbations move.

    Args:
        perturbed: inputs and target labels; nothing else is seen.
        data: names the classes.
    """
    inputs, targets = perturbed.inputs.cpu(), perturbed.target_labels.cpu()
    return LinearProbe(inputs, targets, data.label_values, has_one_scale=True)


def random_directions(like: Float[Tensor, "k d"], *, seed: int) -> Float[Tensor, "k d"]:
    """Orthonormal rows that span a random subspace, float64.

    Args:
        like: as many rows.
        seed: the run's seed.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "random directions"))
    return torch.linalg.qr(torch.randn(like.T.shape, dtype=torch.float64, generator=generator)).Q.T


def projected_set(perturbed: PerturbedSet, span: Float[Tensor, "k d"]) -> PerturbedSet:
    """A perturbed set of whose inputs nothing is left in a span but the mean's part.

    Args:
        perturbed: any set.
        span: orthonormal rows, float64.

    Returns:
        The set with other inputs and without factors. Everything else is what was said of the set before.
    """
    inputs, mean = perturbed.inputs, _mean(perturbed.inputs)
    projected = torch.empty_like(inputs)
    for part in row_slices(inputs):
        projected[part] = restricted(inputs[part], span.to(inputs.device), mean, inside=False).to(inputs)
    return replace(perturbed, inputs=projected, coefficients=None, basis=None)


def measure_linear_shortcut(
    data: Dataset,
    perturbed: PerturbedSet,
    shortcut: LinearProbe,
    random: Float[Tensor, "k d"],
    rest: PerturbedSet,
    learned_rest: Classifier,
    learned_random: Classifier,
) -> Numbers:
    """What a linear classifier learns of the perturbed set, and what is left to learn without its directions.

    Held-out inputs lack the directions too. Of these, a network that was trained without them knows nothing but its
    first weights, which would add noise that all inputs share.

    Args:
        data: clean inputs, on whose held-out part is measured.
        perturbed: what g was trained on, with its sources.
        shortcut: the linear classifier.
        random: as many random directions, orthonormal rows.
        rest: the set without the directions of the linear classifier.
        learned_rest: g trained on this.
        learned_random: g trained on the set without the random directions.

    Returns:
        The measures ``linear_shortcut_*`` of the table in *Results*.
    """
    heldout, labels, mean = data.heldout_inputs, data.heldout_labels, _mean(perturbed.inputs).to(data.inputs.device)
    without_shortcut, without_random = (
        restricted(heldout, span.to(heldout.device), mean, inside=False).to(heldout)
        for span in (shortcut.directions, random)
    )
    again = shortcut_of(rest, data)
    return {
        "linear_shortcut_directions": float(len(shortcut.directions)),
        "linear_shortcut_share": share_within(perturbed, shortcut.directions),
        "linear_shortcut_heldout": accuracy(shortcut(heldout.cpu()), labels.cpu()),
        "linear_shortcut_rest_heldout": accuracy(learned_rest.outputs(without_shortcut), labels),
        "linear_shortcut_random_heldout": accuracy(learned_random.outputs(without_random), labels),
        "linear_shortcut_rest_linear_heldout": accuracy(again(without_shortcut.cpu()), labels.cpu()),
    }


def _mean(inputs: Tensor) -> Float[Tensor, "d"]:
    """Mean of the inputs in float64, (d,), without a copy of all of them."""
    total = sum(inputs[part].flatten(1).double().sum(dim=0) for part in row_slices(inputs))
    assert isinstance(total, Tensor), "a set has at least one sample"
    return total / len(inputs)
