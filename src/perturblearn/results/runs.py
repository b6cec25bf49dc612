"""Rows of run records: what each run was, and what it has measured."""

# Pandas is not typed, nor what lies in JSON.
# pyright: reportMissingTypeStubs=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from perturblearn.config import JSON, fields, leaves
from perturblearn.experiment import MEASURES, SeedMeasures, numbers_of
from perturblearn.results.rows import Row, columns_of, to_frame, write_rows
from perturblearn.results.shown import Shown, report_on
from perturblearn.store import Record

if TYPE_CHECKING:
    import pandas

ABOUT = ("key", "name", "date", "state", "seed", "error")
"""What a row says of its run besides its settings and its numbers."""
_NO_SETTINGS = ("name", "seeds")
"""Keys of a configuration that a row tells by itself."""


def rows_of(records: Iterable[Record]) -> list[dict[str, JSON]]:
    """A row per run and seed: key, name, state, seed, error, every setting by its dotted key, every number.

    Args:
        records: those of other work than runs, such as audits, have no row once they are finished.
    """
    return [row for record in records for row in _rows_of(record)]


def known_columns(rows: Sequence[Row]) -> list[str]:
    """What rows can be chosen by: what they hold, and settings and measures that none of them has."""
    return list(dict.fromkeys((*ABOUT, *_setting_names(), *columns_of(rows), *MEASURES)))


def telling_columns(rows: Sequence[Row]) -> list[str]:
    """The columns that tell rows apart: what each is, settings in which two of them differ, and every number."""

    def tells(name: str) -> bool:
        if name == "error":
            return any(row[name] is not None for row in rows)
        return not is_setting(name) or any(row.get(name) != rows[0].get(name) for row in rows)

    return [name for name in columns_of(rows) or ABOUT if tells(name)]


@dataclass(frozen=True, repr=False)
class Runs(Shown):
    """Runs that records tell of.

    Args:
        rows: as `rows_of` makes them.
        columns: which of their values are asked for, in this order; None for those that tell them apart.
    """

    rows: Sequence[Row]
    columns: Sequence[str] | None = None

    @property
    def all_columns(self) -> Sequence[str]:
        """What is written to files: what was asked for, or what tells the runs apart and every number."""
        return telling_columns(self.rows) if self.columns is None else self.columns

    def table(self, *, width: int | None) -> str:
        """The first runs as text.

        Args:
            width: letters of a line; None for as many as it takes.
        """
        return report_on(self).table(width=width)

    def to_dict(self) -> dict[str, Any]:
        """The runs as JSON values."""
        columns = self.all_columns
        return {"n": len(self.rows), "runs": [{name: row.get(name) for name in columns} for row in self.rows]}

    def to_frame(self) -> pandas.DataFrame:
        """One row per run and seed.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return to_frame(self.rows, self.all_columns)

    def write(self, path: Path) -> None:
        """Write the runs as CSV, JSON or Parquet, as the file's ending says; whole or not at all.

        Raises:
            ConfigError: the ending is another one.
            StoreError: the file cannot be written.
        """
        write_rows(self.rows, self.all_columns, path)

    def __repr__(self) -> str:
        return f"Runs({len(self.rows)} rows of {len(self.all_columns)} columns)"


def _rows_of(record: Record) -> Iterator[dict[str, JSON]]:
    if record.result is not None and record.result.get("kind") != "run":
        return
    given = {name: _alone(value) for name, value in leaves(record.config) if name not in _NO_SETTINGS}
    settings = {name: given[name] for name in (*_setting_names(), *given) if name in given}
    found = [] if record.result is None else [SeedMeasures.from_dict(seed) for seed in record.result["seeds"]]
    measured = {seed.seed: numbers_of(seed) for seed in found}
    for seed in measured or cast("Sequence[int]", record.config.get("seeds", ())):
        about = (record.key, record.name, record.changed, record.state, seed, record.error)
        yield {**dict(zip(ABOUT, about, strict=True)), **settings, **measured.get(seed, {})}


def _setting_names() -> list[str]:
    """The keys of a configuration that are settings of a run."""
    return [name for name, _ in fields() if name not in _NO_SETTINGS]


def _alone(value: Any) -> Any:
    """The value of a list that has but one, such as a learning rate that is no grid."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def is_setting(name: str) -> bool:
    """Whether a column is a setting of the configuration."""
    return "." in name or name in _setting_names()
