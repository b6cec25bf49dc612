"""Projected gradient descent as ICLR24 published it: rescaled, not clamped, in every norm."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from perturblearn.errors import ConfigError

_L0_STEP = 0.3
"""Step of the L0 attack, in units of the largest gradient entry on the mask [ICLR24, appendix]."""


def radial_pgd(
    module: nn.Module,
    sources: Tensor,
    targets: Tensor,
    *,
    norm: str,
    epsilon: float,
    value_range: tuple[float, float] = (-math.inf, math.inf),
    steps: int = 100,
    pixels: int | None = None,
    block: int = 2048,
    report: Callable[[int, int, str], None] = lambda done, steps, note: None,
) -> Tensor:
    r"""Perturbed inputs near the sources, with the largest margin for the target that was found [ICLR24, section 5].

    L2 and L-infinity: x <- x - (epsilon/5) grad/||grad||_p, with the L-infinity norm of the gradient but no signs; then
    x - u is rescaled to length epsilon in that norm if it is longer (also in L-infinity: rescaled, not clamped), then x
    is clipped to the range. This makes a weak L-infinity attack; it is the papers'. L0: at each of ``pixels`` steps the
    unmasked entry with the largest gradient joins the mask, then x <- x - 0.3 grad/max|grad| on the mask.

    Per sample the clipped iterate with the strictly lowest target loss is kept, the start included. For one output and
    a loss that falls with the margin y' f(x), direction and order of iterates are those of the margin itself, which is
    used instead: nothing overflows.

    Args:
        module: f, a network with one output per input; put it into evaluation mode first.
        sources: u, (n, ...).
        targets: y', +1 or -1, (n,).
        norm: ``l0``, ``l2`` or ``linf``.
        epsilon: size of L2 and L-infinity perturbations, 0 or more.
        value_range: what an entry may be; infinite bounds do not clip.
        steps: gradient steps in L2 and L-infinity; the loss is evaluated once more.
        pixels: entries that an L0 perturbation may change, and its number of steps.
        block: samples at a time; it changes nothing beyond rounding.
        report: called now and then with gradient steps done and in all.

    Returns:
        x', shaped as the sources.

    Raises:
        ConfigError: unknown norm, pixels missing or more than there are, or sources outside the range.
    """
    if len(sources) == 0:
        return sources
    low, high = value_range
    slack = 1e-6 * (high - low) if math.isfinite(high - low) else 0.0  # rounding of centred data
    if float(sources.min()) < low - slack or float(sources.max()) > high + slack:
        raise ConfigError(
            f"sources run from {float(sources.min()):.3g} to {float(sources.max()):.3g}, outside the data's range "
            f"{low:.3g} to {high:.3g}, into which radial_pgd clips; choose uniform or natural sources, or another "
            "attack"
        )
    if norm not in ("l0", "l2", "linf"):
        raise ConfigError(
            f"attack.norm = {norm!r}, but perturbations are bounded in l0, l2 or linf; choose one of these"
        )
    if norm == "l0":
        coordinates = sources[0].numel()
        if pixels is None or not 1 <= pixels <= coordinates:
            raise ConfigError(
                f"attack.pixels = {pixels}, but inputs have {coordinates} coordinates; choose between 1 and that number"
            )
        steps = pixels
    parts = []
    blocks = list(zip(sources.split(block), targets.split(block), strict=True))
    for number, (part, labels) in enumerate(blocks):

        def note(done: int, number: int = number) -> None:
            report(number * steps + done, len(blocks) * steps, f"attack step {done}/{steps}")

        search = _Search(module, part.detach(), labels.to(part.dtype), value_range, norm)
        parts.append(search.by_pixels(steps, note) if norm == "l0" else search.by_radius(epsilon, steps, note))
    return torch.cat(parts)


class _Search:
    """The iterates of one block of samples, flat, and the best of them so far."""

    def __init__(
        self, module: nn.Module, sources: Tensor, targets: Tensor, value_range: tuple[float, float], norm: str
    ) -> None:
        self._module = module
        self._shape = sources.shape
        self._sources = sources.flatten(1)
        self._targets = targets
        self._range = value_range
        self._order = 2.0 if norm == "l2" else math.inf
        self._best = self._sources.clone()
        self._best_margin = torch.full_like(targets, -math.inf)

    def by_radius(self, epsilon: float, steps: int, note: Callable[[int], None]) -> Tensor:
        points = self._sources
        for done in range(steps):
            gradient = self._gradient_of_margin(points)
            length = _norm(gradient, self._order)
            points = points + (epsilon / 5) * gradient / torch.where(length > 0, length, 1)
            change = points - self._sources
            length = _norm(change, self._order)
            # Only where it is too long: a product with 1 would round the others.
            change = torch.where(length > epsilon, change * (epsilon / torch.where(length > 0, length, 1)), change)
            points = (self._sources + change).clamp(*self._range)
            note(done + 1)
        self._keep(points, self._margin(points))
        return self._best.view(self._shape)

    def by_pixels(self, steps: int, note: Callable[[int], None]) -> Tensor:
        points = self._sources
        for done in range(steps):
            gradient = self._gradient_of_margin(points)
            mask = points != self._sources
            index = gradient.abs().masked_fill(mask, -1).argmax(dim=1, keepdim=True)
            gradient = torch.where(mask.scatter(1, index, True), gradient, 0)
            largest = _norm(gradient, math.inf)
            points = (points + _L0_STEP * gradient / torch.where(largest > 0, largest, 1)).clamp(*self._range)
            note(done + 1)
        self._keep(points, self._margin(points))
        return self._best.view(self._shape)

    def _gradient_of_margin(self, points: Tensor) -> Tensor:
        """Gradient of y' f(x), with the points kept where their margin is the best so far."""
        leaf = points.detach().requires_grad_()
        with torch.enable_grad():
            outputs = self._module(leaf.view(self._shape)).reshape(len(leaf))
            (gradient,) = torch.autograd.grad(outputs.sum(), leaf)
        self._keep(points, self._targets * outputs.detach())
        return gradient * self._targets[:, None]

    def _margin(self, points: Tensor) -> Tensor:
        with torch.no_grad():
            return self._targets * self._module(points.view(self._shape)).reshape(len(points))

    def _keep(self, points: Tensor, margin: Tensor) -> None:
        better = margin > self._best_margin
        self._best_margin = torch.where(better, margin, self._best_margin)
        self._best = torch.where(better[:, None], points, self._best)


def _norm(rows: Tensor, order: float) -> Tensor:
    if order == math.inf:
        return rows.abs().amax(dim=1, keepdim=True)
    # Scaled first: the squares of entries below 1e-19 would vanish in float32.
    largest = rows.abs().amax(dim=1, keepdim=True)
    return largest * (rows / torch.where(largest > 0, largest, 1)).norm(dim=1, keepdim=True)
