"""What the documentation shows is what the software does."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from perturblearn.config import fields, resolve_config, resolve_sweep
from perturblearn.experiment import COMPARISONS, MEASURES, NETWORK_COMPARISONS

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
    if "sweep" in tomllib.loads(path.read_text(encoding="utf-8")):
        sweep = resolve_sweep(path)
        assert sweep.name == path.stem
        assert sweep.points()
    else:
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


@pytest.mark.parametrize(
    ("name", "least"),
    [("theory", 10), ("performance", 1), ("networks", 2), ("sets", 3), ("sweeps", 1), ("reproduce", 2)],
)
def test_a_page_shows_what_its_code_prints(
    name: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
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


def test_the_example_of_an_own_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the page tells it, with fewer epochs and one seed."""
    for name in ("nets.py", "prepare.py"):
        shutil.copy(ROOT / "examples/own_model" / name, tmp_path)
    subprocess.run([sys.executable, "prepare.py", "2"], cwd=tmp_path, check=True, capture_output=True)
    page = (ROOT / "docs/own_model.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    quick = {"training": "sgd", "epochs": 1, "batch_size": 32, "lr": 0.05}
    defaults = {"standard": quick, "perturbation": quick, "attack": {"name": "pgd", "steps": 2}, "seeds": 1}
    home = importlib.import_module("perturblearn.api.audit")
    monkeypatch.setattr(home, "DEEP_DEFAULTS", {**defaults, "controls": {"draws": 1}})
    try:
        exec(compile(block, "docs/own_model.md", "exec"), {})
    finally:
        sys.modules.pop("nets", None)
    printed = capsys.readouterr().out
    assert "beats controls" in printed
    assert re.search(r"^linf 0\.\d+$", printed, re.MULTILINE)
    assert (tmp_path / "audit.png").stat().st_size > 0
    for command in ("perturblearn audit --model nets:load --data folder:photos", "python prepare.py"):
        assert command in page
        assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    plt.close("all")


def numbers_of(text: str) -> list[float]:
    return [float(number) for number in re.findall(NUMBER, text)]


def words_of(text: str) -> str:
    return re.sub(NUMBER, "#", text)


NUMBER = r"(?<![a-z_])-?\d+(?:\.\d+)?(?:e[+-]\d+)?"


def test_the_page_on_sweeps_shows_a_sweep() -> None:
    page = (ROOT / "docs/sweeps.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert "6 x 3 x 20" in page
    assert len(resolve_sweep(tomllib.loads(block)).points()) == 6 * 3 * 20


def test_every_number_of_a_comparison_is_explained() -> None:
    page = (ROOT / "docs/theory.md").read_text(encoding="utf-8")
    for name in {**COMPARISONS, **NETWORK_COMPARISONS}:
        assert name in page, name


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
