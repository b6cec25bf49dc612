"""Progress on a terminal, and where standard error is a file."""

from __future__ import annotations

import gc
import io
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tests.cli.commands import TINY, refuse, say

from perturblearn.cli import main
from perturblearn.cli.progress import ProgressBar
from perturblearn.graph import Progress, Stage
from perturblearn.graph.stage import Results


class Long(Stage[None]):
    kind = "a stage whose name alone takes more letters than there are left on a narrow terminal"

    def run(self, result: Results) -> None:
        """It is never run here."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [80, 60])
def test_the_time_left_is_readable_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(
        "perturblearn.cli.progress.Console",
        lambda **_: Console(file=screen, width=width, force_terminal=True, color_system=None),
    )
    monkeypatch.setattr("perturblearn.api.progress.PlanProgress.elapsed", 3600.0)
    with ProgressBar() as bar:
        bar.update(Progress(Long(), 3, 21))
        bar.update(Progress(Long(), 3, 21, 120, 1000, "loss 0.03", share=0.25))
        bar._bar.refresh()
        line = screen.getvalue().splitlines()[-1]
    assert "25% 1:00:00, about 3:00:00 left 0/21 a stage" in line
    assert "…" in line


def test_a_log_says_how_a_run_begins_and_ends(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = say(capsys, "run", *TINY, "--out", tmp_path, "--no-report")
    started, finished = said.progress.splitlines()
    assert (said.code, said.err, started) == (0, "", "progress: started, 7 stages to run")
    assert finished.startswith("progress: finished, 7 stages in 0:0")
    assert say(capsys, "run", *TINY, "--out", tmp_path, "--no-report").progress == "", "nothing runs again"


@pytest.mark.parametrize(
    ("options", "n_lines"), [(["--quiet"], 0), (["--json"], 0), (["--json", "-v"], 9), (["-v"], 9)]
)
def test_options_say_how_much_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], n_lines: int
) -> None:
    said = say(capsys, "run", *TINY, "--out", tmp_path, "--no-report", *options)
    assert (said.code, said.progress.count("\n")) == (0, n_lines)


def test_nothing_and_more_cannot_both_be_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sentence = refuse(capsys, "run", *TINY, "--out", tmp_path, "--quiet", "--verbose")
    assert sentence == "--quiet and --verbose contradict each other; give only one"


def test_garbage_is_collected_while_a_command_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    collecting: list[bool] = []
    monkeypatch.setattr(ProgressBar, "update", lambda *_: collecting.append(gc.isenabled()))
    gc.disable()  # as perturblearn.__main__ does while code is loaded
    try:
        assert main(["run", *TINY, "--out", str(tmp_path), "--no-report", "--quiet"]) == 0
    finally:
        gc.enable()
        gc.unfreeze()
    assert collecting
    assert all(collecting)
