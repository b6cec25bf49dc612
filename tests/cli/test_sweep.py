from __future__ import annotations

import csv
import json
import re
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import file_bytes, refuse, run_folders, say
from tests.cli.sweep_files import (
    BASE,
    DIVERGING,
    SWEEP,
    artefact_keys,
    collections,
    lasting_files,
    lasting_records,
    record_store,
    write,
)
from tests.values import within

import perturblearn
from perturblearn.experiment.checks import Selection
from perturblearn.graph import Progress, Results

Say = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.fixture
def failing_stage(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Selection], bool]], list[Selection]]:
    """Make selections fail for which a condition holds; the list has every selection that is run."""

    def install(fails: Callable[[Selection], bool]) -> list[Selection]:
        original, seen = Selection.run, list[Selection]()

        def run(stage: Selection, result: Results) -> Any:
            seen.append(stage)
            if fails(stage):
                raise RuntimeError("the disk of the cluster\nis gone")
            return original(stage, result)

        monkeypatch.setattr(Selection, "run", run)
        return seen

    return install


def test_a_sweep_ends_with_a_table_a_folder_and_a_record_of_every_run(capsys: Say) -> None:
    said = say(capsys, "sweep", write(SWEEP))
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(
        "tiny: 4 points over attack.epsilon, standard.model.slope; 8 runs; N = 40, d = 10, 40 held-out inputs\n"
    )
    (folder,) = run_folders(Path("runs"))
    assert re.search(r"\n\n8 runs: 0 finished before, 8 finished now, 0 failed; \d+\.\d s\.\n", said.out)
    assert said.out.endswith(f"\nResults: {folder}\nReport: perturblearn report {folder}\n")
    content = json.loads((folder / "sweep.json").read_text())
    assert [point["finished"] for point in content["points"]] == [2, 2, 2, 2]
    with (folder / "runs.csv").open() as file:
        assert [row["key"] for row in csv.DictReader(file)] == [run["key"] for run in content["runs"]]
    (collection,) = collections("runs")
    assert (collection.name, collection.key, collection.state) == ("tiny", content["key"], "finished")
    assert collection.runs == tuple(run["key"] for run in content["runs"])
    found = record_store("runs").read_many(collection.runs)
    assert {record.state for record in found.values()} == {"finished"}
    assert [within(found[run["key"]].config, "attack", "epsilon") for run in content["runs"]] == [0.5] * 4 + [1.0] * 4
    for run in content["runs"]:
        result = found[run["key"]].result
        assert result is not None
        assert result["seeds"][0]["measures"]["agreement"] == run["agreement"]


def test_a_run_of_a_sweep_is_the_run_alone(capsys: Say) -> None:
    say(capsys, "sweep", write(BASE + '[sweep.grid]\nseeds = [1]\n"attack.epsilon" = [0.5]\n'), "--quiet")
    # What a run does unasked a sweep does not.
    keys = ("--seeds", "[1]", "--attack.epsilon", "0.5", "--measures.attribution", "false")
    alone = say(capsys, "run", write(BASE, "run.toml"), *keys, "--json", "--out", "alone").json
    (record,) = record_store("runs").all()
    assert record.key == alone["key"]
    assert record.result is not None
    assert record.result["seeds"] == alone["seeds"]


def test_what_is_finished_is_not_repeated(capsys: Say, failing_stage: Any) -> None:
    seen = failing_stage(lambda stage: False)
    said = say(capsys, "sweep", write(SWEEP), "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")
    assert len(seen) == 8
    before = lasting_files("runs"), record_store("runs").all(), artefact_keys("runs")
    again = say(capsys, "sweep", "sweep.toml", "--json")
    assert (again.json["n_runs"], again.json["n_finished_before"], again.json["n_failed"]) == (8, 8, 0)
    assert (lasting_files("runs"), record_store("runs").all(), artefact_keys("runs")) == before
    more = say(capsys, "sweep", write(SWEEP.replace("0.5, 1.0", "0.5, 1.0, 2.0")))
    assert "12 runs: 8 finished before, 4 finished now, 0 failed;" in more.out
    assert len(seen) == 12
    forced = say(capsys, "sweep", "sweep.toml", "--force", "--json").json
    assert forced["n_finished_before"] == 0
    assert len(seen) == 24


def test_only_records_and_measures_are_kept_unless_more_is_asked_for(capsys: Say) -> None:
    counts = {}
    for keep in ("measures", "weights", "all"):
        assert say(capsys, "sweep", write(SWEEP), "--sweep.keep", keep, "--out", keep, "--quiet").code == 0
        counts[keep] = len(artefact_keys(keep))
    assert counts["measures"] < counts["weights"] <= counts["all"]
    assert lasting_records("measures") == lasting_records("weights") == lasting_records("all")


def test_the_plan_says_how_much_there_is_to_do(capsys: Say) -> None:
    said = say(capsys, "sweep", write(SWEEP), "--plan")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[:3] == [
        "4 points, 8 runs:", "  grid attack.epsilon: 2 values", "  grid standard.model.slope: 2 values",
    ]  # fmt: skip
    assert re.fullmatch(
        r"\d+ stages: \d+ to run, 0 finished, \d+ made only if asked for; \d+ used more than.*", lines[4]
    )
    assert "floating-point operations" in lines[5]
    assert len(lines) == 6
    assert list(Path().iterdir()) == [Path("sweep.toml")]
    planned = say(capsys, "sweep", "sweep.toml", "--plan", "--json").json
    assert (planned["n_points"], planned["n_runs"], planned["stages"]["finished"]) == (4, 8, 0)
    assert planned["axes"][0] == {"kind": "grid", "keys": ["attack.epsilon"], "n": 2}
    say(capsys, "sweep", "sweep.toml", "--quiet")
    afterwards = say(capsys, "sweep", "sweep.toml", "--plan", "--json").json
    assert afterwards["stages"]["stages"] == planned["stages"]["stages"]
    assert afterwards["stages"]["to_run"] == 0
    assert afterwards["key"] == planned["key"]


def test_the_plan_of_very_many_groups_estimates_some_of_them(capsys: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = say(capsys, "sweep", write(SWEEP), "--plan").out.splitlines()
    monkeypatch.setattr("perturblearn.graph.plan._SAMPLED", 3)
    some = say(capsys, "sweep", "sweep.toml", "--plan").out.splitlines()
    assert re.fullmatch(r"Estimated from 3 of \d+ groups of stages, drawn at random\.", some[6])
    # Networks differ in nothing that costs much: a sample, scaled up, is about the whole.
    operations = [float(re.findall(r"In all (\S+) floating", lines[5])[0]) for lines in (whole, some)]
    assert operations[1] == pytest.approx(operations[0], rel=1)


def test_a_run_that_fails_stops_no_other_and_keeps_its_error(capsys: Say) -> None:
    said = say(capsys, "sweep", write(DIVERGING))
    assert (said.code, said.err) == (1, "")
    assert "2 runs failed; run the same command with --retry to repeat them:" in said.out
    sentence = r"training diverged at epoch 1 of 5 with learning rate 1e\+39"
    assert re.search(rf"\n  standard\.lr = 1e\+39, seed = 1: .*{sentence}", said.out)
    assert "4 runs: 0 finished before, 2 finished now, 2 failed;" in said.out
    states = {record.state: record.error for record in record_store("runs").all()}
    assert set(states) == {"finished", "failed"}
    assert re.search(sentence, states["failed"] or "")
    assert [found.state for found in collections("runs")] == ["failed"]
    (folder,) = run_folders(Path("runs"))
    with (folder / "runs.csv").open() as file:
        assert [bool(row["error"]) for row in csv.DictReader(file)] == [False, False, True, True]


def test_what_failed_is_repeated_only_on_demand(capsys: Say, failing_stage: Any) -> None:
    is_broken = True
    seen = failing_stage(lambda stage: is_broken and stage.standard_lr == (1e-5,))
    file = write(BASE + '[sweep.grid]\nseeds = [0, 1]\n"standard.lr" = [0.1, 1e-5]\n')
    assert say(capsys, "sweep", file, "--quiet").code == 1
    assert len(seen) == 4
    is_broken = False
    again = say(capsys, "sweep", file)
    assert again.code == 1
    assert "RuntimeError: the disk of the cluster is gone" in again.out
    assert "4 runs: 2 finished before, 0 finished now, 2 failed;" in again.out
    assert len(seen) == 4
    retried = say(capsys, "sweep", file, "--retry")
    assert retried.code == 0
    assert "4 runs: 2 finished before, 2 finished now, 0 failed;" in retried.out
    assert len(seen) == 6
    say(capsys, "sweep", file, "--out", "undisturbed", "--quiet")
    assert lasting_records("runs") == lasting_records("undisturbed")
    assert lasting_files("runs") == lasting_files("undisturbed")


def test_from_python_in_memory_and_on_disk(capsys: Say) -> None:
    in_memory = perturblearn.sweep(write(SWEEP))
    assert list(Path().iterdir()) == [Path("sweep.toml")]
    on_disk = perturblearn.sweep("sweep.toml", out="runs", executor="in_process")
    assert in_memory.folder is None
    assert on_disk.folder in run_folders(Path("runs"))
    assert in_memory.runs == on_disk.runs
    assert say(capsys, "sweep", "sweep.toml", "--json").json["n_finished_before"] == 8


def test_ctrl_c_is_told_and_the_same_command_goes_on(
    capsys: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_bar: Any, progress: Progress) -> None:
        if progress.number == 20:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("perturblearn.cli.progress.ProgressBar.update", interrupted)
        said = say(capsys, "sweep", write(SWEEP))
    assert said.code == 130
    assert said.err.endswith("interrupted; finished stages are kept, and the same command resumes\n")
    assert [found.state for found in collections("runs")] == ["interrupted"]
    assert run_folders(Path("runs")) == []
    assert say(capsys, "sweep", "sweep.toml", "--quiet").code == 0
    say(capsys, "sweep", "sweep.toml", "--out", "undisturbed", "--quiet")
    assert lasting_records("runs") == lasting_records("undisturbed")
    assert lasting_files("runs") == lasting_files("undisturbed")


def test_a_disk_that_is_full_for_the_records_is_one_sentence_and_nothing_is_lost(
    capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(SWEEP)
    say(capsys, "sweep", write(SWEEP.replace("[0.5, 1.0]", "[0.5]"), "first.toml"), "--quiet")
    before = lasting_records("runs"), collections("runs"), lasting_files("runs")
    connect = sqlite3.connect

    def on_a_full_disk(path: Path, timeout: float) -> sqlite3.Connection:
        connection = connect(path, timeout=timeout)
        connection.execute("PRAGMA max_page_count = 1")  # no page more than the file has
        return connection

    with monkeypatch.context() as patched:
        patched.setattr("sqlite3.connect", on_a_full_disk)
        said = refuse(capsys, "sweep", file)
    assert re.fullmatch(
        r"cannot use the run records in runs/\.store/records\.sqlite3 \(.*full\); free some space.*", said
    )
    assert (lasting_records("runs"), collections("runs")[:1]) == before[:2]
    assert lasting_files("runs") == before[2]
    assert say(capsys, "sweep", file, "--quiet").code == 0
    assert len(lasting_records("runs")) == 8


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(
    capsys: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("default")
        patched.setattr("os.rename", no_space)
        said = say(capsys, "sweep", write(SWEEP))
    warning, error = said.err.splitlines()
    assert warning.startswith("perturblearn: warning: cannot write to runs/.store (No space left on device); ")
    assert error.startswith("perturblearn: cannot write to runs/.store (No space left on device); free some space")
    assert (said.code, said.out) == (2, "")
    assert run_folders(tmp_path / "runs") == []
    # The runs went on in memory, and their records had room.
    assert "8 runs: 8 finished before, 0 finished now" in say(capsys, "sweep", "sweep.toml").out


def test_the_sweep_s_folder_is_never_there_in_part(capsys: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    say(capsys, "sweep", write(SWEEP), "--quiet")
    (folder,) = run_folders(Path("runs"))
    before = file_bytes(folder)

    write_text = Path.write_text

    def full(path: Path, *content: str, **how: str) -> int:
        if path.suffix == ".csv":  # after the first files were written
            raise OSError(28, "No space left on device")
        return write_text(path, *content, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        assert "No space left on device" in refuse(capsys, "sweep", "sweep.toml")
    assert file_bytes(folder) == before
