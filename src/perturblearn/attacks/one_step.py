"""The one-step perturbation of NeurIPS24."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perturblearn.attacks.gradient import input_gradient
from perturblearn.attacks.norms import steepest_step
from perturblearn.data import row_slices


def one_step(
    module: nn.Module,
    points: Tensor,
    targets: Tensor,
    *,
    norm: str,
    epsilon: float,
    pixels: int | None = None,
    block: int | None = None,
) -> Tensor:
    r"""One gradient step towards the target labels, never clipped: r_n = epsilon y'_n grad f(x_n) / \|grad f(x_n)\|.

    The gradient is that of f and not of a loss: the direction is the same, and nothing overflows [NeurIPS24,
    section 4].

    Args:
        module: f, a network with one output per input.
        points: where the gradient is taken, (n, ...).
        targets: y', +1 or -1, (n,).
        norm: ``l0``, ``l2`` or ``linf``.
        epsilon: size of the step, 0 or more.
        pixels: coordinates that an L0 step changes.
        block: points at a time, by default a few megabytes; it changes nothing beyond rounding.

    Returns:
        The perturbations r, shaped as the points; 0 where the gradient is 0.

    Raises:
        ConfigError: see `steepest_step`.
    """
    perturbations = torch.empty_like(points)
    for part in row_slices(points, block=block):
        steps = steepest_step(input_gradient(module, points[part]), norm, epsilon=epsilon, pixels=pixels)
        torch.mul(steps, _column(targets[part], steps), out=perturbations[part])
    return perturbations


def one_step_factors(
    weight: Tensor,
    readout: Tensor,
    bias: Tensor | None,
    slope: float,
    points: Tensor,
    targets: Tensor,
    *,
    epsilon: float,
    block: int | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The L2 perturbations of `one_step` for a two-layer network, as factors R = C Q of rank m at most.

    The gradient of f at any point is a combination of the m weight rows, grad f(x) = sum_j a_j phi'(w_j.x + b_j) w_j.
    With W = L Q, the rows of Q orthonormal, its coordinates in Q are those of a combination of the rows of L, and
    lengths do not change.

    Args:
        weight, readout, bias, slope: of the network: (m, d) with m at most d, (m,), (m,) or None, gamma.
        points: where the gradient is taken, (n, d).
        targets: y', +1 or -1, (n,).
        epsilon: size of the step, 0 or more.
        block: points at a time, by default a few megabytes; it changes nothing beyond rounding.

    Returns:
        C (n, m) and Q (m, d).
    """
    columns, upper = torch.linalg.qr(weight.T)
    lower = readout[:, None] * upper.T
    coefficients = points.new_empty(len(points), len(weight))
    for part in row_slices(points, block=block):
        hidden = points[part] @ weight.T
        if bias is not None:
            hidden += bias
        gates = (hidden > 0).to(hidden.dtype).mul_(1 - slope).add_(slope)
        steps = steepest_step(gates @ lower, "l2", epsilon=epsilon)
        torch.mul(steps, _column(targets[part], steps), out=coefficients[part])
    return coefficients, columns.T.contiguous()


def _column(targets: Tensor, steps: Tensor) -> Tensor:
    return targets.to(steps.dtype).view(-1, *[1] * (steps.ndim - 1))
