"""Attacks as the inner step of adversarial training: away from the true label, and nothing is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.attacks.ball import Ball, Norm, sizes_of

Gradient = Callable[[Tensor], Tensor]
"""From points (n, d) to the gradient, (n, d), of the loss that is minimised there."""


@runtime_checkable
class InnerAttack(Protocol):
    """An attack, as a value, that training can take before each of its own steps."""

    @property
    def norm(self) -> Norm:
        """In which inputs are moved."""
        ...

    def last_iterate(
        self,
        gradient: Gradient,
        inputs: Float[Tensor, "n d"],
        value_range: tuple[float, float],
        generator: torch.Generator,
        *,
        share: float = 1.0,
    ) -> Float[Tensor, "n d"]:
        """Where the attack ends.

        Args:
            gradient: of the loss that is minimised.
            inputs: where it begins.
            value_range: least and largest value of an input; infinite bounds do not clip.
            generator: of random starts, on the CPU.
            share: of epsilon, by which steps and starts shrink too.
        """
        ...


@dataclass(frozen=True)
class NoisyStep:
    """One steepest step from noise around the input, clipped into the range but not to epsilon: N-FGSM.

    From de Jorge et al., "Make Some Noise: Reliable and Efficient Single-Step Adversarial Training", NeurIPS 2022,
    whose noise is uniform in the box of half-width 2 epsilon; in L2 it is uniform in the ball of that radius [own].
    Without noise it is the fast gradient sign method.

    Args:
        norm: L2 or L-infinity.
        epsilon: size of the step at ``step`` 1, 0 or more.
        step: its length as a multiple of epsilon.
        noise: largest size of the noise as a multiple of epsilon.
    """

    norm: Norm
    epsilon: float
    step: float = 1.0
    noise: float = 2.0

    def last_iterate(
        self,
        gradient: Gradient,
        inputs: Float[Tensor, "n d"],
        value_range: tuple[float, float],
        generator: torch.Generator,
        *,
        share: float = 1.0,
    ) -> Float[Tensor, "n d"]:
        """The moved inputs; see `InnerAttack`."""
        epsilon = share * self.epsilon
        ball = Ball(self.norm, inputs, sizes_of(self.noise * epsilon, inputs), value_range)
        start = ball.random_points(generator)
        return ball.clip(start - self.step * epsilon * self.norm.steepest(gradient(start)))
