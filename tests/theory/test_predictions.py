from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.theory.reference import direction, fhat, ghat, noise, normal
from torch import Tensor

from perturblearn import theory
from perturblearn.errors import ConfigError, DataError
from perturblearn.theory import GateKernel

N, D, M = 12, 7, 9
X, Y = normal(N, D, seed=0), torch.tensor([1, -1] * 6)
Z = 2 * normal(M, D, seed=1)
TARGETS = torch.tensor([1, 1, -1, -1] * 3)
ZEROS = torch.zeros(N, dtype=torch.float64)


def near(found: Tensor, expected: Tensor) -> bool:
    # Sums of a dozen terms in float64; angles of parallel inputs (x_n with itself) carry an error of 1e-8 in theirs.
    return torch.allclose(found, expected, rtol=0, atol=1e-10 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_fhat_against_a_double_loop(slope: float) -> None:
    assert near(theory.standard_prediction(X, Y, Z, kernel=GateKernel(slope)), fhat(X, Y, Z, slope))
    assert near(
        theory.standard_prediction(X, Y, Z, kernel=GateKernel(slope, trained_bias=True)),
        fhat(X, Y, Z, slope, added=1.0),
    )
    assert near(theory.standard_prediction(X, Y, Z, kernel=GateKernel(slope), workspace=1), fhat(X, Y, Z, slope))


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_directions_against_a_double_loop(slope: float) -> None:
    assert near(theory.perturbation_direction(X, Y, kernel=GateKernel(slope), at=Z), direction(X, Y, Z, slope))
    # At x_n itself the loop's angle may be 1e-8 off.
    assert torch.allclose(
        theory.perturbation_direction(X, Y, kernel=GateKernel(slope)), direction(X, Y, X, slope), atol=1e-8
    )


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("scenario", ["a", "b", "noise"])
def test_ghat_against_a_double_loop(slope: float, scenario: str) -> None:
    places = normal(N + 3, D, seed=5) if scenario == "noise" else X
    targets = torch.cat((TARGETS, TARGETS[:3]))[: len(places)]
    at = places if scenario == "noise" else None
    t = direction(X, Y, places, slope)
    unit = t / t.norm(dim=1, keepdim=True)
    steps = 0.2 * targets[:, None] * unit
    sources = torch.zeros_like(places) if scenario == "a" else places
    perturbed = sources + steps
    none = torch.zeros(len(places), dtype=torch.float64)
    found = theory.perturbation_prediction(X, Y, perturbed, Z, kernel=GateKernel(slope), at=at)
    assert torch.allclose(found, ghat(perturbed, t, none, Z, slope), atol=1e-8)
    # What is left out: mislabelled sources and the trained bias.
    full = theory.full_perturbation_prediction(
        perturbed,
        targets,
        theory.perturbation_direction(X, Y, kernel=GateKernel(slope), at=at),
        Z,
        kernel=GateKernel(slope, trained_bias=True),
        epsilon=0.2,
        sources=None if scenario == "a" else sources,
    )
    expected = ghat(perturbed, 0.2 * unit + targets[:, None] * sources, targets.double(), Z, slope)
    assert torch.allclose(full, expected, atol=1e-8)
    # That is the full lazy limit of g: the standard prediction of its own training set.
    whole = theory.standard_prediction(perturbed, targets, Z, kernel=GateKernel(slope, trained_bias=True))
    assert torch.allclose(full, whole, atol=1e-8)


def test_target_labels_cancel() -> None:
    t = theory.perturbation_direction(X, Y, kernel=GateKernel(0.1))
    found = [
        theory.perturbation_prediction(X, Y, X + 1e-9 * targets[:, None] * t, Z, kernel=GateKernel(0.1))
        for targets in (TARGETS, -TARGETS, Y, -Y)
    ]
    # They enter only through where x' lies, a billionth apart.
    for other in found[1:]:
        assert torch.allclose(found[0], other, atol=1e-7)


def test_cosines_against_a_loop() -> None:
    t = direction(X, Y, X, 0.1)
    steps = normal(N, D, seed=8)
    expected = torch.tensor(
        [float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) for a, b in zip(steps, t, strict=True)]
    )
    assert torch.allclose(theory.cosine_similarity(X, Y, steps, kernel=GateKernel(0.1)), expected.double(), atol=1e-7)
    assert torch.allclose(
        theory.cosine_similarity(X, Y, -3 * t, kernel=GateKernel(0.1)), -torch.ones(N).double(), atol=1e-12
    )
    assert float(theory.cosine_similarity(X, Y, torch.zeros_like(X), kernel=GateKernel(0.1)).abs().max()) == 0
    tiny = theory.cosine_similarity(X.float(), Y, 1e-30 * steps.float(), kernel=GateKernel(0.1))
    assert torch.allclose(tiny.double(), expected.double(), atol=1e-5)


@pytest.mark.parametrize("dim", [2, 3, 100])
def test_a_random_direction_s_cosine(dim: int) -> None:
    draws = theory.row_cosines(normal(20_000, dim, seed=0), normal(1, dim, seed=1).expand(20_000, dim)).abs()
    error = float(draws.std()) / math.sqrt(len(draws))
    assert float(draws.mean()) == pytest.approx(theory.random_cosine(dim), abs=4 * error)
    assert theory.random_cosine(10_000) == pytest.approx(math.sqrt(2 / (math.pi * 10_000)), rel=1e-4)


def test_float32_is_near_float64() -> None:
    x, y = noise(50, 30, 0)
    z = normal(20, 30, seed=3)
    exact = theory.standard_prediction(x, y, z, kernel=GateKernel(0.1))
    found = theory.standard_prediction(x.float(), y, z.float(), kernel=GateKernel(0.1))
    assert found.dtype == torch.float32
    assert float((found - exact).abs().max()) < 1e-6 * float(exact.abs().max()) * 50


def test_predictions_are_differentiable() -> None:
    z = Z.clone().requires_grad_()
    theory.standard_prediction(X, Y, z, kernel=GateKernel(0.2)).sum().backward()
    assert z.grad is not None
    # The gradient of <t(z), z>, by differences.
    step = 1e-6 * torch.eye(D, dtype=torch.float64)[0]
    up, down = (theory.standard_prediction(X, Y, Z + sign * step, kernel=GateKernel(0.2)) for sign in (1, -1))
    assert torch.allclose(z.grad[:, 0], (up - down) / 2e-6, atol=1e-7)


CALLS: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("standard_prediction", {"y": (Y > 0).long()}, DataError, r"y holds the label 0, but labels must be \+1 and -1"),
    ("standard_prediction", {"y": torch.ones(N)}, DataError, r"all 12 labels in y are \+1"),
    ("standard_prediction", {"y": Y[:5]}, DataError, r"y has shape \(5,\) for 12 samples"),
    ("standard_prediction", {"x": X[:0], "y": Y[:0]}, DataError, "there are no samples"),
    ("standard_prediction", {"z": Z[:, :3]}, DataError, "x has 7 columns and z has 3"),
    ("standard_prediction", {"z": Z[:0]}, DataError, "z has no rows"),
    ("standard_prediction", {"z": Z / 0}, DataError, "z holds NaN or infinite values"),
    ("standard_prediction", {"x": X * float("nan")}, DataError, "x holds NaN"),
    ("perturbation_prediction", {"perturbed": X[:4]}, DataError, r"perturbed has shape \(4, 7\) and x \(12, 7\)"),
    ("predict_from_directions", {"directions": X[:4]}, DataError, r"directions has shape \(4, 7\) and x \(12, 7\)"),
    ("predict_from_directions", {"z": Z[:0]}, DataError, "z has no rows"),
    ("full_perturbation_prediction", {"epsilon": 0.0}, ConfigError, "epsilon = 0.0"),
    ("full_perturbation_prediction", {"targets": TARGETS[:3]}, DataError, r"targets has shape \(3,\)"),
    ("full_perturbation_prediction", {"sources": X[:3]}, DataError, r"sources has shape \(3, 7\)"),
]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(("function", "changed", "error", "words"), CALLS)
def test_bad_input(function: str, changed: dict[str, Any], error: type[Exception], words: str) -> None:
    known: dict[str, Any] = {
        "standard_prediction": {"x": X, "y": Y},
        "perturbation_prediction": {"x": X, "y": Y, "perturbed": X},
        "predict_from_directions": {"perturbed": X, "directions": X},
        "full_perturbation_prediction": {"perturbed": X, "directions": X, "targets": TARGETS, "epsilon": 0.1},
    }[function]
    with pytest.raises(error, match=words):
        getattr(theory, function)(**{**known, "z": Z, "kernel": GateKernel(0.1), **changed})
