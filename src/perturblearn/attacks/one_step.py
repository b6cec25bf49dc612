"""The one-step perturbation of NeurIPS24."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perturblearn.attacks.attack import Attack
from perturblearn.attacks.ball import Norm
from perturblearn.attacks.factored_step import FactoredStep, gate_basis
from perturblearn.attacks.gradient import input_gradient
from perturblearn.attacks.norms import L2, norm_of, steepest_step
from perturblearn.attacks.slices import pass_slices
from perturblearn.attacks.step_attack import StepAttack
from perturblearn.classifiers import TwoLayer


@dataclass(frozen=True)
class OneStep(StepAttack):
    r"""One gradient step towards the target labels, never clipped: r_n = epsilon y'_n grad f(x_n) / \|grad f(x_n)\|.

    The gradient is that of f and not of a loss: the direction is the same, and nothing overflows [NeurIPS24,
    section 4]. For logits (n, K) the step goes along minus the gradient of the cross-entropy at the target; for the two
    logits (f/2, -f/2) this is the same again.

    The arguments are those of `StepAttack`.
    """

    def perturbations(self, module: nn.Module, points: Tensor, targets: Tensor, block: int | None = None) -> Tensor:
        """The steps, shaped as the points; 0 where the gradient is 0."""
        perturbations = torch.empty_like(points)
        for part in pass_slices(points, block):
            direction = input_gradient(module, points[part], targets[part])
            perturbations[part] = steepest_step(direction, self.norm, epsilon=self.epsilon)
        return perturbations

    def for_network(self, module: nn.Module) -> Attack:
        """In the factors of a narrow two-layer network, where there are any."""
        if isinstance(module, TwoLayer) and self.has_factors(module.hidden_dim, module.input_dim):
            # Once for all blocks: the factorisation takes as long as the steps of some hundred samples.
            lower, basis = gate_basis(module.weight.detach(), module.readout)
            return FactoredStep(self.norm, self.epsilon, lower, basis, bare=True)
        return self

    def has_factors(self, hidden_dim: int, input_dim: int) -> bool:
        """Bare steps in L2 at a narrow network: combinations of fewer gradients than there are coordinates."""
        return self.bare and isinstance(self.norm, L2) and hidden_dim < input_dim


def one_step(
    module: nn.Module,
    points: Tensor,
    targets: Tensor,
    *,
    norm: Norm | str,
    epsilon: float,
    pixels: int | None = None,
    block: int | None = None,
) -> Tensor:
    """The perturbations of `OneStep` in one call [NeurIPS24, section 4].

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
    return OneStep(norm_of(norm, pixels), epsilon).perturbations(module, points, targets, block)
