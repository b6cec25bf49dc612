"""What there is to read of runs that records tell of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perturblearn.experiment import MEASURES
from perturblearn.report.words import aligned, html_table, plural, short_keys, shown_number
from perturblearn.results import ABOUT, Runs, is_setting, telling_columns

SHOWN_RUNS = 40
"""Runs up to which all are printed; a file holds all."""
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
        if not self.runs.rows:
            return "No runs."
        return "\n".join((*aligned(self._cells, left=()), *self._more))

    @property
    def html(self) -> str:
        """The same for a notebook."""
        heads, *lines = self._cells
        return html_table(heads, lines)

    @property
    def _cells(self) -> list[list[str]]:
        rows = self.runs.rows
        columns = self.runs.columns or [name for name in telling_columns(rows) if _is_shown(name)]
        heads = [SHOWN_MEASURES.get(name, short) for name, short in zip(columns, short_keys(columns), strict=True)]
        return [heads, *([_cell(name, row.get(name)) for name in columns] for row in rows[:SHOWN_RUNS])]

    @property
    def _more(self) -> list[str]:
        more = len(self.runs.rows) - SHOWN_RUNS
        return [f"... and {plural(more, 'more run')}; --export FILE.csv writes all."] if more > 0 else []


def _is_shown(name: str) -> bool:
    return name in ABOUT or name in SHOWN_MEASURES or is_setting(name)


def _cell(name: str, value: Any) -> str:
    if name == "key":
        return str(value)[:10]
    if name in MEASURES and isinstance(value, float):
        return f"{value:.3f}"
    return " ".join(shown_number(value).split())
