"""Preactivations that move along with the weights instead of being computed anew."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_INPUT_DIM = 256
"""Below this dimension a matrix product costs no more than the passes over memory that replace it."""


class Preactivations:
    """w.x + b of every unit and sample, (R, m, N), under heavy-ball steps of W and b.

    A step of W and b moves the preactivations by -lr times a velocity of their own, fed by the gradient's image
    G X^T + g, where G and g are the gradients of W and b. Where those stay as they are (identity loss, no gate flips)
    no product is left; a unit whose gradient changed needs its own row of the image anew. Exact but for rounding.

    Args:
        inputs: (N, d) for all networks, or (R, N, d).
        weights, velocity, gradient: of W, (R, m, d) each, before the step.
        biases: b, its velocity and its gradient, (R, m) each; None for networks without bias.
    """

    def __init__(
        self,
        inputs: Tensor,
        weights: Tensor,
        velocity: Tensor,
        gradient: Tensor,
        biases: tuple[Tensor, Tensor, Tensor] | None,
    ) -> None:
        self._inputs = inputs
        self.values, self._velocity, self._image = (
            torch.matmul(tensor, inputs.mT) for tensor in (weights, velocity, gradient)
        )
        if biases is not None:
            for tensor, bias in zip((self.values, self._velocity, self._image), biases, strict=True):
                tensor.add_(bias[:, :, None])

    def change_gradient(self, network: int, units: Tensor, gradient: Tensor, bias_gradient: Tensor | None) -> None:
        """Take note of new gradients of some units: W's (k, d) and b's (k,)."""
        inputs = self._inputs if self._inputs.ndim == 2 else self._inputs[network]
        image = gradient @ inputs.T
        self._image[network, units] = image if bias_gradient is None else image + bias_gradient[:, None]

    def step(self, momentum: float, rates: list[float]) -> None:
        """One heavy-ball step with a learning rate for each network."""
        torch.add(self._image, self._velocity, alpha=momentum, out=self._velocity)
        for values, velocity, rate in zip(self.values, self._velocity, rates, strict=True):
            values.sub_(velocity, alpha=rate)
