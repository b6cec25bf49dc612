"""Records of runs, in one SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from perturblearn.errors import StoreError
from perturblearn.store.versions import versions

_SCHEMA = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS runs (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, config TEXT NOT NULL, result TEXT,
    error TEXT, folder TEXT, versions TEXT NOT NULL, changed TEXT NOT NULL, seconds TEXT NOT NULL
)
"""

State = Literal["running", "finished", "failed", "interrupted"]


@dataclass(frozen=True)
class Record:
    """What is known of one run.

    Args:
        key: hash of the run's stages.
        name: the name that people gave it.
        state: running, finished, failed or interrupted.
        config: the configuration as resolved.
        result: the summary of a finished run.
        error: the sentence that a failed run ended with.
        folder: where the run was exported to.
        seconds: per stage that ran, how long it took.
        versions: of the packages that made the result.
        changed: when the record was last written (ISO 8601, UTC).
    """

    key: str
    name: str
    state: State
    config: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
    error: str | None = None
    folder: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=versions)
    changed: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class RecordStore:
    """The run records beside the artefacts; each write is one transaction.

    Args:
        path: the SQLite file; made when first written.

    Raises:
        StoreError: the file is no database, of a newer version, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def write(self, record: Record) -> None:
        """Add a record, or replace the one with the same key."""
        values = (
            record.key,
            record.name,
            record.state,
            json.dumps(record.config, sort_keys=True),
            None if record.result is None else json.dumps(record.result, sort_keys=True, allow_nan=False),
            record.error,
            record.folder,
            json.dumps(record.versions, sort_keys=True),
            record.changed,
            json.dumps(record.seconds, sort_keys=True),
        )
        with self._connection() as connection, connection:
            connection.execute(f"INSERT OR REPLACE INTO runs VALUES ({', '.join('?' * len(values))})", values)

    def read(self, key: str) -> Record | None:
        """The record under a key, or None."""
        return next((record for record in self.all() if record.key == key), None)

    def all(self) -> list[Record]:
        """Every record, the one changed last at the end."""
        if not self.path.exists():
            return []
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT key, name, state, config, result, error, folder, versions, changed, seconds "
                "FROM runs ORDER BY rowid"  # a record that is replaced gets a new rowid
            ).fetchall()
            return [
                Record(
                    key=key,
                    name=name,
                    state=state,
                    config=json.loads(config),
                    result=None if result is None else json.loads(result),
                    error=error,
                    folder=folder,
                    versions=json.loads(made_with),
                    changed=changed,
                    seconds=json.loads(seconds),
                )
                for key, name, state, config, result, error, folder, made_with, changed, seconds in rows
            ]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60)) as connection:
                schema = connection.execute("PRAGMA user_version").fetchone()[0]
                if schema > _SCHEMA:
                    raise StoreError(
                        f"{self.path} was written by a newer version of perturblearn; update it, "
                        "or name another folder with --out"
                    )
                if schema < _SCHEMA:
                    with connection:
                        connection.execute(_TABLE)
                        connection.execute(f"PRAGMA user_version = {_SCHEMA}")
                yield connection
        except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
            raise StoreError(
                f"cannot use the run records in {self.path} ({error}); make the file writable, "
                "move it away if it is damaged, or name another folder with --out"
            ) from error
