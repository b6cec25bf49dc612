from __future__ import annotations

import pytest
import torch
from tests.theory.reference import normal
from torch import Tensor

from perturblearn import theory
from perturblearn.errors import ConfigError, DataError
from perturblearn.theory.decision_map import coordinates

X = normal(40, 9, seed=0)
Y = torch.tensor([1, -1] * 20)
SHIFTED = X + 3.0 * Y[:, None]  # class means nearly opposite


@pytest.mark.parametrize("x", [X, SHIFTED], ids=["random means", "nearly opposite means"])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_predictions_on_a_plane_are_those_in_all_dimensions(x: Tensor, slope: float) -> None:
    plane = theory.mean_plane(x, Y)
    perturbed = 0.1 * normal(40, 9, seed=1)
    drawn = theory.predictions_on(
        plane, x, Y, perturbed, kernel=theory.GateKernel(slope), limits=(-5.0, 6.0), points=13
    )
    z = plane.points(coordinates(drawn.grid))
    fhat = theory.standard_prediction(x, Y, z, kernel=theory.GateKernel(slope))
    ghat = theory.perturbation_prediction(x, Y, perturbed, z, kernel=theory.GateKernel(slope))
    # Points that are parallel to a sample up to rounding have an angle known to 1e-8; there are none here.
    assert torch.allclose(drawn.values["fhat"].flatten(), fhat, rtol=0, atol=1e-10)
    assert torch.allclose(drawn.values["ghat"].flatten(), ghat, rtol=0, atol=1e-10)
    assert drawn.labels is Y
    known = theory.predictions_on(
        plane, x, Y, perturbed, kernel=theory.GateKernel(slope), limits=(-5.0, 6.0), points=13,
        directions=theory.perturbation_direction(x, Y, kernel=theory.GateKernel(slope)),
    )  # fmt: skip
    assert torch.equal(known.values["ghat"], drawn.values["ghat"])


def test_float32_maps_are_near_those_in_float64() -> None:
    maps = []
    for dtype in (torch.float32, torch.float64):
        x = SHIFTED.to(dtype)
        plane = theory.mean_plane(x, Y)
        maps.append(
            theory.predictions_on(plane, x, Y, 0.1 * x, kernel=theory.GateKernel(0.0), limits=(-5.0, 5.0), points=11)
        )
    for name in ("fhat", "ghat"):
        single, double = (drawn.values[name] for drawn in maps)
        assert float((single - double).abs().max()) < 1e-5 * float(double.abs().max())


def test_rows_are_b_and_columns_are_a() -> None:
    plane = theory.DecisionPlane(torch.eye(3)[0], torch.eye(3)[1])
    drawn = theory.decision_map(
        plane, {"first": lambda z: z[:, 0], "second": lambda z: z[:, 1]}, limits=(-1.0, 2.0), points=4, block=3
    )
    assert drawn.grid.tolist() == [-1, 0, 1, 2]
    assert torch.equal(drawn.values["first"], drawn.grid.expand(4, 4))
    assert torch.equal(drawn.values["second"], drawn.grid.expand(4, 4).T)
    assert drawn.samples is None
    # Signs agree where both are above, both below, or both exactly 0.
    assert int(drawn.agreement("first", "second").sum()) == 4 + 1 + 1


def test_the_mean_plane() -> None:
    plane = theory.mean_plane(X, Y)
    for axis, sign in ((plane.first, 1), (plane.second, -1)):
        mean = sum((row for row, label in zip(X, Y, strict=True) if label == sign), torch.zeros(9)) / 20
        assert torch.allclose(axis, mean / mean.norm())
    projected = plane.project(X)
    assert torch.allclose(projected[:, 0], X @ plane.first)
    assert torch.allclose(projected[:, 1], X @ plane.second)


def test_the_weight_plane() -> None:
    weight, readout = normal(6, 4, seed=2), torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    plane = theory.weight_plane(weight, readout)
    for axis, rows in ((plane.first, weight[:3]), (plane.second, weight[3:])):
        assert torch.allclose(axis, rows.mean(dim=0) / rows.mean(dim=0).norm())


def test_three_coordinates_keep_lengths_and_products_with_the_plane() -> None:
    plane = theory.mean_plane(SHIFTED, Y)
    points = normal(7, 2, seed=3)
    z = plane.points(points)
    assert torch.allclose(plane.reduce(X) @ plane.reduce_points(points).T, X @ z.T, atol=1e-12)
    assert torch.allclose(plane.reduce(X).norm(dim=1), X.norm(dim=1))
    assert torch.allclose(plane.reduce_points(points).norm(dim=1), z.norm(dim=1))
    steps = normal(40, 9, seed=4)
    moved = plane.reduce_vectors(steps, X)
    assert torch.allclose(moved @ plane.reduce_points(points).T, steps @ z.T, atol=1e-12)
    assert torch.allclose((moved * plane.reduce(X)).sum(dim=1), (steps * X).sum(dim=1))
    assert torch.allclose(plane.reduce(z)[:, 2], torch.zeros(7).double(), atol=1e-6)


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input() -> None:
    plane = theory.mean_plane(X, Y)
    for limits, points in (((1.0, 1.0), 5), ((2.0, 1.0), 5), ((0.0, 1.0), 1)):
        with pytest.raises(ConfigError, match="a map needs a lower limit below the upper one"):
            theory.decision_map(plane, {}, limits=limits, points=points)
    with pytest.raises(DataError, match="the mean of a class is 0"):
        theory.mean_plane(torch.cat((X[:1], -X[:1], X[:1])), torch.tensor([1, 1, -1]))
    with pytest.raises(DataError, match="of both signs"):
        theory.weight_plane(X, torch.ones(40))
    with pytest.raises(DataError, match="y holds the label 0"):
        theory.mean_plane(X, Y.clamp_min(0))
