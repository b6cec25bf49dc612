"""What there is to read of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from perturblearn.config import describe
from perturblearn.experiment import HELDOUT, Summary
from perturblearn.report.runs import SHOWN_MEASURES
from perturblearn.report.words import (
    framed,
    html_lines,
    html_table,
    interval_text,
    latex_table,
    markdown_table,
    plural,
    short_keys,
    shown_number,
    size_text,
    with_spread,
)
from perturblearn.results import SIZE_COLUMNS, SweepPoint, SweepResult, SweepRun

SHOWN_POINTS = 40
"""Points up to which all are printed; the files hold all."""
SHOWN_ERRORS = 5
"""Failed runs whose sentence is printed; the files hold all."""
_WITH_INTERVAL = HELDOUT.perturbation
"""The measure whose sampling interval is printed; the files hold all."""


@dataclass(frozen=True)
class SweepReport:
    """Sentences and tables of a sweep.

    Args:
        result: what it has measured.
    """

    result: SweepResult

    @property
    def title(self) -> str:
        """What was run, in one line."""
        result = self.result
        over = f" over {', '.join(result.varied)}" if result.varied else ""
        runs = plural(len(result.runs), "run")
        points = plural(len(result.table), "point")
        return f"{result.sweep.name}: {points}{over}; {runs}{size_text(result.size)}"

    @property
    def summary(self) -> str:
        """How many runs there were, in one line."""
        total, failed, before = len(self.result.runs), len(self.result.failed), self.result.finished_before
        return (
            f"{plural(total, 'run')}: {before:,} finished before, {total - failed - before:,} finished now, "
            f"{failed:,} failed; {self.result.seconds:.1f} s."
        )

    @property
    def text(self) -> str:
        """The table, and what failed."""
        shown = self._cells(self.result.table[:SHOWN_POINTS])
        return "\n".join((*framed(self.title, shown, left=()), *self._remarks))

    @property
    def html(self) -> str:
        """The same for a notebook."""
        heads, *lines = self._cells(self.result.table[:SHOWN_POINTS])
        return html_lines([self.title]) + html_table(heads, lines) + html_lines(self._remarks)

    @property
    def markdown(self) -> str:
        """The whole table in Markdown."""
        heads, *lines = self._cells(self.result.table)
        return markdown_table(heads, lines) + "\n"

    @property
    def latex(self) -> str:
        """The whole table in LaTeX."""
        heads, *lines = self._cells(self.result.table)
        return latex_table(self.title, heads, lines, left=())

    def _cells(self, points: Sequence[SweepPoint]) -> list[list[str]]:
        """Heads and lines of the table for people."""
        result, varied, table = self.result, self.result.varied, self.result.table
        measured = [name for name in SHOWN_MEASURES if any(name in point.measures for point in table)]
        # If all points have one size, the title has it.
        differs = result.size is None and any(point.size is not None for point in table)
        size_heads = ("N", "d", "held-out") if differs else ()
        with_interval = _WITH_INTERVAL if any(point.spread(_WITH_INTERVAL).interval for point in table) else None
        measure_heads = [
            head for name in measured for head in (SHOWN_MEASURES[name], *["95 % interval"] * (name == with_interval))
        ]
        lines = [[*short_keys(varied), *size_heads, *measure_heads, "runs"]]
        for point in points:
            size = (None,) * len(SIZE_COLUMNS) if point.size is None else astuple(point.size)
            values = map(shown_number, (*(point.values[name] for name in varied), *(size if differs else ())))
            numbers = [text for name in measured for text in _texts(point, name, with_interval=name == with_interval)]
            total = point.finished + point.failed
            lines.append([*values, *numbers, f"{point.finished} of {total}" if point.failed else str(total)])
        return lines

    @property
    def _remarks(self) -> list[str]:
        """What stands below the table."""
        result = self.result
        more, failed = len(result.table) - SHOWN_POINTS, result.failed
        lines: list[str] = []
        if more > 0:
            where = "to_frame() has all" if result.folder is None else f"all are in {result.folder / 'table.csv'}"
            lines.append(f"... and {plural(more, 'more point')}: {where}.")
        if failed:
            lines.append(f"{plural(len(failed), 'run')} failed; run the same command with --retry to repeat them:")
            for run in failed[:SHOWN_ERRORS]:
                lines.append(f"  {self._label(run)}: {' '.join(str(run.error).split())}")
            if len(failed) > SHOWN_ERRORS:
                where = "failed has all" if result.folder is None else f"see {result.folder / 'runs.csv'}"
                lines.append(f"  ... and {len(failed) - SHOWN_ERRORS} more: {where}")
        return lines

    def _label(self, run: SweepRun) -> str:
        return describe(run.values if "seeds" in run.values else {**run.values, "seed": run.seed})


def _texts(point: SweepPoint, name: str, *, with_interval: bool) -> list[str]:
    """Mean with spread of a measure, and possibly the sampling interval."""
    spread = point.spread(name)
    values = Summary(mean=spread.mean, std=spread.std, median=None, values=[])
    if spread.interval is not None:
        values["interval"] = list(spread.interval)
    return [with_spread(values), *[interval_text(values)] * with_interval]
