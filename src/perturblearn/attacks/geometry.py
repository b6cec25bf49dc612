"""Perturbations along the normal of a linear boundary, as ICLR24 imagines those of a trained network."""

from __future__ import annotations

from torch import Tensor

from perturblearn.attacks.norms import steepest_step


def geometry_inspired(
    normal: Tensor, targets: Tensor, *, norm: str, epsilon: float, pixels: int | None = None
) -> Tensor:
    r"""One perturbation for all sources, up to the target label's sign [ICLR24, section 3].

    With q the normal of the boundary, :math:`q = \sum_n \lambda_n y_n x_n`: L2 :math:`\epsilon y'_n q/\|q\|`,
    L-infinity :math:`\epsilon y'_n\, sign(q)`, L0 :math:`\epsilon y'_n q_D/\|q_D\|`, q_D being q on its entries largest
    in size.

    Args:
        normal: q, (d,), of any length; a margin limit has it.
        targets: y', +1 or -1, (n,).
        norm: ``l0``, ``l2`` or ``linf``.
        epsilon: size, 0 or more.
        pixels: entries that an L0 perturbation changes.

    Returns:
        The perturbations (n, d), in the dtype of the normal.

    Raises:
        ConfigError: see `steepest_step`.
    """
    step = steepest_step(normal[None], norm, epsilon=epsilon, pixels=pixels)
    return targets.to(step.dtype)[:, None] * step
