"""What a perturbed input may be: near its source, inside the range, in numbers of finite precision."""

from __future__ import annotations

import copy
import math
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from perturblearn.attacks.norms import Norm, row_norms
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
