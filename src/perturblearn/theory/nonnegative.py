"""Convex quadratic programmes over multipliers that may not be negative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

Product = Callable[[Tensor], Tensor]
Vector = Float64[Tensor, "n"]


@dataclass(frozen=True)
class Solution:
    """A point, its gradient Q mu - 1, and how it came about.

    Args:
        multipliers: mu, at least 0.
        gradient: Q mu - 1 at mu, from the exact product.
        violation: largest violation of the optimality conditions: a gradient below 0, or one other than 0 where the
            multiplier is above 0.
        products: how many products with Q were taken.
    """

    multipliers: Vector
    gradient: Vector
    violation: float
    products: int


def minimise(
    product: Product,
    exact: Product,
    diagonal: Vector,
    start: Vector,
    *,
    tolerance: float,
    most_products: int,
    unbounded: Callable[[float], bool] = lambda objective: False,
) -> Solution:
    r"""Minimise mu.Q.mu / 2 - 1.mu over mu >= 0, for Q positive semidefinite.

    Modified proportioning with reduced gradient projections (Dostal and Schoeberl, 2005): conjugate gradients on the
    multipliers that are free, leaving the bounds by a step along the chopped gradient and running into them by a
    projected one; its rate is that of conjugate gradients. Multipliers are scaled by the diagonal. Products may be of
    lower precision: they enter only through steps, and the gradient is taken anew with the exact product whenever
    the iteration has converged, until both agree.

    Args:
        product: mu -> Q mu, float64 in and out, possibly rounded inside.
        exact: the same in full precision.
        diagonal: of Q, above 0.
        start: mu to start from, at least 0.
        tolerance: largest violation of the optimality conditions, in units of the margin 1.
        most_products: give up after so many products.
        unbounded: asked with the value of -objective now and then; True gives up.

    Returns:
        The solution; its violation is above the tolerance where the iteration gave up.
    """
    scale = diagonal.rsqrt()
    state = _Descent(lambda mu: scale * product(scale * mu), start / scale, tolerance, scale)
    gradient = exact(start) - 1
    products = 1
    # Rounded products take the running gradient away from the true one; each round starts from the exact gradient.
    for _ in range(8):
        if _violation(scale * state.point, gradient) <= tolerance or products >= most_products or state.gave_up:
            break
        state.gradient = scale * gradient
        products += state.run(most_products - products, unbounded) + 1
        gradient = exact(scale * state.point) - 1
    multipliers = scale * state.point
    return Solution(multipliers, gradient, _violation(multipliers, gradient), products)


def _violation(multipliers: Vector, gradient: Vector) -> float:
    free = multipliers > 0
    return float(torch.where(free, gradient.abs(), (-gradient).clamp_min(0)).max())


class _Descent:
    """The iteration itself, in scaled multipliers x with a unit diagonal; `gradient` is A x - b throughout."""

    def __init__(self, product: Product, start: Vector, tolerance: float, scale: Vector) -> None:
        self.point = start.clone()
        self.gradient = torch.empty_like(start)
        self.gave_up = False
        self._product = product
        self._tolerance = tolerance / 4  # below what is asked for, so that the exact gradient mostly passes at once
        self._scale = scale
        self._step = 1.0 / self._largest_eigenvalue()

    def run(self, most_products: int, unbounded: Callable[[float], bool]) -> int:
        """Iterate until the conditions hold by the running gradient; returns the products taken."""
        used = 0
        free, chopped = self._split()
        direction = free.clone()
        while not self._is_optimal():
            if used >= most_products or (used % 64 == 63 and unbounded(self._objective())):
                self.gave_up = True
                break
            reduced = torch.minimum(self.point / self._step, free)
            # Proportioning: as long as the free part of the gradient outweighs the chopped one, stay on this face.
            if float(chopped @ chopped) <= float(reduced @ free):
                image = self._product(direction)
                used += 1
                curvature = float(direction @ image)
                slope = float(self.gradient @ direction)
                # The minimum along the direction, by conjugate gradients, unless a bound comes first.
                best = slope / curvature if curvature > 0 else float("inf")
                room = self._room(direction)
                if best <= room:
                    self._move(direction, image, best)
                    free, chopped = self._split()
                    direction = free - (float(free @ image) / curvature) * direction
                    continue
                if room == float("inf"):  # a direction without curvature that no bound stops
                    self.gave_up = True
                    break
                # Up to the bound, and on along the projected gradient: several multipliers may reach 0 at once.
                self._move(direction, image, room)
                free, _ = self._split()
                target = (self.point - self._step * free).clamp_min(0)
                change = target - self.point
                self.gradient += self._product(change)
                used += 1
                self.point = target
            else:
                # Off the bounds, where the gradient says that multipliers at 0 should grow.
                image = self._product(chopped)
                used += 1
                curvature = float(chopped @ image)
                if curvature <= 0:
                    self.gave_up = True
                    break
                self._move(chopped, image, float(self.gradient @ chopped) / curvature)
            free, chopped = self._split()
            direction = free.clone()
        return used

    def _split(self) -> tuple[Tensor, Tensor]:
        """The gradient where multipliers are free, and its descending part where they are 0."""
        at_bound = self.point <= 0
        return self.gradient.masked_fill(at_bound, 0), self.gradient.clamp_max(0).masked_fill(~at_bound, 0)

    def _is_optimal(self) -> bool:
        unscaled = self.gradient / self._scale
        return _violation(self.point, unscaled) <= self._tolerance

    def _move(self, direction: Tensor, image: Tensor, length: float) -> None:
        self.point = (self.point - length * direction).clamp_min(0)
        self.gradient -= length * image

    def _room(self, direction: Tensor) -> float:
        towards = direction > 0
        return float((self.point[towards] / direction[towards]).min()) if bool(towards.any()) else float("inf")

    def _objective(self) -> float:
        """1.mu - mu.Q.mu / 2, from the running gradient."""
        ones = self._scale  # the scaled right-hand side
        return 0.5 * float((ones - self.gradient) @ self.point)

    def _largest_eigenvalue(self) -> float:
        vector = torch.ones_like(self.point)
        value = 1.0
        for _ in range(12):
            vector = vector / vector.norm()
            vector = self._product(vector)
            value = float(vector.norm())
        # A power iteration ends a little below; the step may be up to 2 / eigenvalue.
        return 1.1 * value
