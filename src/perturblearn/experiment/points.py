"""Experiments that belong together, such as those of a sweep or a figure, and what came of each."""

from __future__ import annotations

from dataclasses import dataclass, field

from perturblearn.config import ExperimentConfig, Keys
from perturblearn.experiment.measured import SeedMeasures


@dataclass(frozen=True)
class Point:
    """One experiment among many.

    Args:
        values: what is varied, by the name that people know it by.
        config: the experiment; each of its seeds is a run of its own.
    """

    values: Keys
    config: ExperimentConfig


@dataclass(frozen=True)
class Outcome:
    """What came of one run: one seed of one point.

    Args:
        point: the point's number, counted from 0.
        seed: the run's seed.
        key: hash of the run's stages.
        measured: what the run has measured; None for a run that failed.
        error: the sentence that it failed with.
    """

    point: int
    seed: int
    key: str
    measured: SeedMeasures | None = field(default=None, repr=False)
    error: str | None = None
