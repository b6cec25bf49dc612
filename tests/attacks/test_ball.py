"""Bound and range in finite precision, against exact arithmetic with fractions and against the worst sums."""

from __future__ import annotations

import math
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor

from perturblearn.attacks import norm_of
from perturblearn.attacks.ball import Ball

DTYPES = [torch.float32, torch.float64]
ENDLESS = (-math.inf, math.inf)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def ball_of(norm: str, sources: Tensor, epsilon: float, value_range: tuple[float, float] = ENDLESS) -> Ball:
    return Ball(norm_of(norm), sources, torch.full((len(sources),), epsilon, dtype=torch.float64), value_range)


@given(
    norm=st.sampled_from(["l2", "linf"]),
    dtype=st.sampled_from(DTYPES),
    epsilon=st.one_of(st.just(0.0), st.floats(1e-12, 1e4)),
    offset=st.sampled_from([0.0, 1e-3, 1.0, 300.0]),
    dim=st.integers(1, 30),
    seed=st.integers(0, 50),
)
def test_whatever_is_projected_or_fitted_is_inside(
    norm: str, dtype: torch.dtype, epsilon: float, offset: float, dim: int, seed: int
) -> None:
    sources = draw(3, dim, seed=seed, dtype=dtype) + offset
    ball = ball_of(norm, sources, epsilon, (-1.0, 300.0))
    sources = sources.clamp(-1, 300)
    far = sources + epsilon * 3 * draw(3, dim, seed=seed + 1, dtype=dtype)
    for points in (ball.project(far.clone()), ball.fit(far.clamp(-1, 300)), ball.fit(sources)):
        assert float(points.min()) >= -1
        assert float(points.max()) <= 300
        for point, source in zip(points.tolist(), sources.tolist(), strict=True):
            exact = [Fraction(a) - Fraction(b) for a, b in zip(point, source, strict=True)]
            if norm == "linf":
                assert max(abs(a - b) for a, b in zip(point, source, strict=True)) <= epsilon
                if dtype == torch.float32:
                    assert max(abs(change) for change in exact) <= Fraction(epsilon)
            else:
                assert sum(change * change for change in exact) <= Fraction(epsilon) ** 2


def test_what_is_inside_stays() -> None:
    sources = draw(4, 20)
    for norm in ("l2", "linf"):
        ball = ball_of(norm, sources, 0.5)
        inside = sources + 0.1 * torch.nn.functional.normalize(draw(4, 20, seed=1))
        assert torch.equal(ball.fit(inside), inside)
        # One rounding of u + (x - u).
        assert torch.allclose(ball.project(inside.clone()), inside, rtol=0, atol=4 * 2**-24)


@pytest.mark.parametrize("dim", [1, 100, 10_000])
def test_the_l2_bound_is_hardly_smaller_and_holds_for_the_worst_sum(dim: int) -> None:
    """Equal squares are rounded to the same side again and again, if they are added one after the other."""
    was_short = []
    for scale in (0.3, 0.5234, 0.6, 0.7, 0.9):
        ball = ball_of("l2", torch.zeros(2, dim), scale)
        near = ball.project(torch.stack((torch.ones(dim), 10 * draw(dim))))
        points = ball.fit(near)
        assert torch.equal(ball.fit(points), points)
        squares = points.numpy() ** 2
        for summed in (squares.cumsum(axis=1), squares[:, ::-1].cumsum(axis=1), np.sort(squares).cumsum(axis=1)):
            assert (np.sqrt(summed[:, -1]) <= scale).all()
        sizes = points.double().norm(dim=1) / scale
        # The derivation's margins, with 8 more for the scaling and the roundings of the point.
        assert float(sizes[0]) >= 1 - (dim / 4 + 16) * 2**-23
        assert float(sizes[1]) >= 1 - (dim**0.5 / 2 + 12) * 2**-23
        was_short.append(torch.equal(points, near))
    # Some equal squares are rounded up; that is what fit mends.
    assert all(was_short) == (dim < 1000)


def test_sources_beyond_the_range_by_a_rounding() -> None:
    sources = torch.full((2, 5), 1.0) + 2e-7
    for norm in ("l2", "linf"):
        for epsilon in (0.0, 1e-7, 1e-6, 0.1):
            ball = ball_of(norm, sources, epsilon, (0.0, 1.0))
            points = ball.project(ball.centres - 1)
            assert float(points.max()) <= 1
            # Either it is as near to what was given as allowed, or the clipped source itself.
            size = (points - sources).norm(dim=1) if norm == "l2" else (points - sources).abs().amax(dim=1)
            assert bool((size <= epsilon).all()) or torch.equal(points, sources.clamp(max=1.0))


def test_random_points_fill_the_ball() -> None:
    count, dim = 20_000, 3
    for norm, order in (("l2", 2.0), ("linf", math.inf)):
        ball = ball_of(norm, torch.zeros(count, dim), 2.0)
        points = ball.random_points(torch.Generator().manual_seed(0))
        shares = (torch.linalg.vector_norm(points, order, dim=1) / 2) ** dim
        # The d-th power of the size is uniform in [0, 1): mean 1/2 with standard error 1/sqrt(12 n); 5 of them.
        assert abs(float(shares.mean()) - 0.5) <= 5 / math.sqrt(12 * count)
        assert 0.99 < float(shares.max()) <= 1
        # Each coordinate's variance is at most 4 (epsilon^2), its mean 0.
        assert float(points.mean(dim=0).abs().max()) <= 5 * 2 / math.sqrt(count)
        signs = (points > 0).float().mean(dim=0)
        assert bool(((signs - 0.5).abs() <= 5 * 0.5 / math.sqrt(count)).all())


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_points_depend_on_neither_block_nor_precision(norm: str, dtype: torch.dtype) -> None:
    sources = draw(50, 17, dtype=dtype)
    whole = ball_of(norm, sources, 0.5).random_points(torch.Generator().manual_seed(3))
    for block in (1, 7, 16, 49):
        generator = torch.Generator().manual_seed(3)
        parts = [ball_of(norm, part, 0.5).random_points(generator) for part in sources.split(block)]
        # The draws are the same; the lengths are summed in another order, each of some 17 roundings.
        assert torch.allclose(torch.cat(parts), whole, rtol=0, atol=20 * torch.finfo(dtype).eps)
    other = torch.float64 if dtype == torch.float32 else torch.float32
    same = ball_of(norm, draw(50, 17, dtype=other), 0.5).random_points(torch.Generator().manual_seed(3))
    # A few float32 roundings of numbers below 10.
    assert torch.allclose(same.double(), whole.double(), rtol=0, atol=1e-5)
