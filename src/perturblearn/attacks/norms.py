"""The norms that bound a perturbation: what each of them measures, follows, projects onto and draws from.

The rounding that the bounds have to survive is derived in `Ball`, which every method here is told.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.errors import ConfigError

if TYPE_CHECKING:
    from perturblearn.attacks.ball import Ball


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


@dataclass(frozen=True)
class L2(Norm):
    """Euclidean length."""

    name: ClassVar[str] = "l2"
    order: ClassVar[float] = 2.0

    def steepest(self, gradient: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The gradient divided by its length."""
        return normalised(gradient, 2.0)

    def limit(self, ball: Ball) -> Float[Tensor, "n 1"]:
        """The room less sqrt(d) eps/2, for sums of squares whose roundings do not conspire."""
        return ball.room * max(0.0, 1 - (math.sqrt(ball.centres.shape[1]) / 2 + 4) * ball.eps)

    def project(self, ball: Ball, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Perturbations that are too long scaled to length epsilon, then clipped."""
        return ball.rescale(points)

    def fit(self, ball: Ball, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Those that are too far shortened by the worst rounding of a sum, d eps/4; all others untouched."""
        points = ball.clip(points.clone())
        centres = ball.centres.double()
        safe = ball.room * max(0.0, 1 - (centres.shape[1] / 4 + 8) * ball.eps) - ball.roundoff
        # In float64 and rounded once: a shortening in float32 would need a margin of its own.
        shorter = (points.double() - centres) * (safe.clamp_min(0) / ball.sizes(points)) + centres
        return torch.where(self.is_too_far(ball, points), ball.clip(shorter.to(points.dtype)), points)

    def random_points(self, ball: Ball, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """Directions of a normal distribution, with lengths whose d-th power is uniform."""
        count, coordinates = ball.centres.shape
        drawn = torch.rand(count, coordinates + 1, generator=generator, dtype=torch.float32)
        # The normal distribution's inverse, up to a factor; at 0 it is infinite, so the nearest number inside is taken.
        normal = (2 * drawn[:, 1:] - 1).clamp_min_(-1 + 2**-24).erfinv_()
        share = drawn[:, :1].double().pow(1 / coordinates)
        # In float64, so that float32 and float64 sources start at the same points but for one rounding.
        direction = normal.double() / normal.double().norm(dim=1, keepdim=True)
        return ball.rescale(ball.centres + (direction * share).to(ball.centres) * ball.radius)

    def is_too_far(self, ball: Ball, points: Float[Tensor, "n d"]) -> Tensor:
        """Too long in float64, or when squares are added one after the other in the points' own precision."""
        # Equal squares are rounded to the same side again and again: the limit does not cover them, so they are added.
        squares = (points - ball.centres).square_().cpu().numpy()
        summed = torch.from_numpy(np.sqrt(np.add.accumulate(squares, axis=1)[:, -1:])).to(ball.room)
        return (ball.sizes(points) > ball.limit) | (summed > ball.room)


@dataclass(frozen=True)
class LInf(Norm):
    """The largest change of a coordinate."""

    name: ClassVar[str] = "linf"
    order: ClassVar[float] = math.inf

    def steepest(self, gradient: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The gradient's signs."""
        return gradient.sign()

    def limit(self, ball: Ball) -> Float[Tensor, "n 1"]:
        """The room, rounded down: a difference of at most that is never measured as more."""
        # Rounding to nearest may go up, and then a perturbation of exactly that size would be too large.
        rounded = ball.room.to(ball.centres.dtype)
        return torch.where(rounded > ball.room, rounded.nextafter(torch.zeros_like(rounded)), rounded).double()

    def project(self, ball: Ball, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The points clamped to the box."""
        return torch.clamp(points, *ball.box)

    def random_points(self, ball: Ball, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """Every coordinate uniform in its interval."""
        drawn = 2 * torch.rand(ball.centres.shape, generator=generator, dtype=torch.float32) - 1
        return self.project(ball, ball.centres + drawn.to(ball.centres) * ball.limit.to(ball.centres.dtype))


@dataclass(frozen=True)
class L0(Norm):
    """The number of changed coordinates.

    Args:
        pixels: how many may change, 1 or more; checked against the inputs when they are there.

    Raises:
        ConfigError: none may change.
    """

    pixels: int
    name: ClassVar[str] = "l0"
    order: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if self.pixels < 1:
            raise ConfigError(
                f"attack.pixels = {self.pixels}, but an L0 perturbation changes at least one coordinate; choose 1 or "
                "more"
            )

    def check(self, input_dim: int) -> None:
        """Refuse more pixels than coordinates.

        Raises:
            ConfigError: there are more.
        """
        if self.pixels > input_dim:
            raise ConfigError(
                f"attack.pixels = {self.pixels}, but inputs have {input_dim} coordinates; choose between 1 and that "
                "number"
            )

    def budget(self, epsilon: float | Tensor) -> float | Tensor:
        """The pixels: how far each of them moves is not bounded but by the range."""
        return float(self.pixels)

    def sizes(self, changes: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
        """Changed coordinates."""
        return (changes != 0).sum(dim=1, keepdim=True).to(changes.dtype)

    def steepest(self, gradient: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The gradient's entries of largest magnitude, scaled to Euclidean length 1."""
        self.check(gradient.shape[1])
        index = gradient.abs().topk(self.pixels, dim=1).indices
        largest = torch.zeros_like(gradient).scatter_(1, index, gradient.gather(1, index))
        return normalised(largest, 2.0)

    def room(self, epsilon: Float[Tensor, "n 1"], clipped_off: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
        """All pixels: a coordinate that clipping has moved by a rounding is not one that the attack changes."""
        return epsilon

    def project(self, ball: Ball, points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The points clipped; the attacks in L0 choose their coordinates themselves."""
        return ball.clip(points)

    def random_points(self, ball: Ball, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """Refuse: no volume, nothing to draw from.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("random_start applies to l2 and linf, not to l0, which starts at the source; remove it")

    def tolerance(self, ball: Ball, relative: float) -> Float[Tensor, "n 1"]:
        """The pixels; no rounding explains another coordinate."""
        return ball.epsilon

    def compare(self, size: float, bound: float) -> str:
        """Numbers of coordinates."""
        return f"that changes {size:.0f} coordinates, but pixels is {bound:.0f}"


def norm_of(norm: Norm | str, pixels: int | None = None) -> Norm:
    """A norm by its name.

    Args:
        norm: ``l0``, ``l2`` or ``linf``; a norm is returned as it is.
        pixels: coordinates that an L0 perturbation changes.

    Raises:
        ConfigError: unknown norm, or pixels missing or below 1.
    """
    if isinstance(norm, Norm):
        return norm
    if norm == "l0" and pixels is None:
        raise ConfigError(
            "attack.pixels = None, but in l0 the number of coordinates that may change is the bound; give one"
        )
    known = {"l0": lambda: L0(pixels or 0), "l2": L2, "linf": LInf}
    if norm not in known:
        raise ConfigError(
            f"attack.norm = {norm!r}, but perturbations are bounded in l0, l2 or linf; choose one of these"
        )
    return known[norm]()


def steepest_step(gradient: Tensor, norm: Norm | str, *, epsilon: float, pixels: int | None = None) -> Tensor:
    r"""The step of size epsilon along a gradient, per sample [NeurIPS24, section 4 and appendix].

    L2: epsilon g / \|g\|_2. L-infinity: epsilon sign(g). L0: the entries of g largest in magnitude, scaled to L2 length
    epsilon, all others 0. Where the gradient is 0 the step is 0.

    Args:
        gradient: g, (n, ...); every sample is taken as one vector.
        norm: ``l0``, ``l2`` or ``linf``, or a norm.
        epsilon: size, 0 or more.
        pixels: coordinates that an L0 step changes, between 1 and the number of coordinates.

    Returns:
        The steps, shaped as the gradient.

    Raises:
        ConfigError: unknown norm, or pixels missing or more than there are.
    """
    return (epsilon * norm_of(norm, pixels).steepest(gradient.flatten(1))).view_as(gradient)


def normalised(rows: Float[Tensor, "n d"], order: float) -> Float[Tensor, "n d"]:
    """Rows divided by their norm of order 2 or infinity; rows of zeros stay what they are."""
    # Divided by the largest entry first: squares of gradients below 1e-19 would vanish in float32.
    scaled = rows / _or_one(row_norms(rows, math.inf))
    return scaled if order == math.inf else scaled.div_(_or_one(row_norms(scaled, order)))


def row_norms(rows: Float[Tensor, "n d"], order: float) -> Float[Tensor, "n 1"]:
    """Norms of rows."""
    if order == math.inf:  # torch's own takes ten times as long on a CPU
        return rows.abs().amax(dim=1, keepdim=True)
    return torch.linalg.vector_norm(rows, order, dim=1, keepdim=True)


def l2_or_linf(norm: Norm | str, attack: str) -> Norm:
    """The norm of an attack that steps in all coordinates at once, by its name.

    Raises:
        ConfigError: the norm is L0 or unknown.
    """
    if norm == "l0" or isinstance(norm, L0):
        raise ConfigError(
            f"attack.norm = 'l0', but {attack} bounds perturbations in l2 or linf; choose one of these, or "
            "radial_pgd for l0"
        )
    return norm_of(norm)


def _or_one(lengths: Tensor) -> Tensor:
    return torch.where(lengths == 0, 1, lengths)
