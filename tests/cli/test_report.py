from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import refuse, say

TINY = [
    "--data.name",
    "gauss",
    "--data.n_samples",
    "20",
    "--data.input_dim",
    "5",
    "--seeds",
    "1",
    "--controls.draws",
    "1",
]
TINY += ["--standard.epochs", "2", "--perturbation.epochs", "2"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(capsys: pytest.CaptureFixture[str]) -> Path:
    said = say(capsys, "run", *TINY, "--json", "--no-report")
    return Path(said.json["folder"])


def test_a_page_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not (folder / "report.html").exists()
    said = say(capsys, "report", folder)
    assert (said.code, said.out, said.err) == (0, f"Report: {folder / 'report.html'}\n", "")
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_where_to_and_how_it_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "report", folder, "--to", "page.html", "--json")
    size = Path("page.html").stat().st_size
    assert said.json == {"kind": "page", "folder": str(folder), "page": "page.html", "bytes": size}
    assert not (folder / "report.html").exists()
    assert say(capsys, "report", folder, "--quiet").out == ""


def test_it_is_opened_where_that_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) is None)
    say(capsys, "report", folder)
    assert opened == []
    say(capsys, "report", folder, "--open")
    assert opened == [(folder / "report.html").resolve().as_uri()]


def test_what_has_no_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refuse(capsys, "report", "runs/gaus")
    assert "runs/gaus has no results; name the folder of a finished run, sweep, figure, audit or transfer" in told
    assert f"did you mean {folder}?" in told
    Path("empty").mkdir()
    assert "empty has no results" in refuse(capsys, "report", "empty")
    (folder / "result.json").write_text("{")
    assert "is damaged" in refuse(capsys, "report", folder)
    (folder / "result.json").write_text(json.dumps({"kind": "cake"}))
    assert "is not a result of perturblearn" in refuse(capsys, "report", folder)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content | {"seeds": []},
        lambda content: content | {"summary": {}},
        lambda content: content | {"kind": []},
        lambda content: content | {"seeds": [{"seed": 0}]},
        lambda content: content | {"seconds": float("nan")},
    ],
    ids=["no seeds", "no summary", "no kind", "no measures", "no number"],
)
def test_results_that_are_read_and_are_none(
    folder: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    path = folder / "result.json"
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    told = refuse(capsys, "report", folder)
    assert "is damaged" in told or "is not a result of perturblearn" in told
    assert not (folder / "report.html").exists()


def test_a_page_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot write to nowhere/page.html (No such file or directory)" in refuse(
        capsys, "report", folder, "--to", "nowhere/page.html"
    )
    Path("file").touch()
    assert "cannot write to file/page.html (Not a directory)" in refuse(
        capsys, "report", folder, "--to", "file/page.html"
    )


def test_theory_is_put_into_the_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "report", folder)
    assert "Every number of the comparison" not in (folder / "report.html").read_text(encoding="utf-8")
    say(capsys, "theory", folder)
    assert "Every number of the comparison" in (folder / "report.html").read_text(encoding="utf-8")
