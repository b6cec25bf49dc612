"""Projected gradient descent as it is usually done: signs and a box in L-infinity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

from torch import Tensor, nn

from perturblearn.attacks.attack_result import AttackResult
from perturblearn.attacks.ball import Ball, Norm
from perturblearn.attacks.context import SearchOptions, split_options
from perturblearn.attacks.descent import ProjectedDescent
from perturblearn.attacks.norms import L2, l2_or_linf
from perturblearn.attacks.update_rules import UpdateRule, banded, steepest
from perturblearn.data import Band
from perturblearn.errors import ConfigError


@dataclass(frozen=True)
class PGD(ProjectedDescent):
    r"""Projected gradient descent with steepest steps, in L2 or L-infinity.

    L-infinity: x <- x - step epsilon sign(grad), clamped to the box of width epsilon around the source and to the range
    (Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018). L2: the step goes along
    the gradient divided by its length, and x - u is projected onto the ball, then x clipped; this is `RadialPGD`.

    With a band, in L2, the gradient and then x - u are projected onto it before x - u is projected onto the ball.
    Clipping into the range comes last, so a perturbation leaves the band by what clipping takes off and nothing else.

    Args:
        band: the subspace of the perturbations; None for all directions. All other arguments are those of
            `ProjectedDescent`.

    Raises:
        ConfigError: as in `ProjectedDescent`, or the norm is L0, or with a band another than L2.

    Example:
        >>> attack = PGD(LInf(), epsilon=0.3, steps=20)
        >>> result = attack.search(f, images, targets, AttackContext(value_range=(0, 1)))
    """

    band: Band | None = None

    def __post_init__(self) -> None:
        l2_or_linf(self.norm, "pgd")
        if self.band is not None and not isinstance(self.norm, L2):
            raise ConfigError(f"a band applies to l2, whose steps stay in it, not to {self.norm.name}; choose l2")
        super().__post_init__()

    def update_rule(self, ball: Ball) -> UpdateRule:
        """A step in the norm's steepest direction, projected."""
        return steepest(ball, self.step) if self.band is None else banded(ball, self.step, self.band)


def pgd(
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: Norm | str,
    epsilon: float | Tensor,
    **options: Unpack[SearchOptions],
) -> AttackResult:
    """`PGD` in one call (Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018).

    Args:
        module, sources, targets: as in `Attack.search`.
        norm: ``l2`` or ``linf``.
        epsilon: size, 0 or more; one number, or one per source, (n,).
        options: the other arguments of `PGD`, and those of `AttackContext`.

    Returns:
        The best perturbed inputs; every x' is within the bound and the range exactly.

    Raises:
        ConfigError, DataError, ModelError: as in `PGD` and `Attack.search`.
    """
    context, own = split_options(options)
    return PGD(l2_or_linf(norm, "pgd"), epsilon, **own).search(module, sources, targets, context)
