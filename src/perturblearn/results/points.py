"""Points of a figure beside the published ones, and what is said of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from perturblearn.experiment import MEASURES, wilson_interval
from perturblearn.results.data_size import DataSize

if TYPE_CHECKING:
    from perturblearn.papers import Figure, FigurePoint

INSIDE, OUTSIDE = "inside our spread", "outside"
AGREES, DIFFERS = "within reading error", "beyond reading error"
"""At the published seed, with the draws of the paper's script."""
UNREADABLE, NOT_GIVEN, FAILED, NOT_RUN = "unreadable", "not given", "failed", "not run"
SMALLER, CHANGED = "smaller problem", "changed problem"
TOLERANCE = 0.05
"""A published value this near to our mean is inside."""
DEVIATIONS = 2
"""And so is one within so many standard deviations over the seeds."""
READING_ERROR = 0.02
"""How far a value that is read off a figure may be from the value itself."""


@dataclass(frozen=True)
class ShownPanel:
    """What a panel is.

    Args:
        number: counted from 1.
        name: its axis and what is fixed.
        x: the setting along the axis; None for a picture.
        log_x: whether the axis is logarithmic.
        seed: of the published points, where they were made again with its draws.
    """

    number: int
    name: str
    x: str | None
    log_x: bool
    seed: int | None = None


@dataclass(frozen=True)
class PointRow:
    """One point and measure.

    Args:
        figure: its name.
        panel: the panel's number, counted from 1.
        x: the panel's varied setting, the first where several go together.
        measure: the published name; with its way in brackets where the paper has another.
        mean, std: over the seeds; None without a run, and the deviation without a second one.
        n_seeds: runs that were finished; 0 for a prediction.
        published: the published value; None where there is none.
        difference: our mean minus that.
        verdict: inside our spread, outside, unreadable, not given, smaller problem, changed problem, failed or not run.
        at_seed: the value at the published seed, with the draws of the paper's script; None where it was not run.
        seed_difference: that minus the published value.
        seed_verdict: within or beyond the reading error, failed, or empty where nothing is to be compared.
        quantile: the share of our own seeds that lie below the published value, those that equal it half.
        low, high: the sampling interval of our mean where it is a share of the held-out inputs, see `wilson_interval`.
        n_samples, input_dim, n_heldout: the size of the data; None where it is not known.
    """

    figure: str
    panel: int
    x: Any
    measure: str
    mean: float | None
    std: float | None
    n_seeds: int
    published: float | None
    difference: float | None
    verdict: str
    at_seed: float | None = None
    seed_difference: float | None = None
    seed_verdict: str = ""
    quantile: float | None = None
    low: float | None = None
    high: float | None = None
    n_samples: int | None = None
    input_dim: int | None = None
    n_heldout: int | None = None


Measured = Mapping[str, float | None]


def point_rows(
    figure: Figure,
    points: Sequence[FigurePoint],
    measured: Sequence[Sequence[Measured]],
    at_seed: Mapping[tuple[int, int], Measured | None] | None = None,
    *,
    sizes: Mapping[tuple[int, int], DataSize] | None = None,
    has_own: bool = True,
) -> list[PointRow]:
    """Every point and measure of a figure.

    Args:
        figure: as it was run.
        points: its points.
        measured: for every point, what each of its finished runs has measured.
        at_seed: by panel and place, what the run at the published seed has measured; None for one that failed.
        sizes: of the data, by panel and place.
        has_own: whether our own seeds were run.

    Returns:
        Panel by panel, measure by measure, point by point; measures that no run of a way has are left out.
    """
    rows: list[tuple[tuple[int, int, int], PointRow]] = []
    first = next(iter(figure.ways))
    of_seed = at_seed or {}
    for way_number, way in enumerate(figure.ways):
        of_way = [(point, runs) for point, runs in zip(points, measured, strict=True) if point.way == way]
        seen = [run for _, runs in of_way for run in runs]
        seen += [run for run in of_seed.values() if run] if way == first else []
        for number, (name, ours) in enumerate(figure.measures.items()):
            if seen and not any(ours in run for run in seen):
                continue
            shown = name if way == first else f"{name} ({way})"
            for point, runs in of_way:
                values = [value for run in runs if (value := run.get(ours)) is not None]
                place = (point.panel, way_number, number)
                row = _row(figure, point, shown, name, values, has_own=has_own)
                if way == first and (point.panel, point.place) in of_seed:
                    row = _with_seed(row, (of_seed[point.panel, point.place] or {}).get(ours))
                rows.append((place, _with_size(row, (sizes or {}).get((point.panel, point.place)), ours)))
    for number, (law, predict) in enumerate(figure.laws.items(), start=len(figure.ways)):
        name = next(iter(figure.measures))
        for point in _each_once(points):
            value = predict(figure.settings_at(point))
            if value is not None:
                row = _row(figure, point, f"{name} ({law})", name, [value], is_law=True)
                rows.append(((point.panel, number, 0), row))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _row(
    figure: Figure,
    point: FigurePoint,
    shown: str,
    name: str,
    values: Sequence[float],
    *,
    is_law: bool = False,
    has_own: bool = True,
) -> PointRow:
    from perturblearn.papers import published

    known = published(figure.name)
    series = None if known is None else known.series(point.panel, name)
    panel = figure.panels[point.panel - 1]
    value = None if series is None else series[point.place]
    mean = statistics.fmean(values) if values else None
    is_run = mean is not None
    std = statistics.stdev(values) if len(values) > 1 else None
    difference = None if mean is None or value is None else mean - value
    return PointRow(
        figure=figure.name,
        panel=point.panel,
        x=panel.name if panel.x is None else point.values[panel.x],
        measure=shown,
        mean=mean,
        std=std,
        n_seeds=0 if is_law else len(values),
        published=value,
        difference=difference,
        verdict=_verdict(figure, series is not None, difference, std, value is not None, is_run)
        if has_own or is_law
        else NOT_RUN,
        quantile=None if value is None or is_law else _quantile(value, values),
    )


def _with_size(row: PointRow, size: DataSize | None, measure: str) -> PointRow:
    """A row with the size of its data, and of a share of the held-out inputs with the interval that follows from it."""
    if size is None:
        return row
    row = replace(row, **size.to_dict())
    if row.mean is None or measure not in MEASURES or not MEASURES[measure].is_heldout_share:
        return row
    low, high = wilson_interval(row.mean, size.n_heldout)
    return replace(row, low=low, high=high)


def _with_seed(row: PointRow, value: float | None) -> PointRow:
    """A row with the value at the published seed beside the others."""
    if value is None:
        return replace(row, seed_verdict=FAILED)
    if row.published is None:
        return replace(row, at_seed=value)
    difference = value - row.published
    # Published values have three digits, so a difference of just the error is not left to rounding.
    verdict = AGREES if abs(difference) <= READING_ERROR + 1e-9 else DIFFERS
    return replace(row, at_seed=value, seed_difference=difference, seed_verdict=verdict)


def _quantile(value: float, values: Sequence[float]) -> float | None:
    if not values:
        return None
    return statistics.fmean(0.5 if other == value else float(other < value) for other in values)


def _verdict(
    figure: Figure, is_given: bool, difference: float | None, std: float | None, is_readable: bool, has_run: bool
) -> str:
    if not has_run:
        return FAILED
    if not is_given:
        return NOT_GIVEN
    if not is_readable:
        return UNREADABLE
    if not figure.is_the_paper_s:
        return SMALLER if figure.smaller and not figure.is_modern else CHANGED
    assert difference is not None
    # Published values have three digits, so a difference of just the tolerance is not left to rounding.
    near = abs(difference) <= TOLERANCE + 1e-9 or (std is not None and abs(difference) <= DEVIATIONS * std)
    return INSIDE if near else OUTSIDE


def curve_of(measure: str) -> tuple[str, str]:
    """The published name of a measure, and the way in its brackets; no way for the paper's own."""
    name, _, way = measure.removesuffix(")").partition(" (")
    return name, way


def _each_once(points: Sequence[FigurePoint]) -> list[FigurePoint]:
    return list({(point.panel, point.place): point for point in points}.values())
