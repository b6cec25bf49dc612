from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas
import pytest
from tests.cli.commands import TINY, refuse, say
from tests.cli.sweep_files import BASE, DIVERGING, SWEEP, record_store, write

import perturblearn
from perturblearn.errors import ConfigError
from perturblearn.store import Collection, Record, RecordStore

Say = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture(scope="session")
def whole_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep, a sweep of which half failed, and a run of two seeds alone; only to be read."""
    folder = tmp_path_factory.mktemp("whole")
    out = folder / "runs"
    perturblearn.sweep(write(SWEEP, folder / "sweep.toml"), out=out)
    perturblearn.sweep(write(DIVERGING, folder / "bad.toml"), overrides={"name": "bad"}, out=out)
    base = write(BASE, folder / "run.toml")
    perturblearn.learn_from_perturbations(base, overrides={"seeds": 2, "name": "alone"}, out=out)
    return out


@pytest.fixture
def runs(whole_store: Path, tmp_path: Path) -> Path:
    """A copy of that folder, called runs."""
    shutil.copytree(whole_store, tmp_path / "runs")
    return tmp_path / "runs"


def shown(capsys: Say, *arguments: object) -> list[dict[str, Any]]:
    said = say(capsys, "results", "--json", *arguments)
    assert (said.code, said.err) == (0, "")
    assert said.json["n"] == len(said.json["runs"])
    return said.json["runs"]


def test_every_run_and_seed_is_a_row_of_what_tells_it_apart_and_its_numbers(capsys: Say, runs: Path) -> None:
    rows = shown(capsys)
    assert [(row["name"], row["state"], row["seed"]) for row in rows] == [
        *[("tiny", "finished", seed) for _ in range(4) for seed in (0, 1)],
        ("bad", "finished", 0), ("bad", "finished", 1), ("bad", "failed", 0), ("bad", "failed", 1),
        ("alone", "finished", 0), ("alone", "finished", 1),
    ]  # fmt: skip
    settings = [name for name in rows[0] if "." in name]
    assert settings == ["standard.lr", "standard.model.slope", "attack.epsilon"]
    assert [row["attack.epsilon"] for row in rows[:8]] == [0.5] * 4 + [1.0] * 4
    assert all((row["error"] is None) == (row["agreement"] is not None) for row in rows)
    by_key = {record.key: record for record in record_store(runs).all()}
    assert {row["key"] for row in rows} == set(by_key)
    assert rows[-1]["key"] == rows[-2]["key"]
    result = by_key[rows[-1]["key"]].result
    assert result is not None
    assert result["seeds"][1]["measures"]["agreement"] == rows[-1]["agreement"]


def test_rows_are_chosen_sorted_and_cut(capsys: Say, runs: Path) -> None:
    assert len(shown(capsys, "--where", "attack.epsilon > 0.7 and seed = 0")) == 2 + 2 + 1
    assert len(shown(capsys, "--where", "attack.epsilon > 0.7", "--where", "seed = 0", "--sweep", "tiny")) == 2
    assert {row["name"] for row in shown(capsys, "--where", "name != 'tiny' and state = 'finished'")} == {
        "alone",
        "bad",
    }
    sorted_rows = shown(capsys, "--sort", "agreement desc, seed", "--columns", "seed,agreement,attack.epsilon")
    assert list(sorted_rows[0]) == ["seed", "agreement", "attack.epsilon"]
    values = [row["agreement"] for row in sorted_rows]
    assert values == [*sorted((value for value in values if value is not None), reverse=True), None, None]
    assert len(shown(capsys, "--columns", "all")[0]) > 60
    failed = shown(capsys, "--failed")
    assert [row["name"] for row in failed] == ["bad", "bad"]
    assert all("diverged" in row["error"] for row in failed)


def test_a_sweep_is_found_by_name_folder_and_key_in_its_order(capsys: Say, runs: Path) -> None:
    (sweep, _) = record_store(runs).collections()
    for called in ("tiny", sweep.key, f"tiny-{sweep.key[:10]}"):
        assert [row["key"] for row in shown(capsys, "--sweep", called)] == list(sweep.runs)


def test_the_table(capsys: Say, runs: Path) -> None:
    heads = ["key", "name", "date", "state", "seed", "slope", "epsilon", "f", "g", "agreement"]
    lines = wide(capsys, 140, "--sweep", "tiny")
    assert lines[0].split() == [*heads, "unperturbed", "permuted"]
    assert len(lines) == 1 + 8
    date = datetime.fromisoformat(record_store("runs").all()[0].changed).astimezone()
    assert f"{date:%Y-%m-%d %H:%M}" in lines[1]
    assert say(capsys, "results", "--where", "seed > 5").out == "No runs.\n"
    assert say(capsys, "results", "--where", "seed > 5", "--export", "none.csv").code == 0
    assert Path("none.csv").read_text() == "key,name,date,state,seed\n"


def wide(capsys: Say, width: int, *arguments: object) -> list[str]:
    """The lines of the table on a terminal that is so wide."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        return say(capsys, "results", *arguments).out.splitlines()


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_table_fits_the_terminal_and_says_what_it_leaves_out(capsys: Say, runs: Path, width: int) -> None:
    record_store("runs").write(
        Record("k" * 64, "n" * 60, "failed", record_store("runs").all()[-1].config, error="long words " * 30)
    )
    lines = wide(capsys, width)
    assert max(map(len, lines)) <= width
    whole = wide(capsys, 400)
    missing = " ".join(lines).partition("Too wide for this terminal: ")[2].partition(";")[0].split(", ")
    assert lines[0].split() == [head for head in whole[0].split() if head not in missing]
    assert lines[0].split()[:3] == ["key", "name", "date"]
    assert f"{'n' * 21}..." in "\n".join(lines)
    # Errors are whole, below the table.
    assert "long words " * 29 in " ".join(line.strip() for line in lines)
    few = wide(capsys, width, "--columns", "agreement,key")
    assert few[0].split() == ["agreement", "key"]


def test_equal_runs_of_other_names_are_all_listed(capsys: Say) -> None:
    for name in ("one", "two", "one"):
        assert say(capsys, "run", *TINY, "--name", name, "--quiet").code == 0
    for name in ("swept", "again"):
        overrides = {"name": name, "sweep.grid": {"attack.epsilon": [0.5]}, "seeds": 1}
        perturblearn.sweep(write(BASE, Path("sweep.toml")), overrides=overrides, out="runs")
    rows = shown(capsys)
    assert [row["name"] for row in rows] == ["one", "two", "swept", "again"]
    assert rows[0]["key"] == rows[1]["key"]
    assert rows[2]["key"] == rows[3]["key"]
    assert [row["name"] for row in shown(capsys, "--sweep", "swept")] == ["swept"]
    assert [row["name"] for row in shown(capsys, "--sweep", "again")] == ["again"]
    assert len(shown(capsys, "--where", f"date > '{datetime.now(UTC).year - 1}'")) == 4


def test_a_run_whose_process_died_is_interrupted(capsys: Say) -> None:
    command = [sys.executable, "-m", "perturblearn", "run", *TINY[:-1], "100000000", "--name", "killed"]

    def states() -> list[str]:
        return [record.state for record in record_store("runs").all()]

    with subprocess.Popen(command) as process:
        try:
            while process.poll() is None and not list(Path("runs/.store").glob("artefacts/*/*")):
                time.sleep(0.01)  # until f is finished, and g has begun
            assert states() == ["running"]
        finally:
            process.kill()
    assert states() == ["interrupted"]
    assert say(capsys, "run", *TINY, "--name", "killed", "--quiet").code == 0
    assert states() == ["interrupted", "finished"]  # of fewer epochs, and so of another key
    assert list(Path("runs/.store/running").iterdir()) != []  # what the killed one left
    with record_store("runs").running(record_store("runs").all()[0].key, "killed"):
        assert states() == ["running", "finished"]
    assert list(Path("runs/.store/running").iterdir()) == []


def test_of_many_runs_the_first_are_printed(capsys: Say, tmp_path: Path) -> None:
    records = record_store("runs")
    records.write_many(
        Record(f"{number:064d}", "many", "failed", {"seeds": [number]}, error="two\nlines") for number in range(60)
    )
    lines = say(capsys, "results").out.splitlines()
    assert len(lines) == 1 + 40 + 40 + 1
    assert lines[41] == "- 0000000000 seed 0: two lines"
    assert lines[-1] == "... and 20 more runs; --export FILE.csv writes all."
    assert len(shown(capsys)) == 60


def test_other_work_than_runs_has_no_row_once_it_is_finished(capsys: Say) -> None:
    records = record_store("runs")
    records.write(Record("k1", "audited", "finished", {"seeds": [0]}, {"kind": "audit", "cells": []}))
    records.write(Record("k2", "begun", "running", {"seeds": [0, 1]}))
    for state in ("running", "interrupted"):
        with records.running("k2", "begun") if state == "running" else nullcontext():
            assert [(row["name"], row["state"], row["seed"]) for row in shown(capsys)] == [
                ("begun", state, 0),
                ("begun", state, 1),
            ]


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_runs_are_exported(capsys: Say, runs: Path, ending: str) -> None:
    path = Path(f"found.{ending}")
    said = say(capsys, "results", "--sweep", "tiny", "--export", path)
    expected = shown(capsys, "--sweep", "tiny")
    told = f"Wrote 8 runs with {len(expected[0])} columns to {path}.\n"
    assert (said.code, said.out, said.err) == (0, told, "")
    if ending == "csv":
        with path.open() as file:
            found = list(csv.DictReader(file))
        assert [row["key"] for row in found] == [row["key"] for row in expected]
        assert [float(row["agreement"]) for row in found] == [row["agreement"] for row in expected]
    elif ending == "json":
        assert json.loads(path.read_text()) == expected
    else:
        import duckdb

        with duckdb.connect() as connection:
            found = connection.execute(f"SELECT key, seed, agreement FROM '{path}'").fetchall()
        assert found == [(row["key"], row["seed"], row["agreement"]) for row in expected]


def test_from_python_it_is_a_frame(runs: Path) -> None:
    frame = perturblearn.find_runs(runs, where="attack.epsilon > 0.7", sweep="tiny", sort="seed")
    assert isinstance(frame, pandas.DataFrame)
    assert frame["seed"].tolist() == [0, 0, 1, 1]
    assert len(perturblearn.find_runs(runs, where=["seed = 0", "state = 'failed'"])) == 1
    assert list(perturblearn.find_runs(runs, columns=["key", "data.n_samples"]).columns) == ["key", "data.n_samples"]
    assert perturblearn.find_runs(runs, failed=True)["state"].tolist() == ["failed"] * 2
    assert perturblearn.find_runs(runs, where="seed > 5").empty
    with pytest.raises(ConfigError, match="there is no column"):
        perturblearn.find_runs(runs, columns=["epsilons"])


def test_looking_changes_nothing_even_where_nothing_can_be_changed(
    capsys: Say, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = runs / ".store" / "records.sqlite3"
    before, expected = database.read_bytes(), shown(capsys)
    connect = sqlite3.connect
    # SQLite itself falls back to this for a file without write permission, which the tests' user may have everywhere.
    monkeypatch.setattr("sqlite3.connect", lambda path, **options: connect(f"file:{path}?mode=ro", uri=True, **options))
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: pytest.fail("a folder is made"))
    assert shown(capsys) == expected
    assert database.read_bytes() == before
    assert sorted(path.name for path in database.parent.iterdir()) == ["artefacts", "records.sqlite3", "running", "tmp"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--out", "elsewhere"),
            "elsewhere has no records of runs; name the folder that the runs were written to with --out",
        ),
        (("--where", "atack.epsilon > 1"), "there is no column atack.epsilon; did you mean attack.epsilon?"),
        (("--where", "agreemnt > 1"), "there is no column agreemnt; did you mean agreement?"),
        (("--sort", "epsilon"), "there is no column epsilon; did you mean attack.epsilon?"),
        (("--columns", "seed,agrement"), "there is no column agrement; did you mean agreement?"),
        (("--columns", "zzz"), "there is no column zzz; 'perturblearn results --columns all' shows all there are"),
        (
            ("--where", "seed = = 0"),
            "'seed = = 0' cannot be used (Parser Error: syntax error at or near \"=\"); write conditions as in SQL, "
            'such as "attack.epsilon > 0.1 and seed = 0"',
        ),
        (("--sweep", "other"), "there is no sweep other in runs; choose one of bad, tiny"),
        (
            ("--export", "found.xlsx"),
            "found.xlsx ends in '.xlsx', but results are written as .csv, .json, .parquet; rename it",
        ),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(
    capsys: Say, runs: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    assert refuse(capsys, "results", *arguments) == sentence


def test_a_file_that_cannot_be_written_is_one_sentence(capsys: Say, runs: Path) -> None:
    said = refuse(capsys, "results", "--export", "nowhere/found.csv")
    assert said.startswith("cannot write to nowhere/found.csv (")
    assert said.endswith("(No such file or directory); name a file in another folder")


def test_records_that_cannot_be_read_are_one_sentence(capsys: Say, runs: Path) -> None:
    database = runs / ".store" / "records.sqlite3"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert refuse(capsys, "results").startswith(
        "runs/.store/records.sqlite3 was written by a newer version of perturblearn; update it"
    )
    database.write_bytes(b"no database at all" * 100)
    assert refuse(capsys, "results").startswith("cannot use the run records in runs/.store/records.sqlite3 (")


def test_a_sweep_without_runs_yet_shows_none(capsys: Say, tmp_path: Path) -> None:
    RecordStore(tmp_path / "runs" / ".store" / "records.sqlite3").write_collection(
        Collection("s1", "begun", "running", {}, ("a", "b"))
    )
    assert say(capsys, "results", "--sweep", "begun").out == "No runs.\n"
