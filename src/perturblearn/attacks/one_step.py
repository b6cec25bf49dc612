"""The one-step perturbation of NeurIPS24."""

from __future__ import annotations

from torch import Tensor, nn

from perturblearn.attacks.gradient import input_gradient
from perturblearn.attacks.norms import steepest_step


def one_step(
    module: nn.Module, points: Tensor, targets: Tensor, *, norm: str, epsilon: float, pixels: int | None = None
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

    Returns:
        The perturbations r, shaped as the points; 0 where the gradient is 0.

    Raises:
        ConfigError: see `steepest_step`.
    """
    steps = steepest_step(input_gradient(module, points), norm, epsilon=epsilon, pixels=pixels)
    return steps * targets.to(steps.dtype).view(-1, *[1] * (steps.ndim - 1))
