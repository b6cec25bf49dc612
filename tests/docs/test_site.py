"""The site is built without a warning, and its docstrings say what they must."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tests.docs.pages import ROOT
from torch import Tensor

SHOWN_ROWS = 3
"""Rows of each table of points that a quick reading keeps."""


def build(builder: str, folder: Path, *, root: Path = ROOT, options: Sequence[str] = ()) -> Path:
    """The site as `make docs` builds it: a link, anchor, picture or name in a docstring that leads nowhere fails."""
    words = ["sphinx", "-b", builder, "-W", "-n", "--keep-going", "-q", "-d", str(folder / "tree"), *options]
    command = [sys.executable, "-m", *words, "docs", str(folder / builder)]
    made = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder / builder


def with_shorter_tables(folder: Path) -> Path:
    """The whole project, but of the tables in the generated reproductions, which take long to read, the first rows."""
    for place in ROOT.iterdir():
        if place.name != "docs":
            (folder / place.name).symlink_to(place)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("_build"))
    for page in (folder / "docs/reproduction").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        page.write_text(
            re.sub(rf"((?:^\|.*\n){{{SHOWN_ROWS + 2}}})(?:^\|.*\n)+", r"\1", text, flags=re.M), encoding="utf-8"
        )
    return folder


@pytest.mark.long
def test_the_site_is_read_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    # Dashes instead of hyphens lead nowhere. What notebooks print is tested in test_course.py.
    options = ["-D", "smartquotes=0", "-D", "execute_notebooks=0"]
    build("dummy", tmp_path, root=with_shorter_tables(tmp_path / "project"), options=options)


@pytest.mark.long
def test_the_site_s_pages_need_no_network(tmp_path: Path) -> None:
    site = build("html", tmp_path)
    assert "Five-minute start" in (site / "index.html").read_text(encoding="utf-8")
    theory = (site / "api/theory.html").read_text(encoding="utf-8")
    assert "<math" in theory
    assert re.search(r'href="[^"]*#perturblearn\.ConfigError"', theory), "errors under Raises are links"
    course = (site / "course/01_phenomenon.html").read_text(encoding="utf-8")
    assert "clean held-out digits that g classifies correctly" in re.sub("<pre>.*?</pre>", "", course, count=1)
    assert re.search(r'<img alt="Accuracy of f and g[^>]+src="\.\./_images/', course)
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text(encoding="utf-8")
        )
        assert not fetched, f"{page.name} needs the network: {fetched}"


@pytest.fixture(scope="module")
def docstrings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs/docstrings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docstrings"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def silent(x: Tensor, slope: float) -> Tensor:
    """Something of something."""
    return x * slope


def wrong_names(x: Tensor, slope: float) -> Tensor:
    """Sums over `no_such_name`, (N,) [own].

    Args:
        x: inputs (N, d).
        gamma: negative slope.
    """
    if slope < 0:
        raise ValueError("slope")
    return x


def sourceless(x: Tensor) -> Tensor:
    """Squares of x, (N, d).

    Raises:
        ValueError: never.
    """
    return x


def good(x: Tensor, z: Tensor, *, slope: float) -> Tensor:
    """Something of `torch.Tensor` [NeurIPS24, section 4].

    Args:
        x, z: inputs (N, d) and (M, d).
        slope: in [0, 1).

    Raises:
        ValueError, TypeError: slope out of range.
    """
    if slope < 0:
        raise ValueError(torch.__version__)
    return x + z


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (silent, ["has no Args", "gives no shapes", "names no source"]),
        (wrong_names, ["explains gamma", "does not explain slope", "raises ValueError", "mentions `no_such_name`"]),
        (sourceless, ["names no source"]),
        (good, []),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_docstrings_are_held_to_what_they_must_say(docstrings: ModuleType, function: object, found: list[str]) -> None:
    subject = docstrings.Subject("perturblearn.theory.example", "theory", function, sys.modules[__name__])
    faults = list(docstrings.faults(subject))
    assert len(faults) == len(found), faults
    for fault, beginning in zip(faults, found, strict=True):
        assert fault.startswith(beginning)


def test_docstrings_of_all_rooms_are_looked_at(docstrings: ModuleType) -> None:
    names = {subject.name for subject in docstrings.subjects()}
    assert {
        "perturblearn.theory.gate_kernel",
        "perturblearn.graph.Executor.run",
        "perturblearn.errors.DataError",
    } <= names
    assert len(names) > 300
