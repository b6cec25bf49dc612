"""One step of each descent: from points and the gradient of the loss there to the next points."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from perturblearn.attacks.ball import Ball, row_norms
from perturblearn.attacks.norms import normalised
from perturblearn.data import Band
from perturblearn.errors import ConfigError

UpdateRule = Callable[[Tensor, Tensor], Tensor]
"""From points and gradients, both (n, d), to the next points."""

L0_STEP = 0.3
"""Step of the L0 attack, in units of the largest gradient entry on the mask [ICLR24, appendix]."""


def steepest(ball: Ball, step: float) -> UpdateRule:
    """By step * epsilon in the norm's steepest direction, then projected: signs and a clamp in L-infinity."""
    lengths = (step * ball.epsilon).to(ball.centres.dtype)

    def update(points: Tensor, gradient: Tensor) -> Tensor:
        # Never in place on the gradient: it may be a view of the network's weights.
        return ball.project(ball.norm.steepest(gradient).mul_(-lengths).add_(points))

    return update


def banded(ball: Ball, step: float, band: Band) -> UpdateRule:
    """By step * epsilon along the gradient's part in a band; the change's part there, projected onto the ball."""
    lengths = (step * ball.epsilon).to(ball.centres.dtype)

    def update(points: Tensor, gradient: Tensor) -> Tensor:
        moved = ball.norm.steepest(band(gradient)).mul_(-lengths).add_(points)
        # What clipping took off in earlier steps is put back into the band here, so that it does not add up.
        return ball.project(band(moved.sub_(ball.centres)).add_(ball.centres))

    return update


def radial(ball: Ball, step: float) -> UpdateRule:
    """By step * epsilon along the gradient divided by its norm, then rescaled, then clipped [ICLR24, section 5]."""
    lengths = (step * ball.epsilon).to(ball.centres.dtype)

    def update(points: Tensor, gradient: Tensor) -> Tensor:
        return ball.rescale(normalised(gradient, ball.norm.order).mul_(-lengths).add_(points))

    return update


def pixel_by_pixel(ball: Ball) -> UpdateRule:
    """One coordinate more, the one with the largest gradient, then a step on all chosen ones [ICLR24, section 5].

    A coordinate counts as chosen while it differs from the source.
    """

    def update(points: Tensor, gradient: Tensor) -> Tensor:
        mask = points != ball.centres
        # Chosen ones are at -1, below every magnitude, so that the largest is one that is still free.
        index = gradient.abs().masked_fill(mask, -1).argmax(dim=1, keepdim=True)
        gradient = torch.where(mask.scatter(1, index, True), gradient, 0)
        largest = row_norms(gradient, math.inf)
        return ball.clip(points - L0_STEP * gradient / torch.where(largest == 0, 1, largest))

    return update


def check_step(step: float) -> None:
    """Refuse a step that leads nowhere.

    Raises:
        ConfigError: it is not a finite number above 0.
    """
    if not 0 < step < math.inf:
        raise ConfigError(f"step = {step:g}, but a step is a multiple of epsilon above 0; choose 0.2")
