"""Perturbations along the normal of a linear boundary, as ICLR24 imagines those of a trained network."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from perturblearn.attacks.ball import Norm
from perturblearn.attacks.norms import norm_of, steepest_step
from perturblearn.attacks.step_attack import StepAttack
from perturblearn.classifiers import TwoLayer
from perturblearn.errors import ModelError


@dataclass(frozen=True)
class Geometry(StepAttack):
    """The same step for all sources, along the normal of a limit's boundary, up to the target's sign [ICLR24].

    The network has to be a margin limit: a two-layer network of two units, whose boundary has the difference of their
    weights as its normal. The arguments are those of `StepAttack`.
    """

    def perturbations(self, module: nn.Module, points: Tensor, targets: Tensor, block: int | None = None) -> Tensor:
        """The steps; see `geometry_inspired`.

        Raises:
            ModelError: the network is no limit.
        """
        if not isinstance(module, TwoLayer) or module.hidden_dim != 2:
            raise ModelError(
                f"{type(module).__name__} is not a limit, whose boundary has one normal; attack a limit, or choose "
                "another attack than geometry"
            )
        weight = module.weight.detach()
        steps = geometry_inspired(weight[0] - weight[1], targets, norm=self.norm, epsilon=self.epsilon)
        return steps.view_as(points)


def geometry_inspired(
    normal: Float[Tensor, " d"],
    targets: Int[Tensor, " n"],
    *,
    norm: Norm | str,
    epsilon: float,
    pixels: int | None = None,
) -> Float[Tensor, "n d"]:
    r"""One perturbation for all sources, up to the target label's sign [ICLR24, section 3].

    With q the normal of the boundary, :math:`q = \sum_n \lambda_n y_n x_n`: L2 :math:`\epsilon y'_n q/\|q\|`,
    L-infinity :math:`\epsilon y'_n\, sign(q)`, L0 :math:`\epsilon y'_n q_D/\|q_D\|`, q_D being q on its entries largest
    in magnitude.

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
    step = steepest_step(normal[None], norm_of(norm, pixels), epsilon=epsilon)
    return targets.to(step.dtype)[:, None] * step
