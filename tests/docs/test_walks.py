"""The walks of *How it is built*: short, and true to the code that runs."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from types import FrameType

import pytest
from tests.docs.pages import ROOT, text_of

from perturblearn import learn_from_perturbations

SOURCE = ROOT / "src/perturblearn"
MOST_FILES = {"Epsilon": 9, "The learning rate of g": 9, "A figure's name": 12}
TOML = """
[data]
name = "gauss"
input_dim = 20
n_samples = 20
n_heldout = 20
[standard]
epochs = 2
model.hidden_dim = 4
[perturbation]
epochs = 2
model.hidden_dim = 4
lr = 0.25
[attack]
epsilon = 0.125
"""


def walk(value: str) -> list[str]:
    """The files that a value passes, in order."""
    text = text_of("docs/how_it_is_built.md").split(f"*{value}*", 1)[1].split("\n\n*", 1)[0]
    return re.findall(r"^\d+\. `([\w/]+\.py)`", text, flags=re.MULTILINE)


@pytest.mark.parametrize("value", MOST_FILES)
def test_a_walk_is_short_and_its_files_exist(value: str) -> None:
    files = walk(value)
    assert 2 < len(files) <= MOST_FILES[value]
    assert [file for file in files if not (SOURCE / file).is_file()] == []


def test_a_run_passes_the_files_of_its_walks(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(TOML, encoding="utf-8")
    passed: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        # Bodies of modules and classes are no passage: their import alone runs them.
        if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(SOURCE):
                passed.add(path.relative_to(SOURCE).as_posix())

    sys.setprofile(note)
    try:
        learn_from_perturbations(tmp_path / "small.toml", overrides={"seeds": 1})
    finally:
        sys.setprofile(None)
    assert {*walk("Epsilon"), *walk("The learning rate of g")} <= passed
