"""Measures of several seeds summed up, and g compared with its controls."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

BEATEN_SHARE = 0.95
"""Share of a control's draws that g must beat before we say that it has learned something."""


def summarise(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, standard deviation (n - 1), median and the values themselves; None where there is nothing to take it of."""
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "std": statistics.stdev(known) if len(known) > 1 else None,
        "median": statistics.median(known) if known else None,
        "values": list(values),
    }


def summarise_seeds(seeds: Sequence[Mapping[str, Any]], *, mixed: bool = False) -> dict[str, dict[str, Any]]:
    """Every measure over all seeds, and every control over all its draws.

    Args:
        seeds: as `Experiment.measures` gives them.
        mixed: g and its controls have seen clean samples too, with their true labels.

    Returns:
        By measure: ``mean``, ``std``, ``median``, ``values`` (one per seed; of a control one per draw, seed by seed).
        A control has also ``beaten`` (share of draws that g of the same seed beats), ``standard_error`` of its mean and
        ``at_chance``, whether the mean lies within 3 standard errors of 1/K (None for one draw, and for mixed sets,
        from which controls learn the classes as well).
    """
    chance = None if mixed else chance_of(seeds)
    # A limit, or what is compared with it, may exist for one seed and not for another.
    names = dict.fromkeys(name for seed in seeds for name in seed["measures"])
    summary = {name: summarise([seed["measures"].get(name) for seed in seeds]) for name in names}
    for control in seeds[0]["controls"]:
        for part in ("", "_heldout"):
            draws = [seed["controls"][control][f"accuracy{part}"] for seed in seeds]
            reached = [seed["measures"][f"perturbation_accuracy{part}"] for seed in seeds]
            summary[f"{control}_control{part}"] = _summarise_control(draws, reached, chance)
    return summary


def chance_of(seeds: Sequence[Mapping[str, Any]]) -> float:
    """What guessing reaches, 1/K: with targets independent of the labels, the mean of a control's draws."""
    return 1 / len(seeds[0]["classes"]["names"])


def _summarise_control(
    draws: Sequence[Sequence[float]], reached: Sequence[float], chance: float | None
) -> dict[str, Any]:
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
