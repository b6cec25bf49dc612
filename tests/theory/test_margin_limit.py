from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, nnls
from tests.theory.reference import noise, normal
from torch import Tensor

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory import MarginLimit, margin_limit

MODULE = import_module("perturblearn.theory.margin_limit")  # the package's name of it is the function
SLOPES = (0.01, 0.25, 0.7)


def clustered() -> tuple[Tensor, Tensor]:
    """Two clouds far apart: most samples support nothing, so that many multipliers vanish."""
    x = normal(60, 80, seed=0)
    y = torch.tensor([1, -1] * 30)
    return x + 2.0 * y[:, None], y


def dependent() -> tuple[Tensor, Tensor]:
    """More samples than dimensions, separable: the Gram matrix is singular."""
    x = normal(60, 20, seed=0)
    y = torch.tensor([1, -1] * 30)
    return x + 1.5 * y[:, None], y


DATA = {"nearly orthogonal": noise(20, 2000, 0), "clustered": clustered(), "dependent": dependent()}


def constraints(x: Tensor, y: Tensor, slope: float) -> Tensor:
    """Rows c with c . (u, v) >= 1, those for s = 1 before those for s = slope, (2 N, 2 d)."""
    rows = []
    for s in (1.0, slope):
        for sample, label in zip(x, y.tolist(), strict=True):
            pair = (sample, -s * sample) if label > 0 else (-s * sample, sample)
            rows.append(torch.cat(pair))
    return torch.stack(rows)


def check_kkt(rows: Tensor, multipliers: Tensor, point: Tensor) -> None:
    """Stationarity, margins and complementary slackness of min |w|^2 / 2 with rows . w >= 1, to 1e-6."""
    assert float(multipliers.min()) >= 0
    assert float((multipliers @ rows - point).norm()) < 1e-6 * float(point.norm())
    slack = rows @ point - 1
    assert float(slack.min()) > -1e-6
    assert float((multipliers * slack).abs().max()) < 1e-6 * max(1.0, float(multipliers.max()))
    assert float(slack[multipliers > 0].abs().max()) < 1e-6


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("data", DATA)
def test_two_direction_meets_the_optimality_conditions(data: str, slope: float) -> None:
    x, y = DATA[data]
    limit = margin_limit(x, y, slope=slope)
    mu = limit.multipliers.T.flatten()
    check_kkt(constraints(x, y, slope), mu, torch.cat((limit.w_plus, limit.w_minus)))
    if data != "nearly orthogonal":
        assert float((mu == 0).double().mean()) > 0.5
    assert abs(limit.duality_gap) < 1e-6
    assert limit.violation < 1e-6
    outputs = limit.classifier.outputs(x)
    assert float((y * outputs).min()) == pytest.approx(1, abs=1e-6)
    assert limit.least_margin == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("data", DATA)
def test_two_direction_and_an_independent_solver(data: str, slope: float) -> None:
    x, y = DATA[data]
    rows = constraints(x, y, slope)
    # The dual as non-negative least squares: the least distance to the polyhedron (Lawson and Hanson, chapter 23).
    matrix = torch.cat((rows.T, torch.ones(1, len(rows), dtype=torch.float64))).numpy()
    target = np.zeros(len(matrix))
    target[-1] = 1
    solution, _ = nnls(matrix, target, maxiter=100 * len(rows))
    residual = matrix @ solution - target
    point = torch.from_numpy(-residual[:-1] / residual[-1])
    limit = margin_limit(x, y, slope=slope)
    found = torch.cat((limit.w_plus, limit.w_minus))
    assert float((found - point).norm() / point.norm()) < 1e-6
    # mu = solution / -residual_last: the dual value, which is unique even where multipliers are not.
    value = float(limit.multipliers.sum()) - float(found @ found) / 2
    assert value == pytest.approx(float(point @ point) / 2, rel=1e-6)
    if data == "nearly orthogonal":
        multipliers = torch.from_numpy(solution / -residual[-1])
        assert torch.allclose(limit.multipliers.T.flatten(), multipliers, atol=1e-6 * float(multipliers.max()))


@pytest.mark.parametrize("slope", SLOPES)
def test_linear_is_the_linear_system_where_that_is_positive(slope: float) -> None:
    x, y = DATA["nearly orthogonal"]
    limit = margin_limit(x, y, slope=slope, method="linear")
    p, q = (slope + (1 - slope) * (y == sign).double() for sign in (1, -1))
    matrix = y[:, None] * y * (torch.outer(p, p) + torch.outer(q, q)) * (x @ x.T)
    expected = torch.linalg.solve(matrix, torch.ones(len(x), dtype=torch.float64))
    assert float(expected.min()) > 0
    assert torch.allclose(limit.multipliers[:, 1], expected, rtol=1e-9)
    assert float(limit.multipliers[:, 0].abs().max()) == 0
    w_plus, w_minus = (expected * y * p) @ x, -(expected * y * q) @ x
    outputs = torch.nn.functional.leaky_relu(x @ w_plus, slope) - torch.nn.functional.leaky_relu(x @ w_minus, slope)
    least = float((y * outputs).min())
    assert limit.least_margin == pytest.approx(least, rel=1e-9)
    assert torch.allclose(limit.w_plus, w_plus / least, rtol=1e-7, atol=1e-12)
    assert torch.allclose(limit.w_minus, w_minus / least, rtol=1e-7, atol=1e-12)
    share = ((y * (x @ w_plus) > 0) & (y * (x @ w_minus) < 0)).double().mean()
    assert limit.pattern_share == pytest.approx(float(share))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("data", ["clustered", "noise"])
def test_linear_takes_the_dual_where_multipliers_would_be_negative(data: str, slope: float) -> None:
    x, y = DATA["clustered"] if data == "clustered" else noise(60, 80, 1)
    limit = margin_limit(x, y, slope=slope, method="linear")
    rows = constraints(x, y, slope)[len(x) :]
    lam = limit.multipliers[:, 1]
    assert bool((lam == 0).any())
    check_kkt(rows, lam, lam @ rows)
    matrix = (rows @ rows.T).numpy()
    solved = minimize(
        lambda point: (point @ matrix @ point / 2 - point.sum(), matrix @ point - 1),
        np.zeros(len(x)),
        jac=True,
        bounds=[(0, None)] * len(x),
        method="L-BFGS-B",
        options={"maxiter": 100_000, "maxfun": 100_000, "ftol": 1e-16, "gtol": 1e-10, "maxcor": 50},
    )
    # L-BFGS-B stops at a relative change of the value of some 1e-13.
    assert torch.allclose(lam, torch.from_numpy(solved.x), atol=1e-4 * float(lam.max()))
    assert limit.multipliers.sum() - (lam @ torch.from_numpy(matrix) @ lam) / 2 == pytest.approx(-solved.fun, rel=1e-8)


def test_linear_is_the_case_in_which_the_pattern_holds() -> None:
    x, y = noise(30, 3000, 0)
    linear, best = (margin_limit(x, y, slope=0.7, method=method) for method in ("linear", "two_direction"))
    assert (linear.pattern_share, linear.least_margin) == pytest.approx((1, 1), abs=1e-6)
    assert float(best.multipliers[:, 0].max()) < 1e-9 * float(best.multipliers.max())
    assert torch.allclose(linear.w_plus, best.w_plus, atol=1e-6 * float(best.w_plus.abs().max()))


def test_normal_and_boundary_multipliers() -> None:
    x, y = DATA["clustered"]
    z = normal(100, 80, seed=9)
    for method in ("linear", "two_direction"):
        limit = margin_limit(x, y, slope=0.25, method=method)
        learned = (limit.boundary_multipliers * y) @ x
        assert torch.nn.functional.cosine_similarity(learned, limit.normal, dim=0) == pytest.approx(1, abs=1e-12)
        outputs = limit.classifier.outputs(z)
        assert torch.equal(outputs.sign(), (z @ limit.normal).sign())
        plus, minus = (torch.nn.functional.leaky_relu(z @ w, 0.25) for w in (limit.w_plus, limit.w_minus))
        assert torch.allclose(outputs, plus - minus)
        assert limit.classifier.training["limit"] == method


def test_units_of_the_samples_cancel() -> None:
    x, y = DATA["clustered"]
    one = margin_limit(x, y, slope=0.25)
    for scale in (1e-8, 1e8):
        other = margin_limit(scale * x, y, slope=0.25)
        assert torch.allclose(other.w_plus * scale, one.w_plus, rtol=1e-6, atol=1e-9)
        assert other.least_margin == pytest.approx(1, abs=1e-6)
        assert torch.allclose(other.multipliers * scale**2, one.multipliers, atol=1e-6)


@pytest.mark.parametrize("method", ["linear", "two_direction"])
@pytest.mark.parametrize("data", ["nearly orthogonal", "clustered"])
def test_large_problems_take_a_rounded_gram_matrix_to_the_same_end(
    data: str, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = DATA[data]
    exact = margin_limit(x.float(), y, slope=0.1, method=method)
    monkeypatch.setattr(MODULE, "_MOST_EXACT", 10)
    rounded = margin_limit(x.float(), y, slope=0.1, method=method)
    assert rounded.w_plus.dtype == torch.float32
    assert rounded.violation < 1e-6
    assert float((rounded.w_plus - exact.w_plus).norm() / exact.w_plus.norm()) < 1e-5
    assert rounded.least_margin == pytest.approx(exact.least_margin, abs=1e-5)


def test_float32_and_float64_agree() -> None:
    x, y = noise(50, 300, 3)
    single, double = margin_limit(x.float(), y, slope=0.01), margin_limit(x.float().double(), y, slope=0.01)
    assert torch.allclose(single.w_plus.double(), double.w_plus, rtol=1e-5, atol=1e-7)


def test_one_class_if_asked_for() -> None:
    x, y = noise(5, 50, 0)
    limit = margin_limit(x, torch.ones_like(y), slope=0.1, both_classes=False)
    assert float(limit.classifier.outputs(x).min()) == pytest.approx(1, abs=1e-6)


X, Y = noise(10, 50, 0)
KNOWN: dict[str, Any] = {"x": X, "y": Y, "slope": 0.1}
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"slope": 0.0}, ConfigError, "slope = 0, but the limit of long training needs"),
    ({"slope": 1.0}, ConfigError, "slope = 1.0"),
    ({"softness": -1.0}, ConfigError, "softness = -1, but it must be a finite number, 0 or more"),
    ({"softness": 0.1, "method": "linear"}, ConfigError, "softness = 0.1, but it must be .* 0 for the method linear"),
    ({"method": "best"}, ConfigError, "method = 'best', but the limit knows two_direction and linear"),
    ({"y": (Y > 0).long()}, DataError, "y holds the label 0"),
    ({"y": torch.ones(10)}, DataError, r"all 10 labels in y are \+1"),
    ({"y": Y[:4]}, DataError, r"y has shape \(4,\) for 10 samples"),
    ({"x": X[:0], "y": Y[:0]}, DataError, "there are no samples"),
    ({"x": X / 0}, DataError, "x holds NaN or infinite values"),
    ({"x": X.flatten()}, DataError, "one row per sample is expected"),
    ({"x": torch.cat((X[:9], X[4:5]))}, DataError, "samples 4 and 9 are equal or multiples of each other"),
    ({"x": torch.cat((X[:9], 0 * X[4:5]))}, DataError, "sample 9 is 0"),
    ({"most_products": 2}, DataError, "the limit was not found within 2 products"),
]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(("changed", "error", "words"), REFUSED)
def test_bad_input(changed: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        margin_limit(**(KNOWN | changed))


def test_equal_samples_are_found_in_float32_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_MOST_EXACT", 5)
    x = torch.cat((X[:9], X[4:5])).float()
    with pytest.raises(DataError, match="samples 4 and 9"):
        margin_limit(x, Y, slope=0.1)
    # Nearly parallel but not equal samples are no reason to refuse.
    x[9] += 1e-3 * X[5].float()
    y = Y.clone()
    y[9] = y[4]
    assert margin_limit(x, y, slope=0.1).violation < 1e-6


@pytest.mark.parametrize(("count", "dim"), [(400, 100), (1000, 100), (3, 1)])
def test_samples_that_cannot_be_separated(count: int, dim: int) -> None:
    x, y = noise(count, dim, 0)
    if dim == 1:
        x, y = torch.tensor([[1.0], [2.5], [4.0]]), torch.tensor([1, -1, 1])
        with pytest.raises(DataError, match="multiples of each other"):
            margin_limit(x, y, slope=0.1)
        return
    with pytest.raises(DataError, match=f"two directions cannot separate the {count} samples in {dim} dimensions"):
        margin_limit(x, y, slope=0.1)
    with pytest.raises(DataError, match="linearly dependent"):
        margin_limit(x, y, slope=0.1, method="linear")


@pytest.mark.parametrize("softness", [0.01, 0.3])
@pytest.mark.parametrize(("count", "dim"), [(100, 300), (300, 40)])
def test_a_soft_limit_is_the_minimum_of_its_own_problem(count: int, dim: int, softness: float) -> None:
    # By another route: the gradient of the primal problem, a smooth function of u and v, has to vanish.
    x, y = noise(count, dim, 0)
    limit = margin_limit(x, y, slope=0.1, softness=softness)
    rows = constraints(x, y, 0.1)
    multipliers = limit.multipliers.T.flatten()
    weights = multipliers @ rows
    missed = (1 - rows @ weights).clamp_min(0)
    price = 1 / (softness * rows.square().sum(dim=1))
    assert float((weights - (price * missed) @ rows).norm()) < 1e-5 * float(weights.norm())
    # Directions are scaled where they separate, so the normal's direction is compared.
    u, v = weights.view(2, dim)
    assert float(torch.cosine_similarity(u - v, limit.normal, dim=0)) == pytest.approx(1, abs=1e-9)
    assert limit.separates == (count < dim)


def test_soft_limits_go_to_the_limit() -> None:
    hard = margin_limit(X, Y, slope=0.1).normal
    apart = [
        1 - float(torch.cosine_similarity(margin_limit(X, Y, slope=0.1, softness=softness).normal, hard, dim=0))
        for softness in (1.0, 0.1, 1e-6)
    ]
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] < 1e-9


def test_it_prints_what_to_look_at() -> None:
    assert isinstance(margin_limit(X, Y, slope=0.1), MarginLimit)
    assert "pattern holds on" in repr(margin_limit(X, Y, slope=0.1))
