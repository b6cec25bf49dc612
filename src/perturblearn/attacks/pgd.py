"""Projected gradient descent as it is usually done: signs and a box in L-infinity."""

from __future__ import annotations

import math

from torch import Tensor, nn

from perturblearn.attacks.descent import Callback, Report, search
from perturblearn.attacks.found import Found
from perturblearn.attacks.moves import check_step, steepest
from perturblearn.attacks.norms import check_l2_or_linf
from perturblearn.attacks.objective import Loss


def pgd(
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: str,
    epsilon: float | Tensor,
    value_range: tuple[float, float] = (-math.inf, math.inf),
    steps: int = 100,
    step: float = 0.2,
    loss: Loss | None = None,
    random_start: bool = False,
    restarts: int = 1,
    seed: int = 0,
    bfloat16: bool = False,
    block: int | None = None,
    callback: Callback | None = None,
    report: Report = lambda done, steps, note: None,
) -> Found:
    r"""Perturbed inputs near the sources, with the lowest loss for the target that was found.

    L-infinity: x <- x - step epsilon sign(grad), clamped to the box of width epsilon around the source and to the range
    (Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018). L2: the step goes along
    the gradient divided by its length, and x - u is projected onto the ball, then x clipped; this is `radial_pgd`.

    Per sample the iterate with the strictly lowest target loss is kept, the source included.

    Args:
        norm: ``l2`` or ``linf``.
        module, sources, targets, epsilon, value_range, steps, step, loss, random_start, restarts, seed, bfloat16,
            block, callback, report: as in `radial_pgd`.

    Returns:
        What was found; every x' is within the bound and the range exactly.

    Raises:
        ConfigError, DataError, ModelError: as in `radial_pgd`.
    """
    check_l2_or_linf(norm, "pgd")
    check_step(step)
    return search(
        module, sources, targets, norm=norm, epsilon=epsilon, value_range=value_range,
        move_in=lambda ball: steepest(ball, step),
        steps=steps, pixels=None, loss=loss, random_start=random_start, restarts=restarts, seed=seed,
        bfloat16=bfloat16, block=block, callback=callback, report=report,
    )  # fmt: skip
