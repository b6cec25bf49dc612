"""A sweep: what came of every run, and of every point over its seeds."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perturblearn.config import Sweep, describe, resolve_sweep
from perturblearn.experiment import Outcome, Point, summarise
from perturblearn.report.grid import aligned, html_lines, html_table, load_grid, plural, with_spread
from perturblearn.report.result import numbers_of
from perturblearn.report.rows import columns_of, plain, to_frame
from perturblearn.report.runs import SHOWN_MEASURES, short_keys, shown_number
from perturblearn.store import ArtefactStore, versions

if TYPE_CHECKING:
    import pandas

SWEEP_SCHEMA = 1
"""Version of the sweep's JSON form; raised when a key changes its meaning or goes."""
SHOWN_POINTS = 40
"""Points up to which all are printed; the files hold all."""
SHOWN_ERRORS = 5
"""Failed runs whose sentence is printed; the files hold all."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep has measured.

    Args:
        sweep: what was asked for.
        key: hash of all runs' stages.
        points: the experiments, in the order of the axes.
        outcomes: what came of every run, point by point and seed by seed.
        finished_before: runs that were finished before, whose records were taken.
        folder: where it was written to; None if nowhere.
        seconds: how long it took this time.
        versions: of the packages that summed it up.
    """

    sweep: Sweep
    key: str
    points: Sequence[Point]
    outcomes: Sequence[Outcome]
    finished_before: int = 0
    folder: Path | None = None
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=versions)

    @property
    def failed(self) -> list[Outcome]:
        """The runs that failed; each says why."""
        return [outcome for outcome in self.outcomes if outcome.error is not None]

    @property
    def summary(self) -> str:
        """How many runs there were, in one line."""
        total, failed = len(self.outcomes), len(self.failed)
        ran = total - failed - self.finished_before
        return (
            f"{plural(total, 'run')}: {self.finished_before:,} finished before, {ran:,} finished now, {failed:,} "
            f"failed; {self.seconds:.1f} s."
        )

    @cached_property
    def runs(self) -> list[dict[str, Any]]:
        """A row per run: number of its point (from 1), key, seed, what is varied, its numbers or its error."""
        return [
            {
                "point": outcome.point + 1,
                "key": outcome.key,
                **self.points[outcome.point].values,
                "seed": outcome.seed,
                "error": outcome.error,
                **({} if outcome.measured is None else numbers_of(outcome.measured)),
            }
            for outcome in self.outcomes
        ]

    @cached_property
    def table(self) -> list[dict[str, Any]]:
        """A row per point: what is varied, how many runs finished and failed, mean and deviation of every measure."""
        of_point: list[list[Outcome]] = [[] for _ in self.points]
        for outcome in self.outcomes:
            of_point[outcome.point].append(outcome)
        return [
            {"point": number, **point.values, **_summed_up(outcomes)}
            for number, (point, outcomes) in enumerate(zip(self.points, of_point, strict=True), start=1)
        ]

    def to_dict(self) -> dict[str, Any]:
        """The sweep as JSON values: the content of ``sweep.json`` and of ``--json``."""
        return {
            "schema": SWEEP_SCHEMA,
            "kind": "sweep",
            "name": self.sweep.name,
            "key": self.key,
            "folder": None if self.folder is None else str(self.folder),
            "sweep": self.sweep.tree,
            "n_points": len(self.points),
            "n_runs": len(self.outcomes),
            "n_failed": len(self.failed),
            "points": self.table,
            "runs": self.runs,
            "versions": dict(self.versions),
            "seconds": self.seconds,
        }

    def to_frame(self) -> pandas.DataFrame:
        """One row per run: number of its point, key, what is varied, seed, error, learning rates, measures, controls.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return to_frame(self.runs, columns_of(self.runs))

    def write(self, store: ArtefactStore, folder: Path) -> SweepResult:
        """Write ``sweep.toml``, ``sweep.json``, ``runs.csv``, ``table.csv`` and ``table.md``, all at once.

        Args:
            store: lends the scratch space, on the same disk as the folder.
            folder: where to; an older one in its place is replaced.

        Returns:
            The result, which now knows its folder.

        Raises:
            StoreError: the folder cannot be written.
        """
        finished = replace(self, folder=folder)
        heads, *lines = self._cells(self.table)
        with store.scratch() as scratch:
            inside = scratch / folder.name
            inside.mkdir()
            content = {
                "sweep.toml": self.sweep.to_toml(),
                "sweep.json": json.dumps(finished.to_dict(), indent=1, allow_nan=False) + "\n",
                "table.md": "\n".join(map(_markdown, (heads, ["---"] * len(heads), *lines))) + "\n",
            }
            for name, text in content.items():
                (inside / name).write_text(text, encoding="utf-8")
            for name, rows in (("runs.csv", self.runs), ("table.csv", self.table)):
                with (inside / name).open("w", encoding="utf-8", newline="") as file:
                    writer = csv.DictWriter(file, columns_of(rows), lineterminator="\n")
                    writer.writeheader()
                    writer.writerows({name: plain(value) for name, value in row.items()} for row in rows)
            store.move_into_place(inside, folder, replace=True)
        return finished

    @property
    def _title(self) -> str:
        axes = ", ".join(name for axis in self.sweep.axes for name in axis.settings)
        over = f" over {axes}" if axes else ""
        runs = plural(len(self.outcomes), "run")
        return f"{self.sweep.name}: {plural(len(self.points), 'point')}{over}; {runs}"

    def _cells(self, rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        """Heads and lines of the table for people."""
        varied = list(self.points[0].values)
        measured = [name for name in SHOWN_MEASURES if any(f"{name}_mean" in row for row in self.table)]
        lines = [[*short_keys(varied), *(SHOWN_MEASURES[name] for name in measured), "runs"]]
        for row in rows:
            values = [shown_number(row[name]) for name in varied]
            numbers = [
                with_spread({"mean": row.get(f"{name}_mean"), "std": row.get(f"{name}_std")}) for name in measured
            ]
            total = row["finished"] + row["failed"]
            lines.append([*values, *numbers, f"{row['finished']} of {total}" if row["failed"] else str(total)])
        return lines

    @property
    def _remarks(self) -> list[str]:
        """What stands below the table."""
        more, failed = len(self.points) - SHOWN_POINTS, self.failed
        lines = []
        if more > 0:
            where = "to_frame() has all" if self.folder is None else f"all are in {self.folder / 'table.csv'}"
            lines.append(f"... and {plural(more, 'more point')}: {where}.")
        if failed:
            lines.append(f"{plural(len(failed), 'run')} failed; the same command with --retry repeats what failed:")
            for outcome in failed[:SHOWN_ERRORS]:
                lines.append(f"  {self._label(outcome)}: {' '.join(str(outcome.error).split())}")
            if len(failed) > SHOWN_ERRORS:
                where = "failed has all" if self.folder is None else f"see {self.folder / 'runs.csv'}"
                lines.append(f"  ... and {len(failed) - SHOWN_ERRORS} more: {where}")
        return lines

    def _label(self, outcome: Outcome) -> str:
        values = self.points[outcome.point].values
        return describe(values if "seeds" in values else {**values, "seed": outcome.seed})

    def __str__(self) -> str:
        lines = aligned(self._cells(self.table[:SHOWN_POINTS]), left=0)
        rule = "-" * max(map(len, (self._title, *lines)))
        return "\n".join((self._title, rule, lines[0], rule, *lines[1:], rule, *self._remarks))

    def _repr_html_(self) -> str:
        heads, *lines = self._cells(self.table[:SHOWN_POINTS])
        return html_lines([self._title]) + html_table(heads, lines) + html_lines(self._remarks)


@dataclass(frozen=True)
class FinishedSweep:
    """A sweep as its folder tells of it, without the configurations of its points.

    Args:
        sweep: what was asked for.
        key: hash of all runs' stages.
        table: a row per point, as in `SweepResult.table`.
        runs: a row per run, as in `SweepResult.runs`.
        folder: where it lies.
        seconds: how long it took when it was written.
        versions: of the packages that summed it up.
    """

    sweep: Sweep
    key: str
    table: Sequence[Mapping[str, Any]]
    runs: Sequence[Mapping[str, Any]]
    folder: Path
    seconds: float
    versions: Mapping[str, str]

    @property
    def varied(self) -> list[str]:
        """What varies from point to point, by dotted key, in the order of the axes."""
        return [name for axis in self.sweep.axes for name in axis.settings]


def load_sweep(folder: str | os.PathLike[str]) -> FinishedSweep:
    """The finished sweep that lies in a folder.

    Args:
        folder: where `SweepResult.write` has written it to.

    Raises:
        StoreError: there is none, it is damaged, or a newer version wrote it.
    """
    return load_grid(folder, "sweep", SWEEP_SCHEMA, _from_dict)


def _from_dict(content: Mapping[str, Any], folder: Path) -> FinishedSweep:
    points, runs = content["points"], content["runs"]
    found = FinishedSweep(
        sweep=resolve_sweep(content["sweep"]),
        key=content["key"],
        table=points,
        runs=runs,
        folder=folder,
        seconds=content["seconds"],
        versions=content["versions"],
    )
    for number, row in enumerate(points, start=1):
        if row["point"] != number or not {"finished", "failed", *found.varied} <= set(row):
            raise ValueError(f"point {number} is incomplete")
    for number, row in enumerate(runs, start=1):
        if not 1 <= row["point"] <= len(points) or not {"key", "seed", "error", *found.varied} <= set(row):
            raise ValueError(f"run {number} is incomplete")
    if not points or not runs:
        raise ValueError("it has no points or no runs")
    told = {"key", "error", *found.varied}
    for row in (*points, *runs):
        for name in set(row) - told:
            if not _is_number(row[name]):
                raise ValueError(f"{name} of point {row['point']} is no number")
    return found


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, or None where nothing was measured."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (is_real and math.isfinite(value))


def _summed_up(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Numbers of a point's runs, those of failed ones left out."""
    measured = [numbers_of(outcome.measured) for outcome in outcomes if outcome.measured is not None]
    summary: dict[str, Any] = {"finished": len(measured), "failed": len(outcomes) - len(measured)}
    for name in columns_of(measured):
        values = summarise([numbers.get(name) for numbers in measured])
        summary |= {f"{name}_mean": values["mean"], f"{name}_std": values["std"]}
    return summary


def _markdown(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
