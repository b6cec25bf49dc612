"""The one-step perturbation of NeurIPS24."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perturblearn.attacks.gradient import input_gradient
from perturblearn.attacks.norms import steepest_step
from perturblearn.attacks.slices import pass_slices
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
    section 4]. For logits (n, K) the step goes along minus the gradient of the cross-entropy at the target; two logits
    (f/2, -f/2) make it the same again.

    Args:
        module: f, with outputs (n,) or (n, 1) for two classes, or logits (n, K).
        points: where the gradient is taken, (n, ...).
        targets: y', (n,): +1 or -1, or for logits 0 .. K-1.
        norm: ``l0``, ``l2`` or ``linf``.
        epsilon: size of the step, 0 or more.
        pixels: coordinates that an L0 step changes.
        block: points at a time, by default a few megabytes; it changes nothing beyond rounding.

    Returns:
        The perturbations r, shaped as the points; 0 where the gradient is 0.

    Raises:
        ConfigError: see `steepest_step`.
        ModelError: see `input_gradient`.
    """
    perturbations = torch.empty_like(points)
    for part in pass_slices(points, block):
        direction = input_gradient(module, points[part], targets[part])
        perturbations[part] = steepest_step(direction, norm, epsilon=epsilon, pixels=pixels)
    return perturbations


def gate_basis(weight: Tensor, readout: Tensor) -> tuple[Tensor, Tensor]:
    r"""What every gradient of a narrow two-layer network is a combination of.

    The gradient of f at any point is grad f(x) = sum_j a_j phi'(w_j.x + b_j) w_j. With W = L Q, the rows of Q
    orthonormal, its coordinates in Q are those of a combination of the rows of L, and lengths do not change [own].

    Args:
        weight, readout: of the network: (m, d) with m at most d, (m,).

    Returns:
        diag(a) L, (m, m), and Q, (m, d).
    """
    columns, upper = torch.linalg.qr(weight.T)
    return readout[:, None] * upper.T, columns.T.contiguous()


def one_step_factors(
    weight: Tensor,
    bias: Tensor | None,
    slope: float,
    points: Tensor,
    targets: Tensor,
    *,
    lower: Tensor,
    epsilon: float,
    block: int | None = None,
) -> Tensor:
    r"""The L2 perturbations of `one_step` for a two-layer network as R = C Q of rank m at most, in their C [own].

    Args:
        weight, bias, slope: of the network: (m, d) with m at most d, (m,) or None, gamma.
        points: where the gradient is taken, (n, d).
        targets: y', +1 or -1, (n,).
        lower: of `gate_basis`, which also gives Q.
        epsilon: size of the step, 0 or more.
        block: points at a time, by default a few megabytes; it changes nothing beyond rounding.

    Returns:
        C, (n, m).
    """
    coefficients = points.new_empty(len(points), len(weight))
    for part in row_slices(points, block=block):
        hidden = points[part] @ weight.T
        if bias is not None:
            hidden += bias
        gates = (hidden > 0).to(hidden.dtype).mul_(1 - slope).add_(slope)
        steps = steepest_step(gates @ lower, "l2", epsilon=epsilon)
        torch.mul(steps, targets[part].to(steps.dtype)[:, None], out=coefficients[part])
    return coefficients
