"""The runs that were done, from their records."""

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


def results(
    out: str | os.PathLike[str] = "runs",
    *,
    where: str | Sequence[str] = (),
    sweep: str | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    failed: bool = False,
) -> pandas.DataFrame:
    """The runs of a folder, those of sweeps and single ones, as a pandas frame.

    Args:
        out: the folder that they were run in; it is only read.
        where: a condition in SQL on settings by dotted name, measures, ``key``, ``name``, ``state``, ``seed`` and
            ``error``, such as ``"attack.epsilon > 0.1 and state = 'finished'"``; of several, all must hold.
        sweep: name or key of a sweep, whose runs alone are wanted, in its order.
        columns: which; None for what tells the runs apart and every number; ``["all"]`` for all there are.
        sort: what to sort by, such as ``"perturbation_accuracy_heldout desc"``; otherwise the last comes last.
        failed: only runs that failed.

    Returns:
        One row per run and seed.

    Raises:
        ConfigError: a condition is none, or a column or a sweep is not there.
        StoreError: the folder has no records, or they cannot be read.
        ModuleNotFoundError: pandas is not installed.
    """
    conditions = [where] if isinstance(where, str) else where
    return find_runs(out, where=conditions, sweep=sweep, columns=columns, sort=sort, failed=failed).to_frame()


def find_runs(
    out: str | os.PathLike[str] = "runs",
    *,
    where: Sequence[str] = (),
    sweep: str | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    failed: bool = False,
) -> Runs:
    """The same as rows that print, and can be written to a file.

    Args:
        out: folder that runs and sweeps were written to.
        where: conditions in SQL, of which all must hold.
        sweep: name or key of a sweep: its runs alone.
        columns: which to show; ``["all"]`` for all there are.
        sort: what to sort by, in SQL.
        failed: only runs that failed.

    Raises:
        ConfigError: a column, condition or order that does not fit these runs.
        StoreError: there are no records, or no such sweep.
    """
    records = record_store(Path(out))
    if not records.path.exists():
        raise StoreError(f"there are no records of runs in {out}; name the folder that runs went to with --out")
    if sweep is None:
        found = records.all()
    else:
        keys = _runs_of(records, sweep)
        known = records.read_many(keys)
        found = [known[key] for key in keys if key in known]
    rows = rows_of(record for record in found if record.state == "failed" or not failed)
    known_names = known_columns(rows)
    if columns is not None:
        columns = known_names if list(columns) == ["all"] else list(dict.fromkeys(columns))
        for name in columns:
            check_column(name, known_names)
    if where or sort is not None:
        rows = select(rows, known_names, where, sort)
    return Runs(rows, columns)


def _runs_of(records: RecordStore, sweep: str) -> list[str]:
    """Keys of the runs of all sweeps that are called so, each once."""
    collections = records.collections()
    # A sweep's folder is called by both.
    chosen = [found for found in collections if sweep in (found.name, found.key, f"{found.name}-{found.key[:10]}")]
    if not chosen:
        names = ", ".join(sorted({found.name for found in collections})) or "none"
        raise StoreError(f"there is no sweep {sweep} in {records.path.parent.parent}; there are: {names}")
    return list(dict.fromkeys(run for found in chosen for run in found.runs))
