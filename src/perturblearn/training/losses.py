"""Losses on the margin s = y f(x), with the derivative that full-batch training needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus


@dataclass(frozen=True)
class MarginLoss:
    """A loss that depends on y f(x) alone.

    Args:
        name: as in a configuration.
        value: per-sample loss of the margins, any shape.
        derivative: its derivative in the margin, same shape.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]

    def __call__(self, margins: Tensor) -> Tensor:
        """Per-sample loss of the margins."""
        return self.value(margins)


LOSSES = {
    # NeurIPS24, section 3: the identity loss -s makes the training linear in the gates.
    "identity": MarginLoss("identity", torch.neg, lambda margins: torch.full_like(margins, -1.0)),
    # log(1 + exp(-s)) written so that neither a large nor a very negative margin overflows.
    "logistic": MarginLoss(
        "logistic", lambda margins: softplus(-margins), lambda margins: torch.sigmoid(-margins).neg_()
    ),
    # ICLR24, section 3.
    "exponential": MarginLoss(
        "exponential", lambda margins: torch.exp(-margins), lambda margins: torch.exp(-margins).neg_()
    ),
}
"""The losses of both papers by their names."""
