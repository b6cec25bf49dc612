"""Every block of Python on a page runs, and prints what the page shows."""

from __future__ import annotations

import importlib
import re
import runpy
import shutil
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from tests.docs.pages import ROOT, blocks, pages, python_blocks
from tests.docs.printing import assert_printed

from perturblearn.cli import main

WITH_A_TEST_OF_THEIR_OWN = ("README.md", "docs/own_model.md")


PAGES = [page for page in pages() if page not in WITH_A_TEST_OF_THEIR_OWN and python_blocks(page)]
LONG = ("docs/reproduce.md", "docs/sweeps.md", "docs/theory.md")
"""Pages whose code computes for more than three seconds; tests/cli, tests/report and tests/theory do so for less."""


@pytest.mark.parametrize("page", [pytest.param(page, marks=pytest.mark.long if page in LONG else ()) for page in PAGES])
def test_a_page_shows_what_its_code_prints(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shared_stages: None,
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block, shown in python_blocks(page):
        exec(compile(block.text, block.place, "exec"), names)
        assert_printed(capsys.readouterr().out, shown, block.place)
    plt.close("all")


def test_code_and_output_are_found() -> None:
    found = {page: python_blocks(page) for page in PAGES}
    assert {"docs/start.md", "docs/theory.md", "docs/data.md", "docs/own_attack.md"} <= set(found)
    assert len(found["docs/theory.md"]) >= 10
    assert all(shown for block, shown in found["docs/theory.md"] if "print(" in block.text)


def test_the_readme_s_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one seed."""
    monkeypatch.chdir(tmp_path)
    ((block, _),) = python_blocks("README.md")
    names: dict[str, object] = {}
    assert '"seeds": 5' in block.text
    exec(compile(block.text.replace('"seeds": 5', '"seeds": 1'), block.place, "exec"), names)
    assert "g classifies" in capsys.readouterr().out
    assert set(names) >= {"result", "figure"}
    assert not list(tmp_path.iterdir()), "without out= nothing is written"
    plt.close("all")


def test_the_example_of_an_own_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the page tells it, with fewer epochs, images and seeds."""
    for name in ("nets.py", "prepare.py"):
        shutil.copy(ROOT / "examples/own_model" / name, tmp_path)
    block, _ = python_blocks("docs/own_model.md")[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["prepare.py", "1"])
    with torch.random.fork_rng():
        runpy.run_path("prepare.py", run_name="__main__")
    quick = {"training": "sgd", "epochs": 1, "batch_size": 32, "lr": 0.05}
    defaults = {"standard": quick, "perturbation": quick, "attack": {"name": "pgd", "steps": 2}, "seeds": 1}
    home = importlib.import_module("perturblearn.api.audit")
    few = {"data": {"n_samples": 100, "n_heldout": 50}, "controls": {"draws": 1}}
    monkeypatch.setattr(home, "DEEP_DEFAULTS", {**defaults, **few})
    try:
        exec(compile(block.text, block.place, "exec"), {})
    finally:
        sys.modules.pop("nets", None)
    printed = capsys.readouterr().out
    assert "beats controls" in printed
    assert re.search(r"^linf 0\.\d+$", printed, re.MULTILINE)
    assert (tmp_path / "audit.png").stat().st_size > 0
    plt.close("all")


def test_the_example_of_an_own_attack_runs_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's file and its command, as they stand."""
    monkeypatch.chdir(tmp_path)
    page = "docs/own_attack.md"
    (tmp_path / "attacks.py").write_text(python_blocks(page)[0][0].text)
    (line,) = [block.text for block in blocks(page) if block.language == "sh"]
    try:
        assert main([*line.split()[1:], "--no-report"]) == 0
    finally:
        sys.modules.pop("attacks", None)
    assert re.search(r"^attack_success +0\.24", capsys.readouterr().out, re.MULTILINE)
