"""What networks and predictions say on a plane through the data, as numbers to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Real
from torch import Tensor

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory.checks import check_finite, check_labels, check_pair
from perturblearn.theory.kernel import Kernel
from perturblearn.theory.predictions import perturbation_direction, predict_from_directions, standard_prediction


@dataclass(frozen=True, eq=False)
class DecisionPlane:
    """The plane of points a e1 + b e2.

    Args:
        first, second: e1 and e2, (d,), of length 1, not necessarily orthogonal.
    """

    first: Float[Tensor, "d"]
    second: Float[Tensor, "d"]

    def points(self, coordinates: Float[Tensor, "p 2"]) -> Float[Tensor, "p d"]:
        """The points (P, d) of coordinates (a, b), (P, 2)."""
        return coordinates @ torch.stack((self.first, self.second))

    def project(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n 2"]:
        """Where samples are shown, (<x, e1>, <x, e2>), (N, 2)."""
        return torch.stack((x @ self.first, x @ self.second), dim=1)

    def reduce(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n 3"]:
        """Samples in three coordinates, (N, 3): two in the plane and the length of the rest.

        Inner products with points of the plane and all lengths are kept, and these are all that the gate kernel sees.
        """
        inside = x @ self._basis
        # Where a sample lies in the plane its rest is 0 up to rounding, of either sign.
        rest = (x.square().sum(dim=1) - inside.square().sum(dim=1)).clamp_min(0).sqrt()
        return torch.cat((inside, rest[:, None]), dim=1)

    def reduce_points(self, coordinates: Float[Tensor, "p 2"]) -> Float[Tensor, "p 3"]:
        """Points of the plane in the same three coordinates, (P, 3), from (a, b)."""
        inside = coordinates @ (torch.stack((self.first, self.second)) @ self._basis)
        return torch.cat((inside, torch.zeros_like(inside[:, :1])), dim=1)

    def reduce_vectors(self, vectors: Float[Tensor, "n d"], at: Float[Tensor, "n d"]) -> Float[Tensor, "n 3"]:
        """How samples move, in the coordinates in which `reduce` gives the samples, (N, 3).

        Inner products with points of the plane and with the samples themselves are kept.

        Args:
            vectors: the steps, (N, d).
            at: the samples that take them, (N, d).
        """
        # Kernels see <v, c> as well, so a step's part along its sample's rest is a third coordinate, unlike the others.
        outside = at - (at @ self._basis) @ self._basis.T
        third = (vectors * torch.nn.functional.normalize(outside)).sum(dim=1, keepdim=True)
        return torch.cat((vectors @ self._basis, third), dim=1)

    @property
    def _basis(self) -> Tensor:
        # Orthonormal, in float64: the means of two classes may be nearly opposite, and (e1, e2) then a bad basis.
        return torch.linalg.qr(torch.stack((self.first, self.second), dim=1).double()).Q.to(self.first.dtype)


@dataclass(frozen=True, eq=False)
class DecisionMap:
    """Values on a square grid of a plane.

    Args:
        plane: the plane.
        grid: the grid's values of a and of b, (S,) each the same.
        values: by name, (S, S): row i is b = grid[i], column j is a = grid[j], as an image with the origin below.
        samples: projected samples (N, 2); none by default.
        labels: their labels, (N,).
    """

    plane: DecisionPlane
    grid: Float[Tensor, "s"]
    values: Mapping[str, Tensor]
    samples: Float[Tensor, "n 2"] | None = None
    labels: Real[Tensor, "n"] | None = None

    def agreement(self, first: str, second: str) -> Tensor:
        """Where two of the values, the first and the second by their names, have one sign: (S, S) bool."""
        return self.values[first].sign() == self.values[second].sign()


def mean_plane(x: Float[Tensor, "n d"], y: Real[Tensor, "n"]) -> DecisionPlane:
    """The plane whose axes e1, e2 are the normalised means of positive and of negative samples [NeurIPS24, figures].

    Args:
        x: samples (N, d).
        y: labels +1 and -1, (N,).

    Raises:
        DataError: labels other than +1 and -1 or of one class, or a mean that is 0.
    """
    check_pair(x, x)
    check_labels(y, len(x))
    check_finite(x)
    return _plane(x[y > 0].mean(dim=0), x[y < 0].mean(dim=0), "the mean of a class")


def weight_plane(weight: Float[Tensor, "m d"], readout: Float[Tensor, "m"]) -> DecisionPlane:
    """The plane of a network's weights [ICLR24, figures].

    The axes are v and u, the normalised means of the weight rows with a positive and with a negative readout.

    Args:
        weight: W, (m, d).
        readout: a, (m,).

    Raises:
        DataError: a readout without positive or without negative entries, or a mean that is 0.
    """
    check_pair(weight, weight, ("weight", "weight"))
    if readout.shape != weight.shape[:1] or not (bool((readout > 0).any()) and bool((readout < 0).any())):
        raise DataError(
            f"a readout of shape {tuple(readout.shape)} does not split {len(weight)} units into positive and negative "
            "ones; give one entry per unit, of both signs"
        )
    return _plane(weight[readout > 0].mean(dim=0), weight[readout < 0].mean(dim=0), "a half's mean weight row")


def decision_map(
    plane: DecisionPlane,
    functions: Mapping[str, Callable[[Tensor], Tensor]],
    *,
    limits: tuple[float, float],
    points: int = 400,
    samples: Float[Tensor, "n d"] | None = None,
    labels: Real[Tensor, "n"] | None = None,
    block: int = 8192,
) -> DecisionMap:
    """Functions of an input on a grid of the plane, a e1 + b e2 for a, b within limits [NeurIPS24; ICLR24; figures].

    Args:
        plane: where to look.
        functions: by name, (P, d) to (P,): networks or predictions. `predictions_on` is faster for the latter.
        limits: least and largest coordinate.
        points: grid points a side.
        samples: data to project into the map, (N, d).
        labels: their labels, (N,).
        block: points at a time; it changes nothing beyond rounding.

    Raises:
        ConfigError: limits that are not in order, or fewer than two points.
    """
    grid = _grid(plane, limits, points)
    parts = coordinates(grid).split(block)
    values = {}
    # Networks come as they were trained; their graphs over 160,000 points would fill the memory.
    with torch.no_grad():
        for name, function in functions.items():
            values[name] = torch.cat([function(plane.points(part)) for part in parts]).view(points, points)
    return DecisionMap(plane, grid, values, None if samples is None else plane.project(samples), labels)


def predictions_on(
    plane: DecisionPlane,
    x: Float[Tensor, "n d"],
    y: Real[Tensor, "n"],
    perturbed: Float[Tensor, "k d"],
    *,
    kernel: Kernel,
    limits: tuple[float, float],
    points: int = 400,
    directions: Float[Tensor, "k d"] | None = None,
) -> DecisionMap:
    """Both predictions [NeurIPS24, section 4] on a grid of a plane.

    A kernel that sees inputs only through inner products and lengths (`Kernel.reduced`) is evaluated on three
    coordinates instead of d: the result is exact, and its cost does not grow with the dimension.

    Args:
        plane: where to look.
        x, y: what f was trained on, (n, d) and (n,).
        perturbed: what g is trained on, (n, d).
        kernel: kernel of f and g.
        limits: least and largest coordinate.
        points: grid points a side.
        directions: t, (n, d), if it is known already (see `perturbation_direction`).

    Returns:
        A map with the values ``fhat`` and ``ghat``, and x with its labels as samples.

    Raises:
        ConfigError, DataError: as for `perturbation_prediction` and `decision_map`.
    """
    grid = _grid(plane, limits, points)
    if directions is None:
        directions = perturbation_direction(x, y, kernel=kernel)
    samples, centres, steps, z = x, perturbed, directions, coordinates(grid)
    reduced = kernel.reduced(x.shape[1])
    if reduced is None:
        z = plane.points(z)
    else:
        z = plane.reduce_points(z)
        samples, centres, steps = plane.reduce(x), plane.reduce(perturbed), plane.reduce_vectors(directions, perturbed)
    standard = standard_prediction(samples, y, z, kernel=reduced or kernel)
    perturbation = predict_from_directions(centres, steps, z, kernel=reduced or kernel)
    values = {"fhat": standard.view(points, points), "ghat": perturbation.view(points, points)}
    return DecisionMap(plane, grid, values, plane.project(x), y)


def coordinates(grid: Float[Tensor, "s"]) -> Float[Tensor, "_ 2"]:
    """(a, b) of all points of a square grid, (S * S, 2), a running fastest."""
    second, first = torch.meshgrid(grid, grid, indexing="ij")
    return torch.stack((first.flatten(), second.flatten()), dim=1)


def _grid(plane: DecisionPlane, limits: tuple[float, float], points: int) -> Tensor:
    low, high = limits
    if not low < high or points < 2:
        raise ConfigError(
            f"limits = {limits} and points = {points}, but a map needs a lower limit below the upper one and two "
            "points a side or more"
        )
    return torch.linspace(low, high, points, dtype=plane.first.dtype, device=plane.first.device)


def _plane(first: Tensor, second: Tensor, what: str) -> DecisionPlane:
    for mean in (first, second):
        if float(mean.norm()) == 0:
            raise DataError(f"{what} is 0 and spans no plane; choose other axes")
    return DecisionPlane(first / first.norm(), second / second.norm())
