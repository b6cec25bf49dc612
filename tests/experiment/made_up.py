"""Data and attacks of which it is known what there is to learn."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from perturblearn.data import Dataset

DIM, M = 20, 300
CHANCE = 4 * 0.5 / math.sqrt(M)
"""How far guesses of M labels of two classes lead from one half, up to 4 standard errors."""


def inputs_of(labels: Tensor, signs: Tensor, noise: Tensor, size: float) -> Tensor:
    """The label is both the sign of the first coordinate and that of the product of the two after it."""
    inputs = noise.clone()
    inputs[:, 0] += size * labels
    inputs[:, 1] += signs
    inputs[:, 2] += signs * labels
    return inputs


def made_up(*, size: float = 1.5, wrong: float = 0.0) -> Dataset:
    """Training inputs in which every noise comes with both signs, and with every label, sign and target.

    Unless something moves them, every input thus has both targets, so that there is nothing to learn; and a linear
    classifier of targets that move one direction sees that direction alone.

    Args:
        size: of the linear coordinate.
        wrong: share of labels that are wrong, in both parts.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(16, DIM, generator=generator)
    noise[:, :3] *= 0.03
    noise[:, 0] = 0  # other coordinates could take off chance from a linear one that had any
    each = torch.cartesian_prod(*[torch.tensor([1, -1])] * 4).repeat(len(noise), 1)
    labels, signs, targets, flips = each.unbind(dim=1)
    inputs = inputs_of(labels, signs, flips[:, None] * noise.repeat_interleave(16, dim=0), size)
    heldout_labels, heldout_signs = 1 - 2 * torch.randint(2, (2, M), generator=generator)
    heldout_noise = torch.randn(M, DIM, generator=generator)
    heldout_noise[:, :3] *= 0.03
    heldout = inputs_of(heldout_labels, heldout_signs, heldout_noise, size)
    labels, heldout_labels = (
        torch.where(torch.rand(len(part), generator=generator) < wrong, -part, part)
        for part in (labels, heldout_labels)
    )
    return Dataset(
        inputs, labels, heldout, heldout_labels, value_range=(-math.inf, math.inf), class_names=("+1", "-1"),
        given_targets=targets,
    )  # fmt: skip


def linear(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Moves one direction by the target."""
    return inputs + 2 * targets[:, None] * torch.eye(DIM)[0]


def brittle(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Moves the same direction where it is a small one."""
    return inputs + 0.6 * targets[:, None] * torch.eye(DIM)[0]


def nothing(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Leaves the inputs as they are."""
    return inputs.clone()


def parity(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Makes the target the sign of a product, of which no linear classifier sees anything."""
    moved = inputs.clone()
    moved[:, 2] = moved[:, 1].sign() * targets * moved[:, 2].abs()
    return moved


def one_of_four() -> Dataset:
    """Four classes, each with a coordinate of its own; as in `made_up` every input has every target.

    Of four classes a linear classifier with few features does not guess right by accident.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(16, DIM, generator=generator)
    noise[:, :4] *= 0.03
    each = torch.cartesian_prod(torch.arange(4), torch.arange(4), torch.tensor([1, -1])).repeat(len(noise), 1)
    labels, targets, flips = each.unbind(dim=1)
    heldout_labels = torch.randint(4, (M,), generator=generator)
    heldout_noise = torch.randn(M, DIM, generator=generator)
    heldout_noise[:, :4] *= 0.03
    heldout = heldout_noise + 1.5 * torch.eye(DIM)[heldout_labels]
    return Dataset(
        flips[:, None] * noise.repeat_interleave(32, dim=0) + 1.5 * torch.eye(DIM)[labels], labels, heldout,
        heldout_labels, value_range=(-math.inf, math.inf), class_names=("a", "b", "c", "d"), given_targets=targets,
    )  # fmt: skip


def towards(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Moves the coordinate of the target."""
    return inputs + 2 * torch.eye(DIM)[targets]
