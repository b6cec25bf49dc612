"""Projected gradient descent as ICLR24 published it: rescaled, not clamped, in every norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

from torch import Tensor, nn

from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.ball import Ball, Norm
from perturblearn.attacks.context import SearchOptions, split_options
from perturblearn.attacks.descent import ProjectedDescent
from perturblearn.attacks.norms import L0, norm_of
from perturblearn.attacks.update_rules import UpdateRule, pixel_by_pixel, radial


@dataclass(frozen=True)
class RadialPGD(ProjectedDescent):
    r"""The descent of ICLR24 [section 5], in L0, L2 or L-infinity.

    L2 and L-infinity: x <- x - step epsilon grad/||grad||_p, with the L-infinity norm of the gradient but no signs;
    then x - u is rescaled to length epsilon in that norm if it is longer (also in L-infinity: rescaled, not clamped),
    then x is clipped to the range. This makes a weak L-infinity attack; it is the papers', and `PGD` is the usual one.
    L0: at each of ``pixels`` steps the unmasked entry with the largest gradient joins the mask, then
    x <- x - 0.3 grad/max|grad| on the mask; epsilon, steps and step do not matter.

    The arguments are those of `ProjectedDescent`.
    """

    @property
    def n_steps(self) -> int:
        """Gradient steps of one search; in L0 one per pixel."""
        return self.norm.pixels if isinstance(self.norm, L0) else self.steps

    def update_rule(self, ball: Ball) -> UpdateRule:
        """A rescaled step, or one pixel more."""
        return pixel_by_pixel(ball) if isinstance(self.norm, L0) else radial(ball, self.step)


def radial_pgd(
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: Norm | str,
    epsilon: float | Tensor,
    pixels: int | None = None,
    **options: Unpack[SearchOptions],
) -> AttackResult:
    """`RadialPGD` in one call [ICLR24, section 5].

    Args:
        module, sources, targets: as in `Attack.search`.
        norm: ``l0``, ``l2`` or ``linf``.
        epsilon: size of L2 and L-infinity perturbations, 0 or more; one number, or one per source, (n,).
        pixels: entries that an L0 perturbation may change, and its number of steps.
        options: the other arguments of `RadialPGD`, and those of `AttackContext`.

    Returns:
        The best perturbed inputs; every x' is within the bound and the range exactly.

    Raises:
        ConfigError, DataError, ModelError: as in `RadialPGD` and `Attack.search`.
    """
    context, own = split_options(options)
    return RadialPGD(norm_of(norm, pixels), epsilon, **own).search(module, sources, targets, context)
