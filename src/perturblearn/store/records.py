"""Records of runs, and of collections of runs, in one SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perturblearn.errors import StoreError
from perturblearn.store.locks import is_worked_on, working_on
from perturblearn.store.versions import versions

if TYPE_CHECKING:
    from perturblearn.config import Keys

_SCHEMA = 3
_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS runs (
        key TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, config TEXT NOT NULL, result TEXT,
        error TEXT, folder TEXT, versions TEXT NOT NULL, changed TEXT NOT NULL, seconds TEXT NOT NULL,
        PRIMARY KEY (key, name)
    )
    """,
    # A collection's runs are one JSON text: it is read and written whole, which is cheaper than thousands of rows.
    """
    CREATE TABLE IF NOT EXISTS collections (
        key TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, config TEXT NOT NULL, runs TEXT NOT NULL,
        changed TEXT NOT NULL, PRIMARY KEY (key, name)
    )
    """,
)
_BUSY_TIMEOUT = 60.0
"""Seconds to wait for a lock while another process writes. Long, because many processes may end at once."""
_RUN = "key, name, state, config, result, error, folder, versions, changed, seconds"
_BEST_LAST = "ORDER BY state = 'finished', rowid"
# The keys are passed as one JSON value, because SQLite limits the number of bound values.
_WITH_KEYS = "WHERE key IN (SELECT value FROM json_each(?))"

State = Literal["running", "finished", "failed", "interrupted"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Record:
    """Everything recorded about one run under one name.

    Args:
        key: hash of the run's stages.
        name: the name that people gave it.
        state: running, finished, failed or interrupted. A run whose process has died without a word is interrupted.
        config: the configuration as resolved.
        result: the summary of a finished run.
        error: the error message of a failed run.
        folder: the folder that the run was exported to.
        seconds: the stages of the run by key, and the time that each took; 0 for one that did not run.
        versions: of the packages that made the result.
        changed: when the record was last written (ISO 8601, UTC).
    """

    key: str
    name: str
    state: State
    config: Keys
    result: Mapping[str, Any] | None = None
    error: str | None = None
    folder: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=versions)
    changed: str = field(default_factory=_now)


@dataclass(frozen=True)
class Collection:
    """Runs that belong together, such as those of a sweep.

    Args:
        key: hash of all their stages.
        name: the name that people gave it.
        state: running, finished, failed or interrupted.
        config: the configuration that asked for them.
        runs: their keys, in order.
        changed: when this was last written (ISO 8601, UTC).
    """

    key: str
    name: str
    state: State
    config: Keys
    runs: tuple[str, ...]
    changed: str = field(default_factory=_now)


class RecordStore:
    """The run records; each write is one transaction.

    Args:
        path: the SQLite file; created when first written.

    Raises:
        StoreError: the file is not a database, was written by a newer version, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def write(self, record: Record) -> None:
        """Add a record, or replace the one with the same key and name."""
        self.write_many([record])

    @contextmanager
    def running(self, key: str, name: str) -> Generator[None, None, None]:
        """Do a run's work: while this process lives and is inside, a record that says running is believed.

        Args:
            key, name: of the record.
        """
        with ExitStack() as stack:
            with self._explained_errors():
                stack.enter_context(working_on(self._locks, key, name))
            yield

    def write_many(self, records: Iterable[Record]) -> None:
        """Add or replace several records in one transaction: all or none are written."""
        rows = [
            (
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
            for record in records
        ]
        with self._writing() as connection:
            connection.executemany(f"INSERT OR REPLACE INTO runs ({_RUN}) VALUES (?,?,?,?,?,?,?,?,?,?)", rows)

    def remove(self, records: Iterable[Record], collections: Iterable[Collection]) -> None:
        """Remove records and collections, in one transaction."""
        with self._writing() as connection:
            for table, gone in (("runs", records), ("collections", collections)):
                connection.executemany(
                    f"DELETE FROM {table} WHERE key = ? AND name = ?", [(each.key, each.name) for each in gone]
                )

    def read(self, key: str) -> Record | None:
        """The record under a key, or None; see `read_many`."""
        return self.read_many([key]).get(key)

    def read_many(self, keys: Iterable[str]) -> dict[str, Record]:
        """A record of each of several keys, by key: of several names a finished one, or else the last written.

        Missing ones are left out.
        """
        return {record.key: record for record in self._read(f"{_WITH_KEYS} {_BEST_LAST}", json.dumps(list(keys)))}

    def read_all(self, keys: Iterable[str]) -> list[Record]:
        """Every record of several keys, under whatever names, in the order of the last change."""
        return self._read(f"{_WITH_KEYS} ORDER BY rowid", json.dumps(list(keys)))

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        """The states of several runs, by key, as `read_many` chooses records; those without one are left out."""
        with self._reading() as connection:
            if connection is None or not _has_table(connection, "runs"):
                return {}
            wanted = json.dumps(list(keys))
            return dict(connection.execute(f"SELECT key, state FROM runs {_WITH_KEYS} {_BEST_LAST}", [wanted]))

    def all(self) -> list[Record]:
        """Every record, in the order of the last change."""
        return self._read("ORDER BY rowid")  # a record that is replaced gets a new rowid

    def write_collection(self, collection: Collection) -> None:
        """Add a collection, or replace the one with the same key and name."""
        row = (
            collection.key,
            collection.name,
            collection.state,
            json.dumps(collection.config, sort_keys=True),
            json.dumps(collection.runs),
            collection.changed,
        )
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO collections VALUES (?,?,?,?,?,?)", row)

    def collections(self) -> list[Collection]:
        """Every collection, in the order of the last change."""
        with self._reading() as connection:
            if connection is None or not _has_table(connection, "collections"):
                return []
            rows = connection.execute("SELECT key, name, state, config, runs, changed FROM collections ORDER BY rowid")
            return [
                Collection(key, name, state, json.loads(config), tuple(json.loads(runs)), changed)
                for key, name, state, config, runs, changed in rows
            ]

    def _read(self, which: str, *values: str) -> list[Record]:
        with self._reading() as connection:
            if connection is None or not _has_table(connection, "runs"):
                return []
            return [
                Record(
                    key=key,
                    name=name,
                    state=self._state_now(key, name, state),
                    config=json.loads(config),
                    result=None if result is None else json.loads(result),
                    error=error,
                    folder=folder,
                    versions=json.loads(made_with),
                    changed=changed,
                    seconds=json.loads(seconds),
                )
                for key, name, state, config, result, error, folder, made_with, changed, seconds in connection.execute(
                    f"SELECT {_RUN} FROM runs {which}", values
                )
            ]

    @property
    def _locks(self) -> Path:
        return self.path.parent / "running"

    def _state_now(self, key: str, name: str, state: State) -> State:
        if state != "running" or is_worked_on(self._locks, key, name):
            return state
        return "interrupted"  # a process that is killed, or loses its machine, cannot record that

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """A connection that changes nothing, so that it works in a read-only folder; None if there is no file."""
        if not self.path.exists():
            yield None
            return
        with self._connection() as (connection, _):
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. Files of an older version are brought to this one first."""
        with self._explained_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as (connection, schema):
            if schema < _SCHEMA:
                _extend(connection)
            with connection:
                yield connection

    @contextmanager
    def _connection(self) -> Iterator[tuple[sqlite3.Connection, int]]:
        """A connection and the version of the file's schema."""
        with self._explained_errors(), closing(sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT)) as connection:
            schema = connection.execute("PRAGMA user_version").fetchone()[0]
            if schema > _SCHEMA:
                raise StoreError(
                    f"{self.path} was written by a newer version of perturblearn; update it, "
                    "or choose another folder with --out"
                )
            yield connection, schema

    @contextmanager
    def _explained_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
            raise StoreError(
                f"cannot use the run records in {self.path} ({error}); free some space, make the file writable, "
                "move it away if it is damaged, or choose another folder with --out"
            ) from error


def _extend(connection: sqlite3.Connection) -> None:
    """Make the tables, and move into them what an older version wrote, which had one name for each key."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] == _SCHEMA:
            return  # another process was first
        older = [name for name in ("runs", "collections") if _has_table(connection, name)]
        for name in older:
            connection.execute(f"ALTER TABLE {name} RENAME TO {name}_before")
        for table in _TABLES:
            connection.execute(table)
        for name in older:
            connection.execute(f"INSERT INTO {name} SELECT * FROM {name}_before ORDER BY rowid")
            connection.execute(f"DROP TABLE {name}_before")
        connection.execute(f"PRAGMA user_version = {_SCHEMA}")


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether a file has a table. Files of older versions, or just created by another process, may not."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone())
