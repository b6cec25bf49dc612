from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.cli.commands import TINY, refuse, run_folders, say
from tests.report.project import write_project

import perturblearn
from perturblearn.cli import main

Say = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_the_page_is_written_and_named(capsys: Say) -> None:
    write_project(Path("runs"))
    said = say(capsys, "index")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "runs: 2 runs, 1 sweep, 1 figure, 1 study, 1 audit, 1 transfer matrix, 1 perturbed set.",
        "3 folders left out; the page says why.",
        "Index: runs/index.html",
    ]
    assert "<!DOCTYPE html>" in Path("runs/index.html").read_text(encoding="utf-8")
    shutil.move("runs", "other")
    assert say(capsys, "index", "other", "--quiet").out == ""
    assert Path("other/index.html").exists()


def test_as_json_it_is_the_same_entries(capsys: Say) -> None:
    write_project(Path("runs"))
    said = say(capsys, "index", "--json").json
    assert (said["kind"], said["page"]) == ("index", "runs/index.html")
    assert said == json.loads(json.dumps(perturblearn.index("runs").to_dict()))
    assert {entry["kind"] for entry in said["entries"]} == {
        "run", "sweep", "figure", "study", "audit", "transfer matrix", "perturbed set",
    }  # fmt: skip


def test_what_a_command_writes_is_found(capsys: Say) -> None:
    assert main(["run", *TINY, "--quiet", "--name", "made"]) == 0
    assert main(["perturb", *TINY, "--quiet", "--name", "made", "--out", "runs"]) == 0
    said = say(capsys, "index", "--json").json
    entries = {entry["kind"]: entry for entry in said["entries"]}
    assert (set(entries), said["unread"]) == ({"run", "perturbed set"}, [])
    result = json.loads((Path("runs") / entries["run"]["folder"] / "result.json").read_text())
    assert entries["run"]["conclusion"] == result["conclusion"]
    g = result["summary"]["perturbation_accuracy_heldout"]["mean"]
    assert entries["run"]["numbers"]["perturbation_accuracy_heldout"] == {"low": g, "high": g, "std": None}
    f = entries["perturbed set"]["numbers"]["standard_accuracy_heldout"]
    assert f["low"] == result["summary"]["standard_accuracy_heldout"]["mean"]
    assert Path("runs/index.html") in run_folders(Path("runs"))


def test_a_folder_that_cannot_be_shown_is_one_sentence(capsys: Say) -> None:
    assert refuse(capsys, "index") == "there is no folder runs; name the one that results were written to"
    write_project(Path("runs"))
    assert refuse(capsys, "index", "runs/first") == (
        "runs/first is itself a result (result.json is in it); name the folder that it lies in"
    )
