"""Measures of several seeds summed up, and g compared with its controls."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict, cast

from perturblearn.experiment.measured import HELDOUT, TRAINING, AccuracyNames, Number, SeedMeasures
from perturblearn.experiment.measures import MEASURES

BEATEN_SHARE = 0.95
"""Share of a control's draws that g must beat before we say that it has learned something."""
_QUANTILE = statistics.NormalDist().inv_cdf(0.975)
"""Of the normal distribution, for intervals of 95 %."""


class Spread(TypedDict):
    """Mean and standard deviation over several values; None where there are too few."""

    mean: Number
    std: Number
    """With n - 1 in the denominator."""


class Summary(Spread):
    """A measure over several seeds."""

    median: Number
    values: list[Number]
    interval: NotRequired[list[float]]
    """Of a share of the held-out inputs, the `wilson_interval` of its mean for their number."""


class ControlSummary(Summary):
    """A control over all its draws, seed by seed."""

    draws_per_seed: int
    beaten: float
    """Share of the draws that g of the same seed beats."""
    standard_error: float | None
    """Of the mean."""
    at_chance: bool | None
    """Whether the mean lies within 3 standard errors of 1/K; None for one draw, and for mixed sets."""


Summaries = Mapping[str, Summary]
"""Summaries by measure; those of controls are `ControlSummary`, see `controls_of`."""


def summarise(values: Sequence[float | None]) -> Summary:
    """Mean, standard deviation (n - 1), median and the values themselves; None where there is nothing to take it of."""
    known = [value for value in values if value is not None]
    # Of the standard library and not of numpy: its sums are exact, so no number depends on the order of the seeds.
    return {
        "mean": statistics.fmean(known) if known else None,
        "std": statistics.stdev(known) if len(known) > 1 else None,
        "median": statistics.median(known) if known else None,
        "values": list(values),
    }


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval of 95 % for a share: how far another sample of this size may lead away from it.

    Args:
        share: measured, in [0, 1].
        count: inputs that it was measured on, at least 1.
    """
    z = _QUANTILE
    middle, half = share + z**2 / (2 * count), z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    # At 0 and 1 one end is the share itself, but for rounding.
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def with_interval(name: str, values: Summary, n_heldout: int) -> Summary:
    """A summary with its sampling interval, where it is one of a share of the held-out inputs.

    The seeds have these inputs, or most of them, in common, so that more seeds make the interval no narrower.

    Args:
        name: of the measure.
        values: over the seeds.
        n_heldout: held-out inputs of one seed.
    """
    mean = values["mean"]
    if name not in MEASURES or not MEASURES[name].is_heldout_share or mean is None or n_heldout == 0:
        return values
    return {**values, "interval": list(wilson_interval(mean, n_heldout))}


def n_heldout_of(seeds: Sequence[SeedMeasures]) -> int:
    """Held-out inputs of a seed; the fewest where they differ."""
    return min(sum(seed.classes.n_heldout) for seed in seeds)


def summarise_seeds(seeds: Sequence[SeedMeasures], *, mixed: bool = False) -> dict[str, Summary]:
    """Every measure over all seeds, and every control over all its draws.

    Args:
        seeds: as `Experiment.measures` gives them.
        mixed: g and its controls have seen clean samples too, with their true labels.

    Returns:
        By measure a `Summary` with one value per seed, by control a `ControlSummary` with one per draw.
    """
    # Controls of mixed sets learn the classes as well, so chance says nothing about them.
    chance = None if mixed else chance_of(seeds)
    # A limit, or what is compared with it, may exist for one seed and not for another.
    names = dict.fromkeys(name for seed in seeds for name in seed.measures)
    summary: dict[str, Summary] = {name: summarise([seed.measures.get(name) for seed in seeds]) for name in names}
    for control in seeds[0].controls:
        for part in (TRAINING, HELDOUT):
            draws = [seed.controls[control].on(part) for seed in seeds]
            reached = [seed.measures[part.perturbation] for seed in seeds]
            summary[part.controls[control]] = _summarise_control(draws, reached, chance)
    n_heldout = n_heldout_of(seeds)
    return {name: with_interval(name, values, n_heldout) for name, values in summary.items()}


def controls_of(summary: Summaries, part: AccuracyNames = HELDOUT) -> dict[str, ControlSummary]:
    """The controls on some inputs, by their names; none if no draws were asked for.

    Args:
        summary: of a run.
        part: the inputs.
    """
    return {
        control: cast("ControlSummary", summary[name]) for control, name in part.controls.items() if name in summary
    }


def chance_of(seeds: Sequence[SeedMeasures]) -> float:
    """What guessing reaches, 1/K: with targets independent of the labels, the mean of a control's draws."""
    return 1 / len(seeds[0].classes.names)


def numbers_of(seed: SeedMeasures) -> dict[str, Number]:
    """What one seed has measured, as one number each.

    Returns:
        The chosen ``standard_lr`` and ``perturbation_lr``, every measure, and of every control the mean of its draws,
        in the order of `MEASURES`, whatever order they come in: records are sorted by name.
    """
    controls = {
        part.controls[control]: sum(draws.on(part)) / len(draws.on(part))
        for control, draws in seed.controls.items()
        for part in (TRAINING, HELDOUT)
    }
    measured = {**seed.measures, **controls}
    rates = {"standard_lr": seed.standard_lr, "perturbation_lr": seed.perturbation_lr}
    return {**rates, **{name: measured[name] for name in MEASURES if name in measured}, **measured}


def _summarise_control(
    draws: Sequence[Sequence[float]], reached: Sequence[float], chance: float | None
) -> ControlSummary:
    flat = [value for of_seed in draws for value in of_seed]
    beaten = [value < g for of_seed, g in zip(draws, reached, strict=True) for value in of_seed]
    error = _standard_error(draws)
    return {
        **summarise(flat),
        "draws_per_seed": len(draws[0]),
        "beaten": sum(beaten) / len(beaten),
        "standard_error": error,
        "at_chance": None if error is None or chance is None else abs(statistics.fmean(flat) - chance) <= 3 * error,
    }


def _standard_error(draws: Sequence[Sequence[float]]) -> float | None:
    """Standard error of the mean over all draws.

    Draws of one seed share its data and perturbed set, so they can lean to one side together: the larger of the error
    over single draws and the error over the seeds' means counts.
    """
    flat = [value for of_seed in draws for value in of_seed]
    errors = []
    if len(flat) > 1:
        errors.append(statistics.stdev(flat) / math.sqrt(len(flat)))
    if len(draws) > 1:
        errors.append(statistics.stdev(statistics.fmean(of_seed) for of_seed in draws) / math.sqrt(len(draws)))
    return max(errors, default=None)
