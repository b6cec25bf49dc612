"""A sweep: what came of every run, and of every point over its seeds."""

# Pandas is not typed.
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from perturblearn.config import JSON, Keys, Sweep, resolve_sweep
from perturblearn.experiment import Number, Outcome, Point, n_heldout_of, numbers_of, summarise, with_interval
from perturblearn.results.data_size import SIZE_COLUMNS, DataSize, only_size
from perturblearn.results.files import File, Form, csv_text, json_text
from perturblearn.results.finished import Finished
from perturblearn.results.rows import Row, columns_of, plain, to_frame
from perturblearn.results.shown import report_on

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Spread:
    """A measure over the finished runs of a point.

    Args:
        mean, std: None where nothing was measured, or too little.
        interval: the sampling interval of a share of the held-out inputs.
    """

    mean: float | None
    std: float | None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class SweepPoint:
    """What came of the runs of one point.

    Args:
        number: counted from 1.
        values: what is varied, by dotted key.
        size: of its data; None if no run finished.
        finished, failed: how many runs.
        measures: by name.
    """

    number: int
    values: Keys
    size: DataSize | None
    finished: int
    failed: int
    measures: Mapping[str, Spread]

    @classmethod
    def of(cls, number: int, values: Keys, size: DataSize | None, outcomes: Sequence[Outcome]) -> SweepPoint:
        """The numbers of a point's runs, those of failed ones left out."""
        seeds = [outcome.measured for outcome in outcomes if outcome.measured is not None]
        measured, n_heldout = list(map(numbers_of, seeds)), n_heldout_of(seeds) if seeds else 0
        measures: dict[str, Spread] = {}
        for name in columns_of(measured):
            summary = with_interval(name, summarise([numbers.get(name) for numbers in measured]), n_heldout)
            low_high = summary.get("interval")
            interval = None if low_high is None else (low_high[0], low_high[1])
            measures[name] = Spread(summary["mean"], summary["std"], interval)
        return cls(number, values, size, len(measured), len(outcomes) - len(measured), measures)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], varied: Sequence[str]) -> SweepPoint:
        """What `row` gave.

        Args:
            row: by column.
            varied: the keys that vary.
        """
        measures = {
            name: Spread(row[column], row[f"{name}_std"], _pair(row.get(f"{name}_low"), row.get(f"{name}_high")))
            for column in row
            if column != (name := column.removesuffix("_mean")) and f"{name}_std" in row
        }
        size = only_size([tuple(row.get(name) for name in SIZE_COLUMNS)])
        values = {name: row[name] for name in varied}
        return cls(row["point"], values, size, row["finished"], row["failed"], measures)

    @property
    def row(self) -> Row:
        """The same by column, as files hold it."""
        row: dict[str, JSON] = {"point": self.number, **self.values}
        row |= dict.fromkeys(SIZE_COLUMNS) if self.size is None else self.size.to_dict()
        return {**row, "finished": self.finished, "failed": self.failed, **self.statistics}

    @property
    def statistics(self) -> dict[str, float | None]:
        """Mean and deviation of every measure by column, and its interval where it has one."""
        found: dict[str, float | None] = {}
        for name, spread in self.measures.items():
            found |= {f"{name}_mean": spread.mean, f"{name}_std": spread.std}
            if spread.interval is not None:
                found |= dict(zip((f"{name}_low", f"{name}_high"), spread.interval, strict=True))
        return found

    def spread(self, measure: str) -> Spread:
        """Mean and deviation of a measure; None where it was not measured."""
        return self.measures.get(measure, Spread(None, None))


@dataclass(frozen=True)
class SweepRun:
    """What came of one run.

    Args:
        point: the number of its point.
        key: hash of its stages.
        values: what is varied, by dotted key.
        seed: its seed.
        error: the sentence that it failed with; None for one that finished.
        numbers: what it has measured, by name.
    """

    point: int
    key: str
    values: Keys
    seed: int
    error: str | None
    numbers: Mapping[str, Number]

    @classmethod
    def from_row(cls, row: Mapping[str, Any], varied: Sequence[str]) -> SweepRun:
        """What `row` gave; see `SweepPoint.from_row`."""
        about = ("point", "key", "seed", "error")
        numbers = {name: value for name, value in row.items() if name not in (*about, *varied)}
        values = {name: row[name] for name in varied}
        return cls(row["point"], row["key"], values, row["seed"], row["error"], numbers)

    @property
    def row(self) -> Row:
        """The same by column, as files hold it."""
        about = {"point": self.point, "key": self.key}
        return {**about, **self.values, "seed": self.seed, "error": self.error, **self.numbers}


@dataclass(frozen=True, repr=False)
class SweepResult(Finished):
    """What a sweep has measured.

    Args:
        sweep: what was asked for.
        key: hash of all runs' stages.
        table: every point with what its runs have measured.
        runs: every run.
        finished_before: runs that were finished before, whose records were taken.
    """

    form: ClassVar[Form] = Form("sweep.json", "sweep", 1, "sweep", "run the sweep again")

    sweep: Sweep
    key: str
    table: Sequence[SweepPoint]
    runs: Sequence[SweepRun]
    finished_before: int = 0

    @classmethod
    def of(
        cls,
        sweep: Sweep,
        key: str,
        points: Sequence[Point],
        outcomes: Sequence[Outcome],
        *,
        sizes: Mapping[int, DataSize] | None = None,
        finished_before: int = 0,
        seconds: float = 0.0,
    ) -> SweepResult:
        """The result of runs.

        Args:
            sweep, key, finished_before, seconds: as in `SweepResult`.
            points: the experiments, in the order of the axes.
            outcomes: what came of every run, point by point and seed by seed.
            sizes: of the data, by the number of the point from 0; none of points whose runs failed.
        """
        of_point: list[list[Outcome]] = [[] for _ in points]
        for outcome in outcomes:
            of_point[outcome.point].append(outcome)
        table = [
            SweepPoint.of(number + 1, point.values, (sizes or {}).get(number), of_it)
            for number, (point, of_it) in enumerate(zip(points, of_point, strict=True))
        ]
        runs = [
            SweepRun(
                outcome.point + 1,
                outcome.key,
                points[outcome.point].values,
                outcome.seed,
                outcome.error,
                {} if outcome.measured is None else numbers_of(outcome.measured),
            )
            for outcome in outcomes
        ]
        return cls(sweep, key, table, runs, finished_before, seconds=seconds)

    @property
    def varied(self) -> list[str]:
        """What varies from point to point, by dotted key, in the order of the axes."""
        return _varied(self.sweep)

    @property
    def size(self) -> DataSize | None:
        """The size of the data, if it is known and the same at all points where anything was measured."""
        different = {point.size for point in self.table if point.finished}
        return different.pop() if len(different) == 1 else None

    @property
    def points(self) -> list[Point]:
        """The experiments, in the order of the axes."""
        return [Point(values, config) for values, config in self.sweep.points()]

    @property
    def failed(self) -> list[SweepRun]:
        """The runs that failed; each says why."""
        return [run for run in self.runs if run.error is not None]

    @property
    def summary(self) -> str:
        """How many runs there were, in one line."""
        return report_on(self).summary

    def _content(self) -> dict[str, Any]:
        return {
            "name": self.sweep.name,
            "key": self.key,
            "sweep": self.sweep.tree,
            "n_points": len(self.table),
            "n_runs": len(self.runs),
            "n_failed": len(self.failed),
            "points": [point.row for point in self.table],
            "runs": [run.row for run in self.runs],
            "seconds": self.seconds,
        }

    @classmethod
    def _from_dict(cls, content: dict[str, Any], folder: Path) -> SweepResult:
        sweep = resolve_sweep(content["sweep"])
        varied = _varied(sweep)
        _check(content["points"], content["runs"], varied)
        return cls(
            sweep=sweep,
            key=content["key"],
            table=[SweepPoint.from_row(row, varied) for row in content["points"]],
            runs=[SweepRun.from_row(row, varied) for row in content["runs"]],
            seconds=content["seconds"],
        )

    def to_frame(self) -> pandas.DataFrame:
        """One row per run: number of its point, key, what is varied, seed, error, learning rates, measures, controls.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return to_frame([run.row for run in self.runs])

    def files(self) -> Iterator[File]:
        """``sweep.toml``, ``sweep.json``, ``runs.csv`` and ``table.md``."""
        yield "sweep.toml", self.sweep.to_toml()
        yield self.form.file, json_text(self.to_dict())
        yield "table.md", report_on(self).markdown
        yield "runs.csv", _csv_of([run.row for run in self.runs])

    def to_csv(self) -> str:
        """A row per point in CSV."""
        return _csv_of([point.row for point in self.table])

    def __repr__(self) -> str:
        return self._describe(repr(self.sweep.name), f"{len(self.table)} points", f"{len(self.runs)} runs")


def _csv_of(rows: Sequence[Row]) -> str:
    return csv_text(columns_of(rows), [{column: plain(value) for column, value in row.items()} for row in rows])


def _varied(sweep: Sweep) -> list[str]:
    return [name for axis in sweep.axes for name in axis.settings]


def _pair(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (low, high)


def _check(points: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> None:
    """Raise a ValueError for rows that lack what every row has, or hold what is no number."""
    for number, row in enumerate(points, start=1):
        if row["point"] != number or not {"finished", "failed", *varied} <= set(row):
            raise ValueError(f"point {number} is incomplete")
    for number, row in enumerate(runs, start=1):
        if not 1 <= row["point"] <= len(points) or not {"key", "seed", "error", *varied} <= set(row):
            raise ValueError(f"run {number} is incomplete")
    if not points or not runs:
        raise ValueError("it has no points or no runs")
    for row in (*points, *runs):
        for name in set(row) - {"key", "error", *varied}:
            if not _is_number(row[name]):
                raise ValueError(f"{name} of point {row['point']} is no number")


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, or None where nothing was measured."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (is_real and math.isfinite(value))
