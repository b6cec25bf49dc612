from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from perturblearn.errors import ConfigError, StoreError
from perturblearn.results.rows import select, write_rows

ROWS: list[dict[str, Any]] = [
    {"key": "a", "seed": 0, "attack.epsilon": 0.1, "attack.norm": "l2", "attack.steps": None, "flag": True},
    {"key": "b", "seed": 1, "attack.epsilon": 0.2, "attack.norm": "l'inf", "attack.steps": 5, "flag": False},
    {"key": "c", "seed": 2**62 + 1, "attack.epsilon": 1, "attack.norm": None, "lr": [0.1, 0.01]},
]
COLUMNS = ["key", "seed", "attack.epsilon", "attack.norm", "attack.steps", "flag", "lr", "never"]


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ((), "abc"),
        (("attack.epsilon > 0.1",), "bc"),
        (("attack.epsilon > 0.1 and seed = 1",), "b"),
        (("attack.epsilon > 0.1", "seed = 1 or seed = 0"), "b"),
        (("seed = 1", "key = 'a' or true"), "b"),
        ((f"seed = {2**62 + 1}",), "c"),
        (('"attack.epsilon" = 1',), "c"),
        (("attack.norm = 'l2'",), "a"),
        (("attack.norm = 'l''inf'",), "b"),
        (("attack.norm != 'attack.norm'",), "ab"),
        (("attack.norm is null",), "c"),
        (("attack.steps >= 5",), "b"),
        (("flag",), "a"),
        (("not flag -- a comment",), "b"),
        (("lr = '[0.1, 0.01]'",), "c"),
        (("never = 'x'",), ""),
        (("never > 5 or seed = 0",), "a"),
        (("never is null and seed = 1",), "b"),
        (("round(attack.epsilon, 1) in (.1, 1e0)",), "ac"),
        (("seed = (select max(seed) from given)",), "c"),
    ],
)
def test_conditions_choose_rows(where: tuple[str, ...], keys: str) -> None:
    assert "".join(str(row["key"]) for row in select(ROWS, COLUMNS, where)) == keys


@pytest.mark.parametrize(
    ("sort", "keys"),
    [
        ("attack.epsilon desc", "cba"), ("attack.epsilon", "abc"), ("attack.norm", "bac"), ("attack.steps desc", "bac"),
        ("flag, attack.epsilon desc", "bac"), ("never, seed desc", "cba"), ("never", "abc"), (None, "abc"),
    ],
)  # fmt: skip
def test_rows_are_sorted_and_what_is_missing_comes_last(sort: str | None, keys: str) -> None:
    assert "".join(str(row["key"]) for row in select(ROWS, COLUMNS, (), sort)) == keys


SQL = 'write conditions as in SQL, such as "attack.epsilon > 0.1 and seed = 0"'


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("atack.epsilon > 1", "there is no column atack.epsilon; did you mean attack.epsilon?"),
        ("epsilon > 1", "there is no column epsilon; did you mean attack.epsilon?"),
        ("sed = 1", "there is no column sed; did you mean seed?"),
        ("zzz = 1", "there is no column zzz; 'perturblearn results --columns all' shows all there are"),
        ("z.z = 1", "there is no column z.z; 'perturblearn results --columns all' shows all there are"),
        ("seed >", f"'seed >' cannot be used (Parser Error: syntax error at or near \")\"); {SQL}"),
        (" ", f"a condition is empty; {SQL}"),
        (
            "true); select (1",
            "'true); select (1' is more than one condition; write 'and' between two, or --where for each",
        ),
    ],
)
def test_what_is_no_condition_is_refused(condition: str, sentence: str) -> None:
    for where, sort in (((condition,), None), (("seed = 0", condition), None), ((), condition)):
        if sort in (" ", "seed >", "true); select (1"):
            continue  # said of another place of the query
        with pytest.raises(ConfigError) as error:
            select(ROWS, COLUMNS, where, sort)
        assert str(error.value) == sentence


@pytest.mark.parametrize("condition", ["key > 5", "seed = 'a'", "seed + 'x' > 1", "agg(seed) > 1", "count(seed) > 1"])
def test_conditions_of_the_wrong_kind_are_told_with_what_the_database_says(condition: str) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot be used \((Binder|Conversion|Catalog) Error: .*\); write conditions"
    ):
        select(ROWS, COLUMNS, (condition,))


def test_conditions_read_and_write_no_files(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    for condition in (
        f"exists (select 1 from read_csv('{tmp_path}/secret.csv'))",
        f"exists (select 1 from '{tmp_path}/secret.csv')",
    ):
        with pytest.raises(ConfigError, match="cannot be used"):
            select(ROWS, COLUMNS, (condition,))


def test_no_rows_have_no_rows() -> None:
    assert select([], COLUMNS, ("attack.epsilon > 1",), "seed") == []


def test_rows_are_written_as_csv_json_and_parquet(tmp_path: Path) -> None:
    columns = ["key", "attack.epsilon", "attack.steps", "flag", "lr", "seed"]
    for name in ("rows.csv", "rows.json", "rows.parquet", "it's.csv"):
        write_rows(ROWS, columns, tmp_path / name)
    with (tmp_path / "rows.csv").open() as file:
        assert list(csv.reader(file)) == [
            columns,
            ["a", "0.1", "", "true", "", "0"],
            ["b", "0.2", "5", "false", "", "1"],
            ["c", "1.0", "", "", "[0.1, 0.01]", str(2**62 + 1)],
        ]
    assert (tmp_path / "it's.csv").read_bytes() == (tmp_path / "rows.csv").read_bytes()
    wanted = [{name: row.get(name) for name in columns} for row in ROWS]
    wanted[2]["lr"] = "[0.1, 0.01]"
    assert json.loads((tmp_path / "rows.json").read_text()) == wanted
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM '{tmp_path}/rows.parquet'")
        assert [column[0] for column in found.description] == columns
        assert [dict(zip(columns, row, strict=True)) for row in found.fetchall()] == wanted
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv", "rows.json", "rows.parquet", "it's.csv"}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.csv"
    write_rows(ROWS, ["key"], path)
    with monkeypatch.context() as patched:
        patched.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(
            StoreError, match=r"cannot write to .*rows\.csv \(No space left on device\); free some space"
        ):
            write_rows(ROWS, ["key", "seed"], path)
    assert path.read_text() == "key\na\nb\nc\n"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written_and_formats_that_there_are_not(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for path in (tmp_path / "no" / "rows.csv", tmp_path / "folder.csv"):
        with pytest.raises(StoreError, match=r"cannot write to .*\.csv \(.+\); .*name a file in another folder"):
            write_rows(ROWS, ["key"], path)
    for name in ("rows.xlsx", "rows"):
        with pytest.raises(ConfigError, match=r"but results are written as \.csv, \.json, \.parquet; rename it"):
            write_rows(ROWS, ["key"], tmp_path / name)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder.csv"]
