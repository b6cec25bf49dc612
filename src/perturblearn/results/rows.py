"""Rows of named values: chosen by an expression, sorted, written as CSV, JSON and Parquet; knows not what they mean."""

# Pandas is not typed.
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

import difflib
import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perturblearn.config import JSON
from perturblearn.errors import ConfigError, StoreError
from perturblearn.store import replacing

if TYPE_CHECKING:
    import duckdb
    import pandas

Row = Mapping[str, JSON]
"""A row: what it holds by the name of the column."""

FORMATS = {".csv": "FORMAT csv, HEADER", ".json": "FORMAT json, ARRAY true", ".parquet": "FORMAT parquet"}
"""What rows can be written as, by the ending of the file."""

_ADVICE = 'write conditions as in SQL, such as "attack.epsilon > 0.1 and seed = 0"'
_WORD = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|\d[\w.]*""")


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Every key of some rows, in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row))


def plain(value: Any) -> Any:
    """A value as a cell holds it: a list as JSON text, all else as it is."""
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def to_frame(rows: Sequence[Row], columns: Sequence[str] | None = None) -> pandas.DataFrame:
    """Rows as a pandas frame.

    Args:
        rows: by column.
        columns: which, in which order; None for all that there are.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "to_frame() needs pandas, which is not installed; install it with 'pip install perturblearn[pandas]'"
        ) from None
    return pandas.DataFrame(rows, columns=columns_of(rows) if columns is None else list(columns))


def select(
    rows: Sequence[Row], columns: Sequence[str], where: Sequence[str] = (), sort: str | None = None
) -> list[Row]:
    """The rows for which every condition holds, sorted.

    Args:
        rows: a missing value counts as unknown: no condition on it holds, and it is sorted last.
        columns: the names that conditions may use, whatever the rows hold.
        where: conditions in SQL; names with dots need no quotes.
        sort: what to sort by, in SQL: a name, or several, each with ``desc`` or not; None keeps the order.

    Raises:
        ConfigError: a condition names no column, or is no condition.
    """
    import duckdb

    filled = {name for row in rows for name, value in row.items() if value is not None}
    # A column that holds nothing has no type that every comparison would suit.
    conditions = [(text, _quoted(text, columns, empty=set(columns) - filled)) for text in where]
    order = "" if sort is None else f"{_quoted(sort, columns)}\n, "
    with duckdb.connect(config={"enable_external_access": "false", "threads": "1"}) as connection:
        _fill(connection, rows, columns)
        # One by one, so that a mistake is told of the condition that has it. A line's end ends a comment too.
        for text, condition in conditions:
            if not text.strip():
                raise ConfigError(f"a condition is empty; {_ADVICE}")
            _execute(connection, f"SELECT 1 FROM given WHERE (\n{condition}\n) LIMIT 0", text)
        chosen = "".join(f" AND (\n{condition}\n)" for _, condition in conditions)
        told = " and ".join(where) if sort is None else sort
        found = _execute(connection, f"SELECT row FROM given WHERE true{chosen} ORDER BY {order}row", told)
    return [rows[number] for (number,) in found]


def write_rows(rows: Sequence[Row], columns: Sequence[str], path: Path) -> None:
    """Write rows as CSV, JSON or Parquet, whole or not at all.

    Args:
        rows: as in `select`.
        columns: which, in which order.
        path: its ending says which format.

    Raises:
        ConfigError: the ending is none of `FORMATS`.
        StoreError: the file cannot be written.
    """
    import duckdb

    if path.suffix not in FORMATS:
        raise ConfigError(f"{path} ends in {path.suffix!r}, but results are written as {', '.join(FORMATS)}; rename it")
    names = ", ".join(map(_quote, columns))
    with replacing(path) as scratch, duckdb.connect(config={"threads": "1"}) as connection:
        scratch.touch()  # which says clearly where no file can be
        _fill(connection, rows, columns)
        target = str(scratch).replace("'", "''")
        copy = f"COPY (SELECT {names} FROM given ORDER BY row) TO '{target}' ({FORMATS[path.suffix]})"
        try:
            connection.execute(copy)
        except duckdb.Error as error:
            raise StoreError(
                f"cannot write to {path} ({str(error).partition(chr(10))[0]}); free some space, or name a file in "
                "another folder"
            ) from None


def check_column(name: str, columns: Sequence[str]) -> None:
    """Refuse a name that is no column.

    Args:
        name: to be looked at.
        columns: those that there are.

    Raises:
        ConfigError: it is none of them; the one that may have been meant is told.
    """
    if name in columns:
        return
    # The first of the shallowest columns that end alike is the one that is meant.
    leaves: dict[str, str] = {}
    for column in sorted(columns, key=lambda column: column.count(".")):
        leaves.setdefault(column.rpartition(".")[2], column)
    close = difflib.get_close_matches(name, columns, n=1, cutoff=0.75)
    leaf = difflib.get_close_matches(name.rpartition(".")[2], list(leaves), n=1, cutoff=0.75)
    meant = close[0] if close else leaves[leaf[0]] if leaf else None
    advice = f"did you mean {meant}?" if meant else "'perturblearn results --columns all' shows all there are"
    raise ConfigError(f"there is no column {name}; {advice}")


def _quoted(text: str, columns: Sequence[str], *, empty: Container[str] = ()) -> str:
    """SQL with columns in quotes, so that they may hold dots and be words of SQL; NULL for those that are empty."""

    def quoted(match: re.Match[str]) -> str:
        word = match.group()
        if word in columns:
            return "NULL" if word in empty else _quote(word)
        if word[0].isalpha() and "." in word:
            check_column(word, columns)
        return word

    return _WORD.sub(quoted, text)


def _quote(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _execute(connection: duckdb.DuckDBPyConnection, query: str, told: str) -> list[tuple[Any, ...]]:
    import duckdb

    try:
        if len(connection.extract_statements(query)) != 1:
            raise ConfigError(f"{told!r} is more than one condition; write 'and' between two, or --where for each")
        return connection.execute(query).fetchall()
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0].rstrip("!")
        missing = re.search(r'Referenced column "(.+?)" not found', reason)
        if missing:
            names = [name for (name, *_) in connection.execute("DESCRIBE given").fetchall()]
            check_column(missing[1], names)
        raise ConfigError(f"{told!r} cannot be used ({reason}); {_ADVICE}") from None


def _fill(connection: duckdb.DuckDBPyConnection, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Rows as the table ``given``, numbered by its column ``row``."""
    import numpy as np

    given: dict[str, Any] = {"row": np.arange(len(rows))}
    casts = ["row"]
    for number, name in enumerate(columns):
        values = [row.get(name) for row in rows]
        kind = _type_of(values)
        if kind == "VARCHAR":
            text = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
            given[f"c{number}"] = np.array(text, dtype=object)
            casts.append(f"c{number}::VARCHAR AS {_quote(name)}")
        elif None in values:
            given[f"c{number}"] = np.array([np.nan if value is None else value for value in values], dtype=float)
            casts.append(f"CAST(nullif(c{number}, 'nan'::DOUBLE) AS {kind}) AS {_quote(name)}")
        else:
            given[f"c{number}"] = np.array(values)
            casts.append(f"c{number}::{kind} AS {_quote(name)}")
    connection.register("handed_over", given)
    connection.execute(f"CREATE TABLE given AS SELECT {', '.join(casts)} FROM handed_over")
    connection.unregister("handed_over")


def _type_of(values: Sequence[Any]) -> str:
    kinds: set[type] = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "BOOLEAN"
    if kinds == {int}:
        return "BIGINT"
    if kinds and kinds <= {int, float}:
        return "DOUBLE"
    return "VARCHAR"
