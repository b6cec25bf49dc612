"""What a perturbed input may be: near its source by some norm, inside the range, in numbers of finite precision."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from perturblearn.errors import ConfigError, DataError


@dataclass(frozen=True)
class Norm(ABC):
    """A norm, or for L0 a count, of perturbations; every sample is taken as one vector."""

    name: ClassVar[str]
    order: ClassVar[float]

    def check(self, input_dim: int) -> None:  # noqa: B027 - most norms suit inputs of any dimension
        """Refuse a norm that inputs of this dimension cannot have.

        Raises:
            ConfigError: more L0 pixels than coordinates.
        """

    def budget(self, epsilon: float | Tensor) -> float | Tensor:
        """The largest size allowed, a number or (n,), in the units of `sizes`."""
        return epsilon

    def sizes(self, changes: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
        """Sizes of perturbations, in the precision of the changes."""
        return row_norms(changes, self.order)

    @abstractmethod
    def steepest(self, gradient: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The direction of size 1 along which a loss of this gradient rises most; 0 where the gradient is 0."""

    def room(self, epsilon: Float[Tensor, "n 1"], clipped_off: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
        """What is left of epsilon around sources from which clipping into the range has taken ``clipped_off``."""
        return (epsilon - self.sizes(clipped_off)).clamp_min(0)

    def limit(self, ball: Ball) -> Float[Tensor, "n 1"]:
        """The largest size that is aimed at, float64: below the room by what measuring in low precision can add."""
        return ball.room

    @abstractmethod
    def project(self, ball: Ball, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The nearest points of the ball, clipped into the range; the points may be overwritten."""

    def fit(self, ball: Ball, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The points, inside the range, with those that are too far to be in the ball moved near for certain."""
        return self.project(ball, points.clone())

    @abstractmethod
    def random_points(self, ball: Ball, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """Points drawn uniformly from the ball by a generator, then clipped into the range.

        They are drawn row by row from uniform numbers in float32 on the CPU, so that neither the device nor the number
        of rows at a time changes a draw.

        Raises:
            ConfigError: the norm has no such points.
        """

    def is_too_far(self, ball: Ball, points: Float[Tensor, "n d"]) -> Tensor:
        """Which points somebody might measure as outside the ball, (n, 1) bool."""
        return ball.sizes(points) > ball.limit

    def tolerance(self, ball: Ball, relative: float) -> Float[Tensor, "n 1"]:
        """The largest size at which rounding explains why a foreign result is outside the ball.

        Args:
            ball: of the result.
            relative: error of a size that is explained.
        """
        # Sums u + r are rounded, which for a tiny r is not small against it.
        return ball.epsilon * (1 + relative) + ball.roundoff

    def compare(self, size: float, bound: float) -> str:
        """The size of a perturbation that is too large, beside the bound, in words."""
        return f"of size {size:.6g} in {self.name}, but epsilon is {bound:.6g}"


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
        norm: which measures the distance.
        sources: u, (n, ...), float32 or float64.
        epsilon: largest size in the norm's units, (n,) float64; see `Norm.budget`.
        value_range: what an entry may be.
    """

    def __init__(
        self, norm: Norm, sources: Tensor, epsilon: Float[Tensor, " n"], value_range: tuple[float, float]
    ) -> None:
        self.norm = norm
        self.value_range = value_range
        given = sources.detach().flatten(1)
        self.centres = self.clip(given.clone())
        self.epsilon = epsilon[:, None]
        # Sources outside the range by a rounding: points near the clipped ones must be near those that were given too.
        self.room = norm.room(self.epsilon, given.double() - self.centres.double())

    @cached_property
    def limit(self) -> Float[Tensor, "n 1"]:
        """Largest size that is aimed at, float64."""
        return self.norm.limit(self)

    @cached_property
    def roundoff(self) -> Float[Tensor, "n 1"]:
        """Largest size of what rounding adds to points of the ball, float64."""
        reach = row_norms(self.centres.double(), self.norm.order) + self.epsilon
        return self.eps / 2 * reach

    @cached_property
    def radius(self) -> Float[Tensor, "n 1"]:
        """Size to which longer perturbations are scaled, in the precision of the sources."""
        return (self.limit * (1 - 4 * self.eps) - self.roundoff).clamp_min(0).to(self.centres.dtype)

    @cached_property
    def box(self) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Least and largest point of an L-infinity ball inside the range."""
        width = self.limit.to(self.centres.dtype)
        corners = []
        for corner in (self.centres - width, self.centres + width):
            # The rounded sum is the number next to the true one; if it is too far, its neighbour is not.
            outside = (corner.double() - self.centres.double()).abs() > self.limit
            corners.append(self.clip(torch.where(outside, corner.nextafter(self.centres), corner)))
        return corners[0], corners[1]

    @property
    def eps(self) -> float:
        """Distance from 1 to the next larger number in the precision of the sources."""
        return torch.finfo(self.centres.dtype).eps

    def of_rows(self, rows: Int[Tensor, " m"]) -> Ball:
        """The balls of some of the sources."""
        part = copy.copy(self)
        # What has been computed for all of them is computed again when it is needed.
        for name in ("limit", "roundoff", "radius", "box"):
            vars(part).pop(name, None)
        part.centres, part.epsilon, part.room = self.centres[rows], self.epsilon[rows], self.room[rows]
        return part

    def clip(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Points clipped into the range, in place."""
        low, high = self.value_range
        # Clamping to infinite bounds would change nothing but cost a pass over memory in every step.
        return points.clamp_(low, high) if math.isfinite(low) or math.isfinite(high) else points

    def rescale(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Perturbations that are too long scaled to length epsilon, then clipped into the range; in place."""
        change = points.sub_(self.centres)
        length = row_norms(change, self.norm.order)
        # Only those that are too long: a factor computed for the others would round to 1 or to its neighbour.
        factor = torch.where(length > self.radius, self.radius / length, 1)
        return self.clip(change.mul_(factor).add_(self.centres))

    def project(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The nearest points of the ball, clipped into the range; the points may be overwritten."""
        return self.norm.project(self, points)

    def random_points(self, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """Points drawn uniformly from the ball, then clipped into the range; see `Norm.random_points`."""
        return self.norm.random_points(self, generator)

    def sizes(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
        """Sizes of points as perturbations, float64."""
        return self.norm.sizes(points.double() - self.centres.double())

    def holds(self, points: Float[Tensor, "n d"]) -> bool:
        """Whether points inside the range are near enough to their sources, whoever measures it."""
        return not bool(self.norm.is_too_far(self, points).any())

    def fit(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The points, inside the range, with those that are too far from their source moved near for certain."""
        return self.norm.fit(self, points)


def row_norms(rows: Float[Tensor, "n d"], order: float) -> Float[Tensor, "n 1"]:
    """Norms of rows."""
    if order == math.inf:  # torch's own takes ten times as long on a CPU
        return rows.abs().amax(dim=1, keepdim=True)
    return torch.linalg.vector_norm(rows, order, dim=1, keepdim=True)


def sizes_of(epsilon: float | Tensor, sources: Tensor) -> Float[Tensor, " n"]:
    """Epsilon for every source, float64.

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
    """Refuse sources that cannot be perturbed inside the range.

    Raises:
        ConfigError: sources outside the range by more than the rounding of centred data.
        DataError: not float32 or float64, not finite, or another number of targets.
    """
    if sources.dtype not in (torch.float32, torch.float64):
        raise DataError(
            f"sources are {sources.dtype}, but attacks follow gradients in them; give float32 or float64 in the data's "
            "range"
        )
    if targets.shape != (len(sources),):
        raise DataError(
            f"targets have shape {tuple(targets.shape)}, but there are {len(sources)} sources; give one label each"
        )
    if len(sources) == 0:
        return
    low, high = value_range
    least, largest = (float(bound) for bound in sources.detach().aminmax())
    if not math.isfinite(least) or not math.isfinite(largest):
        raise DataError(f"sources run from {least:g} to {largest:g}; remove values that are not finite")
    slack = 1e-6 * (high - low) if math.isfinite(high - low) else 0.0  # rounding of centred data
    if least < low - slack or largest > high + slack:
        raise ConfigError(
            f"sources run from {least:.3g} to {largest:.3g}, outside the data's range {low:.3g} to {high:.3g}, to "
            "which the attack clips; choose uniform or natural sources, or another attack"
        )
