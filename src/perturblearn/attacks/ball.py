"""What a perturbed input may be: near its source, inside the range, in numbers of finite precision."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from perturblearn.attacks.norms import ORDERS, row_norms
from perturblearn.errors import ConfigError, DataError


class Ball:
    r"""The points within epsilon of some sources, and inside the range.

    A bound that holds for real numbers fails for rounded ones: u + r is rounded, and whoever measures x' - u rounds
    again. So points are brought back into a ball that is smaller by what rounding can do.

    L2: a sum of d squares, in whatever order, is too large by a factor of (1 + eps/2)^d at most, its root by
    1 + d eps/4. That much is given away only where it must be: roundings that do not conspire add up to some
    sqrt(d) eps/12 (added one after the other; less by halves or in lanes), so a `limit` of sqrt(d) eps/2 below epsilon
    does, but for perturbations with many equal entries, which are told by adding their squares up. L-infinity: a
    difference that is at most epsilon, rounded down to the precision of the inputs, is not measured as more. Within the
    limit, steps aim at a `radius` that is smaller again by the roundings of the length (4 eps) and of u + r (eps/2 per
    entry of x').

    Args:
        norm: ``l2``, ``linf``, or ``l0``, where epsilon is a number of coordinates.
        sources: u, (n, ...), float32 or float64.
        epsilon: largest size, (n,) float64.
        value_range: what an entry may be.
    """

    def __init__(self, norm: str, sources: Tensor, epsilon: Tensor, value_range: tuple[float, float]) -> None:
        self.norm = norm
        self.value_range = value_range
        given = sources.detach().flatten(1)
        self.centres = self.clip(given.clone())
        self.epsilon = epsilon[:, None]
        # Sources outside the range by a rounding: points near the clipped ones must be near those that were given too.
        self._room = (self.epsilon - self._sizes(given)).clamp_min(0) if norm in ORDERS else self.epsilon

    @cached_property
    def limit(self) -> Tensor:
        """Largest size that is aimed at, (n, 1) float64."""
        if self.norm == "l2":
            return self._room * max(0.0, 1 - (math.sqrt(self.centres.shape[1]) / 2 + 4) * self._eps)
        if self.norm == "l0":
            return self._room
        rounded = self._room.to(self.centres.dtype)
        return torch.where(rounded > self._room, rounded.nextafter(torch.zeros_like(rounded)), rounded).double()

    @cached_property
    def roundoff(self) -> Tensor:
        """Largest size of what rounding adds to points of the ball, (n, 1) float64."""
        reach = row_norms(self.centres.double(), ORDERS[self.norm]) + self.epsilon
        return self._eps / 2 * reach

    @cached_property
    def radius(self) -> Tensor:
        """Size to which longer perturbations are scaled, (n, 1), in the precision of the sources."""
        return (self.limit * (1 - 4 * self._eps) - self.roundoff).clamp_min(0).to(self.centres.dtype)

    @cached_property
    def box(self) -> tuple[Tensor, Tensor]:
        """Least and largest point of an L-infinity ball inside the range, each (n, d)."""
        width = self.limit.to(self.centres.dtype)
        corners = []
        for corner in (self.centres - width, self.centres + width):
            # The rounded sum is the number next to the true one; if it is too far, its neighbour is not.
            outside = (corner.double() - self.centres.double()).abs() > self.limit
            corners.append(self.clip(torch.where(outside, corner.nextafter(self.centres), corner)))
        return corners[0], corners[1]

    @property
    def _eps(self) -> float:
        return torch.finfo(self.centres.dtype).eps

    def clip(self, points: Tensor) -> Tensor:
        """Points (n, d) clipped into the range, in place."""
        low, high = self.value_range
        return points.clamp_(low, high) if math.isfinite(low) or math.isfinite(high) else points

    def clamp(self, points: Tensor) -> Tensor:
        """The nearest points of an L-infinity ball and the range."""
        return torch.clamp(points, *self.box)

    def rescale(self, points: Tensor) -> Tensor:
        """Perturbations that are too long scaled to length epsilon, then clipped into the range; in place."""
        change = points.sub_(self.centres)
        length = row_norms(change, ORDERS[self.norm])
        factor = torch.where(length > self.radius, self.radius / length, 1)
        return self.clip(change.mul_(factor).add_(self.centres))

    def project(self, points: Tensor) -> Tensor:
        """The nearest points of the ball, clipped into the range; the points are overwritten."""
        return self.clamp(points) if self.norm == "linf" else self.rescale(points)

    def sizes(self, points: Tensor) -> Tensor:
        """Sizes of points (n, d) as perturbations, (n, 1) float64."""
        return self._sizes(points)

    def holds(self, points: Tensor) -> bool:
        """Whether points (n, d) inside the range are near enough to their sources, whoever measures it."""
        return not bool(self._too_long(points).any())

    def fit(self, points: Tensor) -> Tensor:
        """The points, inside the range, with those that are too far from their source brought near for certain."""
        if self.norm == "linf":
            return self.clamp(points)
        points = self.clip(points.clone())
        if self.norm == "l0":
            return points
        eps, centres = self._eps, self.centres.double()
        safe = self._room * max(0.0, 1 - (self.centres.shape[1] / 4 + 8) * eps) - self.roundoff
        shorter = (points.double() - centres) * (safe.clamp_min(0) / self._sizes(points)) + centres
        return torch.where(self._too_long(points), self.clip(shorter.to(points.dtype)), points)

    def _too_long(self, points: Tensor) -> Tensor:
        too_long = self._sizes(points) > self.limit
        if self.norm != "l2":
            return too_long
        squares = (points - self.centres).square_().cpu().numpy()
        summed = torch.from_numpy(np.sqrt(np.add.accumulate(squares, axis=1)[:, -1:])).to(self._room)
        return too_long | (summed > self._room)

    def random_points(self, generator: torch.Generator) -> Tensor:
        """Points (n, d) drawn uniformly from the ball, then clipped into the range.

        Drawn row by row from uniform numbers in float32 on the CPU, so that neither a device nor the number of rows at
        a time changes a draw.
        """
        count, coordinates = self.centres.shape
        if self.norm == "linf":
            drawn = 2 * torch.rand(count, coordinates, generator=generator, dtype=torch.float32) - 1
            return self.clamp(self.centres + drawn.to(self.centres) * self.limit.to(self.centres.dtype))
        drawn = torch.rand(count, coordinates + 1, generator=generator, dtype=torch.float32)
        # The normal distribution's inverse, up to a factor; at 0 it is infinite, so the nearest number inside is taken.
        normal = (2 * drawn[:, 1:] - 1).clamp_min_(-1 + 2**-24).erfinv_()
        share = drawn[:, :1].double().pow(1 / coordinates)
        direction = normal.double() / normal.double().norm(dim=1, keepdim=True)
        return self.rescale(self.centres + (direction * share).to(self.centres) * self.radius)

    def _sizes(self, points: Tensor) -> Tensor:
        if self.norm == "l0":
            return (points != self.centres).sum(dim=1, keepdim=True).double()
        return row_norms(points.double() - self.centres.double(), ORDERS[self.norm])


def sizes_of(epsilon: float | Tensor, sources: Tensor) -> Tensor:
    """Epsilon for every source, (n,) float64.

    Raises:
        ConfigError: negative or infinite, or neither one number nor one per source.
    """
    sizes = torch.as_tensor(epsilon, dtype=torch.float64, device=sources.device)
    if sizes.ndim and sizes.shape != (len(sources),):
        raise ConfigError(
            f"epsilon has shape {tuple(sizes.shape)}, but there are {len(sources)} sources; give one number, or one "
            "per source"
        )
    if not bool(((sizes >= 0) & sizes.isfinite()).all()):
        raise ConfigError(
            f"epsilon = {float(sizes.min()):g}, but the size of a perturbation is finite and not negative; choose 0 "
            "or more"
        )
    return sizes.expand(len(sources))


def check_sources(sources: Tensor, targets: Tensor, value_range: tuple[float, float]) -> None:
    """Refuse sources that cannot be moved inside the range.

    Raises:
        ConfigError: sources outside the range by more than the rounding of centred data.
        DataError: not float32 or float64, not finite, or another number of targets.
    """
    if sources.dtype not in (torch.float32, torch.float64):
        raise DataError(
            f"sources are {sources.dtype}, but attacks move them by gradients; give float32 or float64 in the data's "
            "range"
        )
    if targets.shape != (len(sources),):
        raise DataError(
            f"targets have shape {tuple(targets.shape)}, but there are {len(sources)} sources; give one label each"
        )
    if len(sources) == 0:
        return
    low, high = value_range
    least, largest = (float(bound) for bound in sources.aminmax())
    if not math.isfinite(least) or not math.isfinite(largest):
        raise DataError(f"sources run from {least:g} to {largest:g}; remove what is not a finite number")
    slack = 1e-6 * (high - low) if math.isfinite(high - low) else 0.0  # rounding of centred data
    if least < low - slack or largest > high + slack:
        raise ConfigError(
            f"sources run from {least:.3g} to {largest:.3g}, outside the data's range {low:.3g} to {high:.3g}, into "
            "which the attack clips; choose uniform or natural sources, or another attack"
        )
