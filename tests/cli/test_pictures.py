"""Pictures and pages that cannot be made: a warning, and everything else is there."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import DEEP, TINY, run_folders, say
from tests.cli.test_audit import TINY_AUDIT
from tests.cli.test_transfer import DATA, NETWORKS

from perturblearn.papers import ALL, Figure, Panel
from perturblearn.results import load

SMALL = {
    "data.name": "gauss", "input_dim": 8, "n_samples": 20, "data.n_heldout": 20, "hidden_dim": 6, "epochs": 5,
    "lr": 1.0, "epsilon": 0.5,
}  # fmt: skip
CURVES = Figure(
    "paper/curves", SMALL, [Panel({"epsilon": (0.1, 0.5)})], measures={"g": "perturbation_accuracy"}, control_draws=1
)
MAPS = Figure("paper/maps", SMALL, [Panel(title="first")], draws="decision maps", control_draws=0)
REPRODUCE = ["--scale", "full", "--seeds", "1"]

WORK = {
    "run": ["run", *TINY],
    "classes": ["run", *DEEP],
    "audit": ["audit", *TINY_AUDIT, "--epsilons", "l2:0.5"],
    "transfer": ["transfer", *NETWORKS, *DATA],
    "figure": ["reproduce", "paper/curves", *REPRODUCE],
    "maps": ["reproduce", "paper/maps", *REPRODUCE],
}


@pytest.fixture(autouse=True)
def _figures(in_a_folder_of_its_own: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for figure in (CURVES, MAPS):
        monkeypatch.setitem(ALL, figure.name, figure)


@pytest.mark.parametrize("work", WORK)
def test_a_failed_picture_costs_no_result(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no\nfonts")

    whole = say(capsys, *WORK[work], "--out", "whole", "--cache-dir", "cache")
    assert (whole.code, whole.err) == (0, "")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fails)
    monkeypatch.setattr("perturblearn.pages.run_page", fails)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        said = say(capsys, *WORK[work], "--cache-dir", "cache")
    assert said.code == 0
    (complete,), (folder,) = run_folders(Path("whole")), run_folders(Path("runs"))
    files = {path.relative_to(complete).as_posix() for path in complete.rglob("*")}
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    shown = {name for name in files if name.endswith((".png", ".html"))}
    assert shown
    assert left == files - shown
    expected = {
        f"perturblearn: warning: {folder}/{name} could not be drawn (no fonts); the results are complete without it"
        for name in shown
    }
    assert set(said.err.splitlines()) == expected
    assert type(load(folder)) is type(load(complete))


def test_theory_without_its_pictures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(say(capsys, *WORK["run"], "--json").json["folder"])

    def fails(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("perturblearn.report.charts.drawing.map_charts", fails)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        said = say(capsys, "theory", folder)
    assert (said.code, said.err.count("\n")) == (0, 1)
    assert "theory/decision_map.png could not be drawn (MemoryError)" in said.err
    assert (folder / "theory" / "theory.png").is_file()


def test_a_map_that_cannot_be_computed_costs_no_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ArithmeticError("no plane")

    monkeypatch.setattr("perturblearn.experiment.checks.draw_map", fails)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        said = say(capsys, *WORK["maps"])
    (folder,) = run_folders(Path("runs"))
    assert said.code == 0
    assert "figure-1.png could not be drawn (no plane)" in said.err
    assert (folder / "result.json").is_file()


def test_without_a_report_only_what_is_asked_for_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    def drawn(*options: str) -> set[str]:
        folder = Path(say(capsys, *WORK["run"], "--json", *options).json["folder"])
        return {path.name for path in folder.iterdir() if path.suffix in (".png", ".pdf", ".html")}

    assert drawn("--no-report") == set()
    assert drawn("--no-report", "--format", "pdf") == {"accuracies.pdf", "perturbations.pdf"}
    assert drawn() - drawn("--no-report") == set(), "what is there stays"
    assert drawn() > {"accuracies.png", "perturbations.png", "report.html"}


@pytest.mark.parametrize(
    "backend", [pytest.param("nonsense", marks=pytest.mark.long), "module://absent_inline.backend"]
)
def test_settings_of_matplotlib_do_not_matter(tmp_path: Path, backend: str) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.family: Absent\nsavefig.format: absent\n")
    environment = {**os.environ, "MPLBACKEND": backend, "MATPLOTLIBRC": str(tmp_path)}
    command = [sys.executable, "-m", "perturblearn", "run", *TINY, "--quiet", "--no-report", "--format", "png"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "could not be drawn" not in done.stderr
    (folder,) = run_folders(Path("runs"))
    assert (folder / "perturbations.png").stat().st_size > 10_000
