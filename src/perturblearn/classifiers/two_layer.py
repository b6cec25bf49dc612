"""Two-layer networks with a fixed readout, in the parametrisations of both papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from perturblearn.config import OneHiddenConfig, TrainedTwoLayerConfig
from perturblearn.seeding import PublishedStart, derive_seed


class TwoLayer(nn.Module):
    r"""f(x) = sum_j a_j phi(w_j . x + b_j) with phi(u) = max(u, slope u) [NeurIPS24, section 3; ICLR24, section 3].

    W and b are trained, the readout a is fixed. Inputs of any shape are flattened.

    Args:
        weight: W, (m, d).
        readout: a, (m,).
        bias: b, (m,), or None for a network without bias.
        slope: gamma in [0, 1).

    Raises:
        ValueError: the shapes do not match, or the slope is outside [0, 1).
    """

    readout: Tensor

    def __init__(self, weight: Tensor, readout: Tensor, bias: Tensor | None, slope: float) -> None:
        super().__init__()
        if weight.ndim != 2 or readout.shape != weight.shape[:1] or (bias is not None and bias.shape != readout.shape):
            shapes = tuple(weight.shape), tuple(readout.shape), None if bias is None else tuple(bias.shape)
            raise ValueError(f"weight, readout and bias have shapes {shapes}; they must be (m, d), (m,) and (m,)")
        if not 0 <= slope < 1:
            raise ValueError(f"slope = {slope}, but the negative slope must be at least 0 and below 1")
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.register_buffer("readout", readout)
        self.slope = float(slope)

    @property
    def hidden_dim(self) -> int:
        """Hidden units m."""
        return self.weight.shape[0]

    @property
    def input_dim(self) -> int:
        """Coordinates d of one input."""
        return self.weight.shape[1]

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs f(x), (n,), for inputs (n, ...) with d coordinates each."""
        hidden = nn.functional.linear(inputs.flatten(1), self.weight, self.bias)
        return leaky_relu(hidden, self.slope) @ self.readout

    def gradient_factors(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        r"""Gradients of every input's output in W and b, as the two factors of their outer product.

        :math:`\partial f/\partial w_i = a_i \phi'(h_i) x` and :math:`\partial f/\partial b_i = a_i \phi'(h_i)` with
        preactivations h. At a kink the gate is that of the negative side, as in training.

        Args:
            inputs: (n, ...) with d coordinates each.

        Returns:
            a_i phi'(h_i), (n, m), and x, (n, d), with a 1 at its end if the network has a bias, (n, d + 1).
        """
        rows = inputs.flatten(1)
        with torch.no_grad():
            hidden = nn.functional.linear(rows, self.weight, self.bias)
            units = torch.where(hidden > 0, 1.0, self.slope).to(rows.dtype) * self.readout
        return units, rows if self.bias is None else torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)

    def extra_repr(self) -> str:
        """The network's part of its `repr`."""
        kind = "without bias" if self.bias is None else "with bias"
        return f"input_dim={self.input_dim}, hidden_dim={self.hidden_dim}, slope={self.slope}, {kind}"


def initialise(
    config: TrainedTwoLayerConfig, input_dim: int, *, seed: int, role: str, start: PublishedStart | None = None
) -> TwoLayer:
    """A fresh network of the given parametrisation.

    ``two_layer``: w ~ N(0, I/d), b ~ N(0, 1), a ~ N(0, 1/m) [NeurIPS24, section 3]. ``one_hidden``: no bias,
    w ~ U(-1/sqrt(d), 1/sqrt(d)), a = +1/sqrt(m) for the first half and -1/sqrt(m) for the second
    [ICLR24, section 5].

    Args:
        config: parametrisation, width and slope.
        input_dim: coordinates d of one input.
        seed: the run's seed.
        role: the classifier's role (``standard``, ``perturbation``, ...): each role draws its own network from the same
            seed.
        start: where a published script draws this network; None for our own draws.

    Returns:
        The network in float32 on the CPU, so that the draws are the same whatever precision and device are used later.
    """
    width = config.hidden_dim
    published = None if start is None else start.network(width, input_dim, seed=seed)

    def generator(purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(seed, "initialisation", role, purpose))

    def normal(*shape: int, purpose: str) -> Tensor:
        return torch.randn(shape, generator=generator(purpose), dtype=torch.float32)

    if isinstance(config, OneHiddenConfig):
        half = torch.full((width // 2,), 1 / math.sqrt(width), dtype=torch.float32)
        if published is not None:
            (weight,) = published
        else:
            uniform = torch.rand(width, input_dim, generator=generator("weight"), dtype=torch.float32)
            weight = (2 * uniform - 1) / math.sqrt(input_dim)
        return TwoLayer(weight, torch.cat((half, -half)), None, config.slope)
    if published is not None:
        weight, bias, readout = published
        return TwoLayer(weight, readout, bias, config.slope)
    return TwoLayer(
        normal(width, input_dim, purpose="weight") / math.sqrt(input_dim),
        normal(width, purpose="readout") / math.sqrt(width),
        normal(width, purpose="bias"),
        config.slope,
    )
