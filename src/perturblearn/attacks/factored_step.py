"""The one-step perturbation at a narrow two-layer network, as factors of low rank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.context import AttackContext
from perturblearn.attacks.norms import steepest_step
from perturblearn.attacks.step_attack import StepAttack
from perturblearn.classifiers import TwoLayer
from perturblearn.data import row_slices


@dataclass(frozen=True, eq=False)
class FactoredStep(StepAttack):
    """`OneStep` without sources, in L2, at one narrow two-layer network: R = C Q.

    Args:
        norm, epsilon, bare: as in `StepAttack`.
        lower, basis: of `gate_basis` for the network that is attacked.
    """

    lower: Tensor
    basis: Tensor

    def perturbations(self, module: nn.Module, points: Tensor, targets: Tensor, block: int | None = None) -> Tensor:
        """C Q, shaped as the points."""
        return (self._coefficients(module, points, targets, block) @ self.basis).view_as(points)

    def search(self, module: nn.Module, sources: Tensor, targets: Tensor, context: AttackContext) -> AttackResult:
        """The bare steps with their factors; see `Attack.search`."""
        sources = sources.detach()
        coefficients = self._coefficients(module, sources, targets, context.block)
        steps = (coefficients @ self.basis).view_as(sources)
        result = self.result(module, sources, targets, steps, context)
        return replace(result, coefficients=coefficients, basis=self.basis)

    def _coefficients(self, module: nn.Module, points: Tensor, targets: Tensor, block: int | None) -> Tensor:
        assert isinstance(module, TwoLayer), "only a two-layer network has such factors"
        bias = None if module.bias is None else module.bias.detach()
        return one_step_factors(
            module.weight.detach(), bias, module.slope, points.flatten(1), targets,
            lower=self.lower, epsilon=self.epsilon, block=block,
        )  # fmt: skip


def gate_basis(
    weight: Float[Tensor, "m d"], readout: Float[Tensor, " m"]
) -> tuple[Float[Tensor, "m m"], Float[Tensor, "m d"]]:
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
    weight: Float[Tensor, "m d"],
    bias: Float[Tensor, " m"] | None,
    slope: float,
    points: Float[Tensor, "n d"],
    targets: Int[Tensor, " n"],
    *,
    lower: Float[Tensor, "m m"],
    epsilon: float,
    block: int | None = None,
) -> Float[Tensor, "n m"]:
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
        # phi' by comparison instead of autograd: at exactly 0 both take the slope, and no graph is kept.
        gates = (hidden > 0).to(hidden.dtype).mul_(1 - slope).add_(slope)
        # Normalised in m coordinates instead of d, which is exact because Q has orthonormal rows.
        steps = steepest_step(gates @ lower, "l2", epsilon=epsilon)
        torch.mul(steps, targets[part].to(steps.dtype)[:, None], out=coefficients[part])
    return coefficients
