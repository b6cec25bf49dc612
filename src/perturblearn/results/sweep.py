"""A sweep: what came of every run, and of every point over its seeds."""

# Pandas is not typed.
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from perturblearn.config import Sweep, resolve_sweep
from perturblearn.experiment import Outcome, Point, n_heldout_of, numbers_of, summarise, with_interval
from perturblearn.results.data_size import SIZE_COLUMNS, DataSize, only_size
from perturblearn.results.files import File, Form, csv_text, json_text
from perturblearn.results.finished import Finished
from perturblearn.results.rows import Values, columns_of, plain, to_frame
from perturblearn.results.shown import report_on

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class SweepResult(Finished):
    """What a sweep has measured.

    Args:
        sweep: what was asked for.
        key: hash of all runs' stages.
        table: a row per point: its number from 1, what is varied, the size of its data as in `DataSize`, how many runs
            finished and failed, mean and deviation of every measure, and the sampling interval of shares of the
            held-out inputs.
        runs: a row per run: number of its point, key, seed, what is varied, its numbers or its error.
        finished_before: runs that were finished before, whose records were taken.
    """

    form: ClassVar[Form] = Form("sweep.json", "sweep", 1, "sweep", "run the sweep again")

    sweep: Sweep
    key: str
    table: Sequence[Values]
    runs: Sequence[Values]
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
            {"point": number + 1, **point.values, **_size_columns((sizes or {}).get(number)), **_summed_up(of_it)}
            for number, (point, of_it) in enumerate(zip(points, of_point, strict=True))
        ]
        runs = [
            {
                "point": outcome.point + 1,
                "key": outcome.key,
                **points[outcome.point].values,
                "seed": outcome.seed,
                "error": outcome.error,
                **({} if outcome.measured is None else numbers_of(outcome.measured)),
            }
            for outcome in outcomes
        ]
        return cls(sweep, key, table, runs, finished_before, seconds=seconds)

    @property
    def varied(self) -> list[str]:
        """What varies from point to point, by dotted key, in the order of the axes."""
        return [name for axis in self.sweep.axes for name in axis.settings]

    @property
    def size(self) -> DataSize | None:
        """The size of the data, if it is known and the same at all points where anything was measured."""
        return only_size(tuple(row.get(name) for name in SIZE_COLUMNS) for row in self.table if row["finished"])

    @property
    def points(self) -> list[Point]:
        """The experiments, in the order of the axes."""
        return [Point(values, config) for values, config in self.sweep.points()]

    @property
    def failed(self) -> list[Values]:
        """The rows of the runs that failed; each says why."""
        return [row for row in self.runs if row["error"] is not None]

    @property
    def summary(self) -> str:
        """How many runs there were, in one line."""
        return report_on(self).summary

    def to_dict(self) -> dict[str, Any]:
        """The sweep as JSON values: the content of ``sweep.json`` and of ``--json``."""
        return {
            "schema": self.form.schema,
            "kind": self.form.kind,
            "name": self.sweep.name,
            "key": self.key,
            "folder": None if self.folder is None else str(self.folder),
            "sweep": self.sweep.tree,
            "n_points": len(self.table),
            "n_runs": len(self.runs),
            "n_failed": len(self.failed),
            "points": list(self.table),
            "runs": list(self.runs),
            "versions": dict(self.versions),
            "seconds": self.seconds,
        }

    @classmethod
    def _from_dict(cls, content: dict[str, Any], folder: Path) -> SweepResult:
        found = cls(
            sweep=resolve_sweep(content["sweep"]),
            key=content["key"],
            table=content["points"],
            runs=content["runs"],
            folder=folder,
            seconds=content["seconds"],
            versions=content["versions"],
        )
        _check(found)
        return found

    def to_frame(self) -> pandas.DataFrame:
        """One row per run: number of its point, key, what is varied, seed, error, learning rates, measures, controls.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return to_frame(self.runs)

    def files(self) -> Iterator[File]:
        """``sweep.toml``, ``sweep.json``, ``runs.csv`` and ``table.md``."""
        yield "sweep.toml", self.sweep.to_toml()
        yield self.form.file, json_text(self.to_dict())
        yield "table.md", report_on(self).markdown
        yield "runs.csv", _csv_of(self.runs)

    def to_csv(self) -> str:
        """A row per point in CSV."""
        return _csv_of(self.table)

    def __repr__(self) -> str:
        return self._describe(repr(self.sweep.name), f"{len(self.table)} points", f"{len(self.runs)} runs")


def _csv_of(rows: Sequence[Values]) -> str:
    return csv_text(columns_of(rows), [{column: plain(value) for column, value in row.items()} for row in rows])


def _check(found: SweepResult) -> None:
    """Raise a ValueError for rows that lack what every row has, or hold what is no number."""
    varied = found.varied
    for number, row in enumerate(found.table, start=1):
        if row["point"] != number or not {"finished", "failed", *varied} <= set(row):
            raise ValueError(f"point {number} is incomplete")
    for number, row in enumerate(found.runs, start=1):
        if not 1 <= row["point"] <= len(found.table) or not {"key", "seed", "error", *varied} <= set(row):
            raise ValueError(f"run {number} is incomplete")
    if not found.table or not found.runs:
        raise ValueError("it has no points or no runs")
    for row in (*found.table, *found.runs):
        for name in set(row) - {"key", "error", *varied}:
            if not _is_number(row[name]):
                raise ValueError(f"{name} of point {row['point']} is no number")


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, or None where nothing was measured."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (is_real and math.isfinite(value))


def _size_columns(size: DataSize | None) -> Values:
    return dict.fromkeys(SIZE_COLUMNS) if size is None else size.to_dict()


def _summed_up(outcomes: Sequence[Outcome]) -> Values:
    """Numbers of a point's runs, those of failed ones left out."""
    seeds = [outcome.measured for outcome in outcomes if outcome.measured is not None]
    measured, n_heldout = list(map(numbers_of, seeds)), n_heldout_of(seeds) if seeds else 0
    row: dict[str, Any] = {"finished": len(measured), "failed": len(outcomes) - len(measured)}
    for name in columns_of(measured):
        values = with_interval(name, summarise([numbers.get(name) for numbers in measured]), n_heldout)
        row |= {f"{name}_mean": values["mean"], f"{name}_std": values["std"]}
        if "interval" in values:
            row |= dict(zip((f"{name}_low", f"{name}_high"), values["interval"], strict=True))
    return row
