"""Crossings and fits on made-up data whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perturblearn.experiment.trends import Slope, crossing, fit_line, fit_power_law, mean_of_seeds


def test_a_crossing_lies_between_the_points_around_it() -> None:
    found = crossing([1, 10, 100], [0.5, 0.8, 1.0], 0.9)
    # Half of the way from 0.8 to 1.0, over the logarithm.
    assert found.state == "crossed"
    assert found.size == pytest.approx(10**1.5)
    assert crossing([1, 10, 100], [0.5, 0.9, 1.0], 0.9).size == pytest.approx(10)
    assert crossing([1, 2, 4, 8], [0.5, 0.95, 0.7, 1.0], 0.9).size == pytest.approx(2 ** (0.4 / 0.45)), "the first"


@pytest.mark.parametrize(("values", "state"), [([0.5, 0.6, 0.89], "never"), ([0.9, 0.95, 1.0], "below"), ([], "never")])
def test_what_was_not_reached_has_no_size(values: list[float], state: str) -> None:
    found = crossing([1.0, 10.0, 100.0][: len(values)], values, 0.9)
    assert (found.size, found.state) == (None, state)


def test_an_exact_power_law() -> None:
    d, n = [100, 200, 400, 400, 400], [50, 50, 50, 100, 200]
    values = [3 * a**0.5 * b**-0.25 for a, b in zip(d, n, strict=True)]
    fit = fit_power_law({"d": d * 2, "N": n * 2}, values * 2, [0] * 5 + [1] * 5)
    assert fit is not None
    assert fit.constant == pytest.approx(3)
    assert fit.residual < 1e-12
    assert (fit.n_points, fit.n_seeds) == (10, 2)
    for name, exponent in (("d", 0.5), ("N", -0.25)):
        slope = fit.slopes[name]
        assert slope.low is not None
        assert slope.high is not None
        assert slope.value == pytest.approx(exponent)
        assert (slope.low, slope.high) == (pytest.approx(exponent), pytest.approx(exponent))


def test_seeds_are_drawn_whole() -> None:
    # Two seeds with slopes 1 and 3: a resample has one of them twice (each a quarter of the time), or both.
    x, seeds = [0.0, 1.0, 0.0, 1.0], [7, 7, 9, 9]
    fit = fit_line({"x": x}, [0.0, 1.0, 0.0, 3.0], seeds)
    assert fit is not None
    assert fit.slopes["x"].value == pytest.approx(2)
    assert fit.slopes["x"].low == pytest.approx(1)
    assert fit.slopes["x"].high == pytest.approx(3)
    assert str(fit.slopes["x"]) == "2.000 (1.000 to 3.000)"


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    x = np.tile(np.linspace(0, 1, 5), 12)
    seeds = np.repeat(np.arange(12), 5)
    held, rounds = 0, 60
    for _ in range(rounds):
        of_seed = generator.normal(size=12)[seeds]  # each seed has a slope of its own: runs of one seed go together
        fit = fit_line({"x": x.tolist()}, (x * (2 + of_seed)).tolist(), seeds.tolist())
        assert fit is not None
        low, high = fit.slopes["x"].low, fit.slopes["x"].high
        assert low is not None
        assert high is not None
        held += low <= 2 <= high
    # 95 % wanted; percentile intervals of 12 seeds reach about 92 %. 54 of 60 less 3 binomial errors of 0.92: 0.82.
    assert held / rounds > 0.92 - 3 * math.sqrt(0.92 * 0.08 / rounds)


def test_one_seed_has_no_interval() -> None:
    fit = fit_line({"x": [0.0, 1.0, 2.0]}, [1.0, 2.0, 3.5], [0, 0, 0])
    assert fit is not None
    assert fit.slopes["x"].low is None
    assert str(fit.slopes["x"]) == "1.250 (one seed)"
    assert str(Slope(-1e-9, -0.0004, 0.25)) == "0.000 (0.000 to 0.250)"
    assert fit.residual == pytest.approx(math.sqrt((2 * 0.25**2 / 9 + 4 * 0.25**2 / 9) / 3))


def test_runs_that_do_not_fix_a_slope() -> None:
    assert fit_power_law({"d": [10, 10], "N": [5, 7]}, [1.0, 2.0], [0, 0]) is None
    assert fit_power_law({"d": [10, 20], "N": [10, 20]}, [1.0, 2.0], [0, 0]) is None
    assert fit_power_law({"d": []}, [], []) is None


def test_a_mean_over_seeds_has_student_s_interval() -> None:
    found = mean_of_seeds([1.0, 2.0, 4.0, 5.0])
    # 3.1824 standard errors for 3 degrees of freedom.
    reach = 3.182446 * math.sqrt(10 / 3) / 2
    assert (found.value, found.low, found.high) == pytest.approx((3.0, 3.0 - reach, 3.0 + reach), rel=1e-5)
    assert mean_of_seeds([2.0]) == Slope(2.0, None, None)
