"""One step of each descent: from points and the gradient of the loss there to the next points."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from perturblearn.attacks.ball import Ball
from perturblearn.attacks.norms import ORDERS, normalised, row_norms
from perturblearn.errors import ConfigError

Move = Callable[[Tensor, Tensor], Tensor]

L0_STEP = 0.3
"""Step of the L0 attack, in units of the largest gradient entry on the mask [ICLR24, appendix]."""


def radial(ball: Ball, step: float) -> Move:
    """By step * epsilon along the gradient divided by its norm, then rescaled, then clipped [ICLR24, section 5]."""
    lengths = (step * ball.epsilon).to(ball.centres.dtype)

    def move(points: Tensor, gradient: Tensor) -> Tensor:
        direction = normalised(gradient, ORDERS[ball.norm])
        return ball.rescale(direction.mul_(-lengths).add_(points))

    return move


def signs(ball: Ball, step: float) -> Move:
    """By step * epsilon along the gradient's signs, then clamped."""
    lengths = (step * ball.epsilon).to(ball.centres.dtype)

    def move(points: Tensor, gradient: Tensor) -> Tensor:
        return ball.clamp(gradient.sign().mul_(-lengths).add_(points))

    return move


def steepest(ball: Ball, step: float) -> Move:
    """The usual step of the ball's norm."""
    return signs(ball, step) if ball.norm == "linf" else radial(ball, step)


def pixel_by_pixel(ball: Ball) -> Move:
    """One coordinate more, the one with the largest gradient, then a step on all that were chosen [ICLR24, section 5].

    A coordinate counts as chosen while it differs from the source.
    """

    def move(points: Tensor, gradient: Tensor) -> Tensor:
        mask = points != ball.centres
        index = gradient.abs().masked_fill(mask, -1).argmax(dim=1, keepdim=True)
        gradient = torch.where(mask.scatter(1, index, True), gradient, 0)
        largest = row_norms(gradient, math.inf)
        return ball.clip(points - L0_STEP * gradient / torch.where(largest == 0, 1, largest))

    return move


def check_step(step: float) -> None:
    """Refuse a step that leads nowhere.

    Raises:
        ConfigError: it is not a finite number above 0.
    """
    if not 0 < step < math.inf:
        raise ConfigError(f"step = {step:g}, but a step is a multiple of epsilon above 0; choose 0.2")
