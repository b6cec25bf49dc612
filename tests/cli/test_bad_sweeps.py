"""One sentence for every sweep that cannot be, and nothing is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.commands import file_bytes, refuse, say
from tests.cli.sweep_files import BASE, SWEEP, lasting_records, write

Say = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("", "sweep.toml has no section [sweep]; add one that says what varies, or use 'perturblearn run'"),
        ("[sweep]", "[sweep] has no axes; name keys with their values in sweep.grid, sweep.zip or sweep.random"),
        (
            "[sweep.grid]",
            'sweep.grid is empty; name the keys that vary, such as "attack.epsilon", or leave it out',
        ),
        (
            '[sweep.grid]\n"attack.epsilonn" = [1]',
            "sweep.grid varies attack.epsilonn, but there is no such key; did you mean attack.epsilon?",
        ),
        (
            '[sweep.grid]\n"attack.epsilon" = []',
            "sweep.grid has no values for attack.epsilon; give at least one, or leave it out",
        ),
        (
            '[sweep.grid]\n"attack.epsilon" = [0.1]\nattack.epsilon = [0.2]',
            "attack.epsilon is varied twice in [sweep]; name it on one axis, once",
        ),
        (
            '[sweep.grid]\nattack.epsilon = [0.1]\n[[sweep.zip]]\nattack.epsilon = [0.2]',
            "attack.epsilon is varied twice in [sweep]; name it on one axis, once",
        ),
        (
            "[sweep.grid]\nattack.epsilon = [0.1, -1.0]",
            "at the point attack.epsilon = -1.0: attack.epsilon = -1.0, but it must be at least 0",
        ),
        ('[sweep.grid]\ndevice = ["cuda:77"]', None),
        ("[sweep.grid\n", None),
    ],
)  # fmt: skip
def test_a_bad_sweep_is_one_sentence(capsys: Say, section: str, sentence: str | None) -> None:
    write(BASE + section)
    for options in ((), ("--plan",), ("--json",)):
        said = refuse(capsys, "sweep", "sweep.toml", *options)
        assert said == sentence or sentence is None
    assert list(Path().iterdir()) == [Path("sweep.toml")]


def test_data_that_are_not_there_are_said_of_their_point(capsys: Say) -> None:
    base = BASE.replace("input_dim = 10", "").replace("n_samples = 40", "")
    said = refuse(capsys, "sweep", write(base + '[sweep.grid]\ndata.name = ["digits", "npz:absent.npz"]'))
    assert said.startswith("at the point data.name = 'npz:absent.npz': absent.npz, which data.name")
    assert list(Path().iterdir()) == [Path("sweep.toml")]


def test_files_that_are_not_there_or_not_named(capsys: Say) -> None:
    assert refuse(capsys, "sweep") == "no file is named; name a TOML file with a section [sweep]"
    assert refuse(capsys, "sweep", "absent.toml").startswith("there is no file absent.toml; name a TOML file")


def test_a_sweep_s_file_is_no_run_s_file(capsys: Say) -> None:
    sentence = "[sweep] varies keys over many runs; use 'perturblearn sweep', or leave that section out"
    for command in (("run",), ("transfer", "--networks", "mlp,convnet")):
        assert refuse(capsys, command[0], write(SWEEP), *command[1:]) == sentence


def test_a_key_that_varies_cannot_be_given(capsys: Say) -> None:
    said = refuse(capsys, "sweep", write(SWEEP), "--attack.epsilon", "0.5")
    assert said == "attack.epsilon is given, but the sweep varies it; leave it out, or take it off its axis"
    said = refuse(capsys, "sweep", write(SWEEP), "--seeds", "5")
    assert said == "seeds is given, but the sweep varies it; leave it out, or take it off its axis"


@pytest.mark.parametrize("damage", ["newer", "no database"])
def test_records_that_cannot_be_used_are_left_alone(capsys: Say, damage: str) -> None:
    say(capsys, "sweep", write(SWEEP.replace("[0, 1]", "[0]")), "--quiet")
    database = Path("runs/.store/records.sqlite3")
    if damage == "newer":
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        database.write_bytes(b"no database" * 1000)
    before = file_bytes(Path("runs"))
    said = refuse(capsys, "sweep", write(SWEEP))
    wanted = "was written by a newer version" if damage == "newer" else "cannot use the run records in"
    assert wanted in said
    assert file_bytes(Path("runs")) == before


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_cannot_be_written(capsys: Say, out: str) -> None:
    Path("file").write_text("mine")
    said = refuse(capsys, "sweep", write(SWEEP), "--out", out)
    assert "with --out" in said
    assert sorted(Path().iterdir()) == [Path("file"), Path("sweep.toml")]


def test_a_read_only_folder_loses_nothing(capsys: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    say(capsys, "sweep", write(SWEEP), "--quiet")
    before, records = file_bytes(Path("runs")), lasting_records("runs")
    connect = sqlite3.connect

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # What a folder without write permission does to any user but root.
    with monkeypatch.context() as patched:
        patched.setattr("sqlite3.connect", lambda path, **options: connect(f"file:{path}?mode=ro", uri=True, **options))
        patched.setattr(Path, "mkdir", refused)
        said = refuse(capsys, "sweep", "sweep.toml", "--sweep.grid.dtype", "float32,float64")
    assert said.startswith("cannot use the run records in runs/.store/records.sqlite3 (")
    assert "make the file writable" in said
    assert (file_bytes(Path("runs")), lasting_records("runs")) == (before, records)
