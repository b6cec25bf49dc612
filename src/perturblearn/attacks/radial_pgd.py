"""Projected gradient descent as ICLR24 published it: rescaled, not clamped, in every norm."""

from __future__ import annotations

import math

from torch import Tensor, nn

from perturblearn.attacks.descent import Callback, Report, search
from perturblearn.attacks.found import Found
from perturblearn.attacks.moves import check_step, pixel_by_pixel, radial
from perturblearn.attacks.norms import check_norm, check_pixels
from perturblearn.attacks.objective import Loss
from perturblearn.errors import ConfigError


def radial_pgd(
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: str,
    epsilon: float | Tensor,
    value_range: tuple[float, float] = (-math.inf, math.inf),
    steps: int = 100,
    step: float = 0.2,
    pixels: int | None = None,
    loss: Loss | None = None,
    random_start: bool = False,
    restarts: int = 1,
    seed: int = 0,
    bfloat16: bool = False,
    block: int | None = None,
    callback: Callback | None = None,
    report: Report = lambda done, steps, note: None,
) -> Found:
    r"""Perturbed inputs near the sources, with the lowest loss for the target that was found [ICLR24, section 5].

    L2 and L-infinity: x <- x - step epsilon grad/||grad||_p, with the L-infinity norm of the gradient but no signs;
    then x - u is rescaled to length epsilon in that norm if it is longer (also in L-infinity: rescaled, not clamped),
    then x is clipped to the range. This makes a weak L-infinity attack; it is the papers', and `pgd` is the usual one.
    L0: at each of ``pixels`` steps the unmasked entry with the largest gradient joins the mask, then
    x <- x - 0.3 grad/max|grad| on the mask.

    Per sample the clipped iterate with the strictly lowest target loss is kept, the source included, also where the
    search starts elsewhere. Meanwhile the module is in evaluation mode and its parameters are constants.

    Args:
        module: f, with outputs (n,) or (n, 1) for two classes, or logits (n, K).
        sources: u, (n, ...), float32 or float64.
        targets: y', (n,): +1 or -1, or for logits 0 .. K-1.
        norm: ``l0``, ``l2`` or ``linf``.
        epsilon: size of L2 and L-infinity perturbations, 0 or more; one number, or one per source, (n,).
        value_range: what an entry may be; infinite bounds do not clip. Sources that a rounding left outside are clipped
            first.
        steps: gradient steps in L2 and L-infinity; the loss is evaluated once more.
        step: length of such a step, as a multiple of epsilon, above 0; 1/5 in the paper.
        pixels: entries that an L0 perturbation may change, and its number of steps.
        loss: what is lowered, from outputs, (n,) or (n, K), and targets to one number per sample; by default
            `target_loss`.
        random_start: start at a point drawn uniformly from the ball and clipped, in L2 and L-infinity.
        restarts: searches from such points; the best iterate of all counts.
        seed: of these points; neither the block size nor the device changes them.
        bfloat16: search with products in bfloat16; losses and success are of a pass in the module's own precision, and
            samples that are no better off by that keep their source.
        block: samples at a time; by default what suits their shape and device. It changes nothing beyond rounding.
        callback: called with every `Iterate`, to watch a search.
        report: called now and then with gradient steps done and in all.

    Returns:
        What was found; every x' is within the bound and the range exactly.

    Raises:
        ConfigError: unknown norm, pixels missing or more than there are, sizes, steps or restarts that make no sense,
            or sources outside the range.
        DataError: sources that are no floats or not finite, or another number of targets.
        ModelError: outputs or losses of the wrong shape, NaN, or without a gradient; targets that f has no class for.
    """
    check_norm(norm)
    check_step(step)
    if norm == "l0":
        if random_start:
            raise ConfigError("random_start applies to l2 and linf, not to l0, which starts at the source; remove it")
        steps = check_pixels(pixels, sources[0].numel()) if len(sources) else 0
    return search(
        module, sources, targets, norm=norm, epsilon=epsilon, value_range=value_range,
        move_in=pixel_by_pixel if norm == "l0" else lambda ball: radial(ball, step),
        steps=steps, pixels=pixels, loss=loss, random_start=random_start, restarts=restarts, seed=seed,
        bfloat16=bfloat16, block=block, callback=callback, report=report,
    )  # fmt: skip
