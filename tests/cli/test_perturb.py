"""The command perturb as users meet it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.cli.commands import DEEP, file_bytes, refuse, run_folders, say

from perturblearn.perturbed import StoredSet

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_perturb_names_each_set_and_how_to_learn_from_one(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "perturb", *DEEP[2:], "--seeds", 2)
    assert (said.code, said.err) == (0, "")
    folders = run_folders(Path("sets"))
    *sets, hint = said.out.splitlines()
    assert sets == [f"{folder}: {StoredSet(folder)}" for folder in folders]
    assert [StoredSet(folder).seed for folder in folders] == [0, 1]
    assert hint == f"Train g on one with: perturblearn learn {folders[0]}"


def test_perturb_as_json_tells_what_the_manifests_tell(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "perturb", *DEEP, "--json")
    assert (said.code, said.err, said.out.count("\n")) == (0, "", 1)
    (told,) = said.json["sets"]
    (folder,) = run_folders(Path("sets"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert said.json["kind"] == "perturbed sets"
    assert (told["folder"], told["sha256"]) == (str(folder), manifest["sha256"])
    assert told["parts"]["training"]["n_samples"] == 60
    assert told["standard"]["accuracy"].keys() == {"standard_accuracy", "standard_accuracy_heldout"}


def test_perturb_quietly_says_nothing_and_writes_all(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    said = say(capsys, "perturb", *DEEP, "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")
    (folder,) = run_folders(Path("sets"))
    # Wherever it is written, and whoever trains g, it is the same set to the byte.
    assert folder.name == of_digits.name
    assert file_bytes(folder) == file_bytes(of_digits)


def test_a_plan_of_a_set_writes_nothing_and_names_no_g(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = say(capsys, "perturb", *DEEP, "--plan")
    assert (said.code, said.err) == (0, "")
    assert "standard classifier" in said.out
    assert "perturbed held-out set" in said.out
    assert "perturbation classifier" not in said.out
    assert list(tmp_path.iterdir()) == []
    planned = say(capsys, "perturb", *DEEP, "--plan", "--json").json["stages"]
    assert [stage["state"] for stage in planned].count("run") == 4  # f, its measures, the set and the held-out one
    say(capsys, "perturb", *DEEP)
    assert "4 finished" in say(capsys, "perturb", *DEEP, "--plan").out


def test_perturb_again_does_nothing_even_without_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    first = say(capsys, "perturb", *DEEP)
    (folder,) = run_folders(Path("sets"))
    shutil.rmtree("sets/.store")
    before = {path: path.stat().st_mtime_ns for path in Path("sets").rglob("*")}
    again = say(capsys, "perturb", *DEEP)
    assert (again.code, again.out) == (0, first.out)
    assert {path: path.stat().st_mtime_ns for path in Path("sets").rglob("*")} == before
    assert run_folders(Path("sets")) == [folder]


def test_perturb_by_force_writes_the_same_bytes_into_new_files(capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "perturb", *DEEP)
    (folder,) = run_folders(Path("sets"))
    content, manifest = file_bytes(folder), (folder / "manifest.json").stat().st_ino
    kept = (folder / "manifest.json").open()  # so that its number is not given to the new file
    assert say(capsys, "perturb", *DEEP, "--force", "--quiet").code == 0
    assert run_folders(Path("sets")) == [folder]
    assert file_bytes(folder) == content
    assert (folder / "manifest.json").stat().st_ino != manifest
    kept.close()


def test_perturb_finishes_a_set_without_its_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "perturb", *DEEP)
    (folder,) = run_folders(Path("sets"))
    content = file_bytes(folder)
    (folder / "manifest.json").unlink()
    assert say(capsys, "perturb", *DEEP, "--quiet").code == 0
    assert file_bytes(folder) == content


def test_perturb_of_a_second_seed_leaves_the_first_set_alone(capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "perturb", *DEEP)
    (first,) = run_folders(Path("sets"))
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    say(capsys, "perturb", *DEEP[2:], "--seeds", 2)
    assert len(run_folders(Path("sets"))) == 2
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before


def test_perturb_keeps_its_stages_in_the_cache(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    assert say(capsys, "perturb", *DEEP, "--cache-dir", "cache", "--quiet").code == 0
    (folder,) = run_folders(Path("sets"))
    assert file_bytes(folder) == file_bytes(of_digits)
    assert len(list(Path("cache/artefacts").glob("*/*"))) == 4
    assert not Path("sets/.store/artefacts").exists()
    # A file that the set shares with the cache stays what it is when the cache goes.
    shutil.rmtree("cache")
    assert say(capsys, "verify", folder).code == 0


def test_perturb_of_several_learning_rates_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for more in ([], ["--plan"]):
        said = refuse(capsys, "perturb", *DEEP, "--standard.lr", "0.1,0.2", *more)
        assert said == (
            "standard.lr has 2 values, but a perturbed set is that of one f; choose one, for example --standard.lr 0.1"
        )
        assert list(tmp_path.iterdir()) == []
