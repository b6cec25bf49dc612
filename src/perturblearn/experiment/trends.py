"""What curves over many runs say: where they cross a level, and how a quantity grows with others.

Confidence intervals are those of the percentile bootstrap over seeds [Efron93]: all points of a seed are drawn
together, because runs with one seed share draws, and the fit is repeated on every resample. With few seeds such
intervals are too narrow rather than too wide: of three seeds there are ten different resamples.

[Efron93] Efron and Tibshirani, An Introduction to the Bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Crossing:
    """Where a curve first reaches a level.

    Args:
        size: where, interpolated; None where it cannot be said.
        state: ``crossed``; ``never``, if no point reaches the level; ``below``, if the first point does, so that the
            crossing lies below all sizes that were tried.
    """

    size: float | None
    state: str


@dataclass(frozen=True)
class Slope:
    """A fitted coefficient, or a mean, with its 95 % confidence interval over seeds.

    Args:
        value: by least squares over all points.
        low, high: None with fewer than two seeds.
    """

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        interval = "one seed"
        if self.low is not None and self.high is not None:
            interval = f"{_short(self.low)} to {_short(self.high)}"
        return f"{_short(self.value)} ({interval})"


@dataclass(frozen=True)
class Fit:
    """A linear least-squares fit of a quantity, or of its logarithm, over many runs.

    Args:
        slopes: by the name of what it depends on.
        constant: the fit where everything that it depends on is 0 (in a power law: 1).
        residual: root mean square of what the fit leaves, in the fitted quantity's unit (in a power law: of the natural
            logarithm).
        n_points: values that were fitted.
        n_seeds: of how many seeds.
    """

    slopes: Mapping[str, Slope]
    constant: float
    residual: float
    n_points: int
    n_seeds: int


def crossing(sizes: Sequence[float], values: Sequence[float], level: float) -> Crossing:
    """The smallest size at which a curve reaches a level.

    Between the first point that reaches it and the one before, the curve is taken to be straight over the logarithm of
    the size.

    Args:
        sizes: above 0, ascending.
        values: the curve there.
        level: what is to be reached.
    """
    reached = next((place for place, value in enumerate(values) if value >= level), None)
    if reached is None:
        return Crossing(None, "never")
    if reached == 0:
        return Crossing(None, "below")
    share = (level - values[reached - 1]) / (values[reached] - values[reached - 1])
    low, high = math.log(sizes[reached - 1]), math.log(sizes[reached])
    return Crossing(math.exp(low + share * (high - low)), "crossed")


def fit_power_law(factors: Mapping[str, Sequence[float]], values: Sequence[float], seeds: Sequence[int]) -> Fit | None:
    r"""Exponents of :math:`c \prod_k factor_k^{a_k}`, by least squares of the logarithm on those of the factors.

    Args:
        factors: by name, one value above 0 per run.
        values: above 0, one per run.
        seeds: of each run.

    Returns:
        The exponents and c; None where the runs do not fix them.
    """
    fit = fit_line(
        {name: [math.log(value) for value in of_runs] for name, of_runs in factors.items()},
        [math.log(value) for value in values],
        seeds,
    )
    return fit and Fit(fit.slopes, math.exp(fit.constant), fit.residual, fit.n_points, fit.n_seeds)


def fit_line(variables: Mapping[str, Sequence[float]], values: Sequence[float], seeds: Sequence[int]) -> Fit | None:
    """Slopes of a quantity in several variables at once, by least squares.

    Args:
        variables: by name, one value per run.
        values: one per run.
        seeds: of each run.

    Returns:
        None where the runs do not fix the slopes: too few of them, or variables that do not vary independently.
    """
    design = np.column_stack([np.ones(len(values)), *(np.asarray(column, float) for column in variables.values())])
    target = np.asarray(values, float)
    if len(target) == 0 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    # By lstsq, not by the normal equations, whose condition is the design's squared: this is the reported value.
    coefficients = np.linalg.lstsq(design, target, rcond=None)[0]
    names, places = np.unique(np.asarray(seeds), return_inverse=True)
    resampled = _resampled(design, target, places, len(names)) if len(names) > 1 else None
    slopes = {}
    for column, name in enumerate(variables, start=1):
        low, high = (None, None) if resampled is None else _interval(resampled[:, column])
        slopes[name] = Slope(float(coefficients[column]), low, high)
    residual = float(np.sqrt(np.mean((target - design @ coefficients) ** 2)))
    return Fit(slopes, float(coefficients[0]), residual, len(target), len(names))


def mean_of_seeds(values: Sequence[float]) -> Slope:
    """Mean over seeds with Student's interval, which holds for few seeds of nearly normal values.

    Args:
        values: one per seed.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Slope(mean, None, None)
    from scipy.special import stdtrit  # few commands need it

    reach = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Slope(mean, mean - reach, mean + reach)


def _resampled(design: np.ndarray, target: np.ndarray, places: np.ndarray, n_seeds: int) -> np.ndarray:
    """Coefficients of as many resamples of the seeds as determine them, one a row."""
    # Not scipy.stats.bootstrap: it has no way to leave out the resamples that do not fix the slopes, which few seeds
    # make often, and one of them turns the whole interval into NaN. From the normal equations of each seed, added up,
    # because 2,000 fits of all runs would take 2,000 decompositions of the whole design.
    generator = np.random.default_rng(0)  # of the interval, not of any result
    squares = np.stack([design[places == seed].T @ design[places == seed] for seed in range(n_seeds)])
    products = np.stack([design[places == seed].T @ target[places == seed] for seed in range(n_seeds)])
    drawn = generator.integers(n_seeds, size=(RESAMPLES, n_seeds))
    square, product = squares[drawn].sum(axis=1), products[drawn].sum(axis=1)
    fixed = np.linalg.matrix_rank(square) == design.shape[1]
    return np.linalg.solve(square[fixed], product[fixed][..., None])[..., 0]


def _short(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # never -0.000


def _interval(values: np.ndarray) -> tuple[float, float]:
    rest = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, (rest, 1 - rest))
    return float(low), float(high)
