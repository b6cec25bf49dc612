from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.commands import TINY, refuse, run_folders, say


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(capsys: pytest.CaptureFixture[str]) -> Path:
    say(capsys, "run", *TINY, "--quiet")
    (found,) = run_folders(Path("runs"))
    return found


def test_a_run_is_compared_with_theory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "theory", folder)
    assert (said.code, said.err) == (0, "")
    assert "cosine_similarity " in said.out
    assert "f̂ has the sign of f on" in said.out
    assert said.out.endswith(f"\nFigures and numbers: {folder / 'theory'}\n")
    assert {path.name for path in (folder / "theory").iterdir()} > {"theory.png", "decision_map.png"}


def test_json_and_quiet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "theory", folder, "--json")
    assert said.code == 0
    assert said.json == json.loads((folder / "theory" / "comparison.json").read_text())
    quiet = say(capsys, "theory", folder, "--quiet", "--force")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_the_plan_of_a_comparison(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "theory", folder, "--plan", "--map-limits", -7, 7)
    assert (said.code, said.err) == (0, "")
    assert "decision map" in said.out
    plan = say(capsys, "theory", folder, "--plan", "--map-limits", -7, 7, "--json").json
    assert any(stage["state"] == "run" for stage in plan["stages"])
    assert say(capsys, "theory", folder, "--quiet", "--map-limits", -7, 7).code == 0
    plan = say(capsys, "theory", folder, "--plan", "--map-limits", -7, 7, "--json").json
    assert not any(stage["state"] == "run" for stage in plan["stages"])


def test_the_map_s_limits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "theory", folder, "--quiet", "--map-limits", -7, 7).code == 0
    assert "a map needs a lower limit below the upper one" in refuse(capsys, "theory", folder, "--map-limits", 7, -7)


def test_what_is_no_run_is_refused_in_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "name the folder of a finished run" in refuse(capsys, "theory", "nowhere")
    (folder / "result.json").write_text("{")
    assert "is damaged" in refuse(capsys, "theory", folder)
    assert "theory" in refuse(capsys, "theory")


def test_a_limit_needs_a_slope_and_geometry_needs_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert "a limit needs units" in refuse(capsys, "run", "--standard.model.name", "limit")
    assert "choose the model limit" in refuse(capsys, "run", "--attack.name", "geometry")


def test_data_without_a_limit_are_told_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    keys = [
        *[
            "--seeds",
            "1",
            "--data.name",
            "uniform",
            "--data.input_dim",
            "10",
            "--data.n_samples",
            "100",
            "--controls.draws",
            "0",
        ]
    ]
    limit = [*["--standard.model.name", "limit", "--standard.model.slope", "0.1"]]
    sentence = refuse(capsys, "run", *keys, *limit)
    assert "standard classifier" in sentence
    assert "cannot separate the 100 samples in 10 dimensions" in sentence
