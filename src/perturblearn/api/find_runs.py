"""Finished and failed runs, from their records."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perturblearn.api.stores import record_store
from perturblearn.errors import StoreError
from perturblearn.results import Runs, check_column, known_columns, rows_of, select
from perturblearn.store import RecordStore

if TYPE_CHECKING:
    import pandas


def find_runs(
    out: str | os.PathLike[str] = "runs",
    *,
    where: str | Sequence[str] = (),
    sweep: str | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    failed: bool = False,
) -> pandas.DataFrame:
    """Find the runs of a folder, single ones and those of sweeps, as a pandas frame.

    Args:
        out: the folder that the runs were written to; it is only read.
        where: a condition in SQL on keys by dotted name, measures, ``key``, ``name``, ``date`` (UTC), ``state``,
            ``seed`` and ``error``, such as ``"attack.epsilon > 0.1 and state = 'finished'"``; of several conditions,
            all must hold.
        sweep: name or key of a sweep: only its runs, in its order.
        columns: the columns; None for the keys in which the runs differ and every number; ``["all"]`` for all.
        sort: what to sort by, such as ``"perturbation_accuracy_heldout desc"``; by default the latest run comes last.
        failed: only failed runs.

    Returns:
        One row per run and seed.

    Raises:
        ConfigError: a condition is not valid SQL, or a column is unknown.
        StoreError: the folder has no records or no such sweep, or the records cannot be read.
        ModuleNotFoundError: pandas is not installed.
    """
    conditions = [where] if isinstance(where, str) else where
    return read_runs(out, where=conditions, sweep=sweep, columns=columns, sort=sort, failed=failed).to_frame()


def read_runs(
    out: str | os.PathLike[str] = "runs",
    *,
    where: Sequence[str] = (),
    sweep: str | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    failed: bool = False,
) -> Runs:
    """The same runs as rows, which print as a table and can be written to a file.

    Args:
        out, where, sweep, columns, sort, failed: as in `find_runs`.

    Raises:
        ConfigError, StoreError: as in `find_runs`.
    """
    records = record_store(Path(out))
    if not records.path.exists():
        raise StoreError(f"{out} has no records of runs; name the folder that the runs were written to with --out")
    if sweep is None:
        selected = records.all()
    else:
        keys, names = _runs_of(records, sweep)
        known = records.read_many(keys)
        known |= {record.key: record for record in records.read_all(keys) if record.name in names}
        selected = [known[key] for key in keys if key in known]
    rows = rows_of(record for record in selected if record.state == "failed" or not failed)
    known_names = known_columns(rows)
    if columns is not None:
        columns = known_names if list(columns) == ["all"] else list(dict.fromkeys(columns))
        for name in columns:
            check_column(name, known_names)
    if where or sort is not None:
        rows = select(rows, known_names, where, sort)
    return Runs(rows, columns)


def _runs_of(records: RecordStore, sweep: str) -> tuple[list[str], set[str]]:
    """Keys of the runs of all sweeps with this name or key, each once, and the names of these sweeps."""
    collections = records.collections()
    # The name of a sweep's folder has both.
    chosen = [each for each in collections if sweep in (each.name, each.key, f"{each.name}-{each.key[:10]}")]
    if not chosen:
        names = ", ".join(sorted({each.name for each in collections}))
        advice = f"choose one of {names}" if names else "it has no sweeps"
        raise StoreError(f"there is no sweep {sweep} in {records.path.parent.parent}; {advice}")
    return list(dict.fromkeys(run for each in chosen for run in each.runs)), {each.name for each in chosen}
