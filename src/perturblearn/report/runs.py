"""What there is to read of runs that records tell of."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perturblearn.experiment import MEASURES
from perturblearn.report.words import aligned, html_table, latex_table, plural, short_keys, shown_number
from perturblearn.results import ABOUT, Runs, is_setting, telling_columns

SHOWN_RUNS = 40
"""Runs up to which all are printed; a file holds all."""
_LONGEST_NAME = 24
_WIDE = 120
_TEXTS = ("key", "name", "date", "state")
SHOWN_MEASURES = {
    "standard_accuracy_heldout": "f",
    "perturbation_accuracy_heldout": "g",
    "agreement": "agreement",
    "unperturbed_control_heldout": "unperturbed",
    "permuted_control_heldout": "permuted",
    "linear_probe_heldout": "linear",
    "cosine_similarity": "cosine",
}
"""The measures that tables of runs show, where they were taken, with their heads."""


@dataclass(frozen=True)
class RunsReport:
    """Runs as a table.

    Args:
        runs: what records tell of.
    """

    runs: Runs

    @property
    def text(self) -> str:
        """The first runs, and how many there are besides."""
        return self.table(width=None)

    def table(self, *, width: int | None) -> str:
        """The first runs with as many columns as fit, errors below them, and what there is besides.

        Args:
            width: letters of a line; None for as many as it takes.
        """
        rows = self.runs.rows[:SHOWN_RUNS]
        if not rows:
            return "No runs."
        columns, lines = self._columns, self._cells
        shown = _fitting(columns, lines, width)
        cells = [[line[column] for column in shown] for line in lines]
        left = [place for place, column in enumerate(shown) if columns[column] in _TEXTS]
        text = aligned(cells, left=left)
        for row in rows if self._tells_errors else ():
            if row["error"] is not None:
                about = f"{_cell('key', row['key'])} seed {row['seed']}: {_cell('error', row['error'])}"
                text += textwrap.wrap(about, width or _WIDE, initial_indent="- ", subsequent_indent="  ")
        missing = [lines[0][column] for column in range(len(columns)) if column not in shown]
        if missing:
            text += textwrap.wrap(f"Too wide for this terminal: {', '.join(missing)}; see --columns.", width or _WIDE)
        return "\n".join((*text, *self._more))

    @property
    def html(self) -> str:
        """The same for a notebook."""
        heads, *lines = self._cells
        return html_table(heads, lines)

    @property
    def latex(self) -> str:
        """The table in LaTeX."""
        heads, *lines = self._cells
        return latex_table(plural(len(self.runs.rows), "run"), heads, lines)

    @property
    def _tells_errors(self) -> bool:
        """Whether errors are among what is asked for."""
        return "error" in (self.runs.columns or telling_columns(self.runs.rows))

    @property
    def _columns(self) -> list[str]:
        """All that there is to show of a run in one line; errors take several."""
        asked = self.runs.columns or [name for name in telling_columns(self.runs.rows) if _is_shown(name)]
        return [name for name in asked if name != "error"] or ["key"]

    @property
    def _cells(self) -> list[list[str]]:
        columns = self._columns
        heads = [SHOWN_MEASURES.get(name, short) for name, short in zip(columns, short_keys(columns), strict=True)]
        return [heads, *([_cell(name, row.get(name)) for name in columns] for row in self.runs.rows[:SHOWN_RUNS])]

    @property
    def _more(self) -> list[str]:
        more = len(self.runs.rows) - SHOWN_RUNS
        return [f"... and {plural(more, 'more run')}; --export FILE.csv writes all."] if more > 0 else []


def _fitting(columns: Sequence[str], lines: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """Which columns a line has room for: what tells a run, then accuracies, then settings, then all else."""
    order = [*ABOUT, "perturbation_accuracy_heldout", "standard_accuracy_heldout"]

    def rank(column: int) -> int:
        name = columns[column]
        return order.index(name) if name in order else len(order) + (not is_setting(name))

    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    chosen: list[int] = []
    for column in sorted(range(len(columns)), key=rank):
        used = sum(widths[each] + 2 for each in chosen)
        if width is None or not chosen or used + widths[column] <= width:
            chosen.append(column)
    return sorted(chosen)


def _is_shown(name: str) -> bool:
    return name in ABOUT or name in SHOWN_MEASURES or is_setting(name)


def _cell(name: str, value: Any) -> str:
    if name == "key":
        return str(value)[:10]
    if name == "name" and len(str(value)) > _LONGEST_NAME:
        return f"{str(value)[: _LONGEST_NAME - 3]}..."
    if name == "date":
        return _local_time(str(value))
    if name in MEASURES and isinstance(value, float):
        return f"{value:.3f}"
    return " ".join(shown_number(value).split())


def _local_time(text: str) -> str:
    """A moment of ISO 8601 as people here write it."""
    try:
        return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return text
