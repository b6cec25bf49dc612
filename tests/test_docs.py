"""What the documentation shows is what the software does."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from perturblearn.config import fields, resolve_config
from perturblearn.experiment import COMPARISONS, MEASURES

ROOT = Path(__file__).parents[1]


def test_every_key_of_the_configuration_is_documented() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for name, info in fields():
        assert f"| `{name}` |" in page
        assert str(info.description) in page


def test_every_measure_is_documented() -> None:
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    for name in MEASURES:
        assert name.endswith(("_max", "_control_heldout")) or f"`{name}`" in page


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_a_valid_experiment_named_after_its_file(path: Path) -> None:
    assert resolve_config(path).name == path.stem


def test_the_readme_s_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert "g gives" in capsys.readouterr().out
    assert set(names) >= {"result", "figure"}
    assert not list(tmp_path.iterdir()), "without out= nothing is written"
    plt.close("all")


@pytest.mark.parametrize(("name", "least"), [("theory", 10), ("performance", 1), ("networks", 2)])
def test_a_page_shows_what_its_code_prints(name: str, least: int, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", page, re.DOTALL)
    assert len(blocks) >= least
    names: dict[str, object] = {}
    for code, shown in blocks:
        exec(compile(code, f"docs/{name}.md", "exec"), names)
        printed = capsys.readouterr().out
        assert words_of(printed) == words_of(shown), code
        # Numbers may differ in their last shown digits between machines; a gate that flips moves them no further.
        assert numbers_of(printed) == pytest.approx(numbers_of(shown), rel=0.02, abs=0.02), code


def numbers_of(text: str) -> list[float]:
    return [float(number) for number in re.findall(NUMBER, text)]


def words_of(text: str) -> str:
    return re.sub(NUMBER, "#", text)


NUMBER = r"(?<![a-z_])-?\d+(?:\.\d+)?(?:e[+-]\d+)?"


def test_every_number_of_a_comparison_is_explained() -> None:
    page = (ROOT / "docs/theory.md").read_text(encoding="utf-8")
    for name in COMPARISONS:
        assert name in page, name


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
