"""The overlap of the gates of two inputs at infinite width: the kernel of NeurIPS24."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from perturblearn.theory.checks import check_pair, check_slope

_NEAR = 2**24
"""Bytes of a block that stays near the processor."""
_MOST = 2**29
"""Bytes that a block of `_ROWS` rows may take instead, where fewer rows would make slow products."""
_ROWS = 512


def gate_kernel(x: Tensor, z: Tensor, *, slope: float, bias: bool = True, workspace: int | None = None) -> Tensor:
    r"""Overlap of two leaky-ReLU gates at infinite width, :math:`\Phi(x, z)` [NeurIPS24, section 4].

    :math:`E[\phi'(w^T x + b)\, \phi'(w^T z + b)]` over :math:`w \sim N(0, I/d)`, :math:`b \sim N(0, 1)`, in closed form
    :math:`(1 + \gamma^2)/2 - (1 - \gamma)^2 \theta / 2\pi`, where :math:`\theta` is the angle between
    :math:`(x/\sqrt d, 1)` and :math:`(z/\sqrt d, 1)`.

    Angles are taken in float64 whatever the inputs' precision: near-parallel inputs lose half their digits otherwise.
    Differentiable, also by `torch.func`; where inputs are parallel the angle has a kink, and the gradient there is the
    one of smallest norm, 0.

    Args:
        x, z: inputs (N, d) and (M, d), one per row, in any units.
        slope: negative slope gamma of the activation, in [0, 1).
        bias: whether units have a bias b; without one the angle is that between x and z (a right angle where either
            is 0), as for the networks of ICLR24.
        workspace: bytes for a block of rows, beside the result; it changes nothing beyond rounding.

    Returns:
        (N, M), in [slope, (1 + slope^2) / 2], in the dtype of the inputs.

    Raises:
        ConfigError: slope outside [0, 1).
        DataError: x and z of different dimension or precision.
    """
    check_slope(slope)
    check_pair(x, z)
    directions = unit_directions(z, bias=bias)
    turned = torch.cat([angles(part, directions, bias=bias).to(x.dtype) for part in row_blocks(x, len(z), workspace)])
    return torch.add((1 + slope**2) / 2, turned, alpha=-((1 - slope) ** 2) / (2 * math.pi))


def sampled_gate_kernel(
    x: Tensor, z: Tensor, *, slope: float, draws: int, generator: torch.Generator, bias: bool = True
) -> tuple[Tensor, Tensor]:
    """The gate kernel by Monte Carlo [NeurIPS24, section 4], as the papers' code takes it; it checks the closed form.

    Args:
        x, z: inputs (N, d) and (M, d).
        slope: negative slope gamma, in [0, 1).
        draws: units (w, b) to average over, 2 or more.
        generator: where they come from.
        bias: as for `gate_kernel`.

    Returns:
        The mean over the draws and its standard error, both (N, M) float64.

    Raises:
        ConfigError: slope outside [0, 1).
        DataError: x and z of different dimension or precision.
    """
    check_slope(slope)
    check_pair(x, z)
    assert draws >= 2, draws
    dim = x.shape[1]
    total = torch.zeros(len(x), len(z), dtype=torch.float64)
    squares = torch.zeros_like(total)
    block = max(1, _MOST // (32 * (dim + len(x) + len(z))))
    for start in range(0, draws, block):
        count = min(block, draws - start)
        weights = torch.randn(count, dim, generator=generator, dtype=torch.float64) / math.sqrt(dim)
        biases = torch.randn(count, generator=generator, dtype=torch.float64) * bias
        first, second = (slope + (1 - slope) * (inputs.double() @ weights.T + biases > 0).double() for inputs in (x, z))
        total += first @ second.T
        squares += first.square() @ second.square().T
    mean = total / draws
    return mean, ((squares / draws - mean.square()).clamp_min(0) / (draws - 1)).sqrt()


def row_blocks(x: Tensor, columns: int, workspace: int | None = None) -> Iterator[Tensor]:
    """Blocks of rows of x, such that a block's products with so many columns fit into the workspace.

    Args:
        x: (N, ...).
        columns: how many columns a block's products have.
        workspace: bytes; by default a size that stays near the processor.
    """
    row = 32 * max(columns, x.shape[1], 1)  # four float64 arrays of a block's size are alive at once
    rows = max(_NEAR // row, min(_ROWS, _MOST // row)) if workspace is None else workspace // row
    return iter(x.split(max(1, rows)))


def unit_directions(x: Tensor, *, bias: bool, input_dim: int | None = None) -> Tensor:
    """(x / sqrt(d), 1), or x without a bias, at length 1 in float64; 0 stays 0.

    Args:
        x: inputs (N, k).
        bias: whether units have a bias.
        input_dim: d; by default the inputs' own k.
    """
    exact = x.double()
    dim = x.shape[1] if input_dim is None else input_dim
    # Scaled first, so that the squares of entries near 1e200 or 1e-200 stay finite and above 0.
    largest = exact.detach().abs().amax(dim=1, keepdim=True) if x.shape[1] else exact.new_zeros(len(x), 1)
    if bias:
        largest = largest.clamp_min(1.0)
        exact = torch.cat((exact / largest / math.sqrt(dim), 1 / largest), dim=1)
    else:
        exact = exact / torch.where(largest > 0, largest, 1.0)
    squares = exact.square().sum(dim=1, keepdim=True)
    return exact / torch.where(squares > 0, squares, 1.0).sqrt()


def angles(x: Tensor, directions: Tensor, *, bias: bool, input_dim: int | None = None) -> Tensor:
    """Angles theta of a block of rows with directions that `unit_directions` made, (n, M) float64."""
    return _Angle.apply(unit_directions(x, bias=bias, input_dim=input_dim) @ directions.T)


def weighted_sums(
    x: Tensor, directions: Tensor, vectors: Tensor, slope: float, *, bias: bool, input_dim: int | None = None
) -> Tensor:
    """sum_n Phi(x, c_n) v_n for a block of rows, without making Phi itself: it is linear in the angle.

    Args:
        x: (n, k).
        directions: of the centres c, as `unit_directions` makes them, (N, ...).
        vectors: v, (N, j).
        slope, bias, input_dim: as for `gate_kernel` and `unit_directions`.

    Returns:
        (n, j), in the dtype of the vectors.
    """
    turned = angles(x, directions, bias=bias, input_dim=input_dim).to(vectors.dtype)
    return (1 + slope**2) / 2 * vectors.sum(dim=0) - (1 - slope) ** 2 / (2 * math.pi) * (turned @ vectors)


class _Angle(torch.autograd.Function):
    """The arc cosine, with derivative 0 where inputs are parallel or opposite up to rounding."""

    generate_vmap_rule = True

    @staticmethod
    def forward(cosines: Tensor) -> Tensor:
        return cosines.clamp(-1, 1).acos_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * _slope_of_angle(*ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return tangents[0] * _slope_of_angle(*ctx.saved_tensors)


def _slope_of_angle(cosines: Tensor) -> Tensor:
    squares = (1 - cosines) * (1 + cosines)
    free = squares > 8 * torch.finfo(cosines.dtype).eps
    return torch.where(free, -torch.where(free, squares, 1.0).rsqrt(), 0.0)
