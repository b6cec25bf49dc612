from __future__ import annotations

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.pages.test_run_page import data_of

from perturblearn import audit, dataset_from, learn, learn_from_perturbations, perturb, reproduce, write_report
from perturblearn.api.commands import command
from perturblearn.cli.main import main
from perturblearn.config import parse_value
from perturblearn.report import RunReport
from perturblearn.results import Audit

QUICK = {"standard.epochs": 1, "perturbation.epochs": 1, "controls.draws": 1, "seeds": 1}


def test_a_command_is_quoted_for_a_shell() -> None:
    line = command("run", Path("a b/it's.toml"), options={"train": True, "data": None, "force": False})
    assert shlex.split(line) == ["perturblearn", "run", "a b/it's.toml", "--train"]
    keys = {"standard.lr": [0.1, 0.5], "measures.theory": False, "attack.epsilon": 1e-7, "name": "x"}
    assert shlex.split(command("run", keys=keys))[2:] == [
        "--standard.lr", "0.1,0.5", "--measures.theory", "false", "--attack.epsilon", "1e-07", "--name", "x",
    ]  # fmt: skip
    outputs = {"cat": 281, "big dog": (151, 152)}
    line = command("run", keys={"data.model_classes": outputs})
    assert parse_value("data.model_classes", shlex.split(line)[-1]) == {"cat": 281, "big dog": [151, 152]}


@pytest.mark.parametrize("thing", [torch.nn.Linear(2, 2), {"a": 1}, [torch.zeros(2)], (torch.zeros(2), torch.zeros(2))])
def test_what_needs_an_object_has_no_command(thing: object) -> None:
    assert command("audit", options={"model": thing}) == ""


def run_again(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    words = shlex.split(line)
    assert words[0] == "perturblearn"
    code = main([*words[1:], "--plan"])
    told = capsys.readouterr()
    assert (code, told.err) == (0, "")
    return told.out


def command_on(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    (line,) = re.findall(r'<pre id="command"[^>]*>(.*?)</pre>', text, re.DOTALL)
    return html.unescape(line)


def test_a_figure_s_command_makes_the_same_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = reproduce(
        "neurips2024/gauss_b",
        seeds=1,
        panels=[5],
        most={"slope": 0.5},
        overrides={"standard.lr": [0.1, 0.5]},
        out=tmp_path,
    )
    assert found.folder is not None
    line = command_on(write_report(found.folder))
    assert "--most.slope 0.5" in line
    assert "--standard.lr 0.1,0.5" in line
    assert " 0 to run" in run_again(f"{line} --out {tmp_path}", capsys)


def test_an_audit_s_command_makes_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = {**QUICK, "data.classes": ["0", "1", "2"], "attack.steps": 2}
    learners = {"mlp": {"epochs": 2}}
    found = audit("mlp", train=True, epsilons={"l2": (0.5, 1.0)}, learners=learners, overrides=keys, out=tmp_path)
    assert found.folder is not None
    assert Audit.load(found.folder).command == found.command
    line = command_on(write_report(found.folder))
    assert "--epsilons l2:0.5,l2:1" in line
    assert "--mlp.epochs 2" in line
    assert " 0 to run" in run_again(f"{line} --out {tmp_path}", capsys)


def test_an_audit_of_an_object_says_that_it_takes_the_object(tmp_path: Path) -> None:
    def make() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))

    keys = {**QUICK, "data.classes": ["0", "1", "2"], "attack.steps": 1}
    found = audit(make, train=True, epsilons={"l2": 1.0}, learners=["mlp"], overrides=keys, out=tmp_path)
    assert found.command == ""
    assert found.folder is not None
    assert "were Python objects" in write_report(found.folder).read_text(encoding="utf-8")


def test_a_run_learned_from_a_set_names_the_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stored,) = perturb(overrides={"seeds": 1, "standard.epochs": 2}, out=tmp_path / "some sets")
    result = learn(stored.folder, overrides={"perturbation.epochs": 2, "seeds": [3, 4]}, out=tmp_path)
    assert result.folder is not None
    page = result.folder / "report.html"
    line = command_on(page)
    assert shlex.split(line)[:3] == ["perturblearn", "learn", str(stored.folder)]
    assert "perturblearn theory" not in page.read_text(encoding="utf-8")
    assert " 0 to run" in run_again(f"{line} --out {tmp_path}", capsys)


def test_a_folder_with_a_space_is_quoted(tmp_path: Path) -> None:
    result = learn_from_perturbations(overrides=QUICK, out=tmp_path / "a b")
    assert result.folder is not None
    assert shlex.split(command_on(result.folder / "report.html"))[2] == str(result.folder / "config.toml")


@pytest.mark.parametrize(
    "keys",
    [{"standard.lr": 1e20}, {"perturbation.loss": "identity", "perturbation.lr": 1e20}],
    ids=["f", "g"],
)
def test_numbers_too_large_for_theory_lose_no_run(tmp_path: Path, keys: dict[str, Any]) -> None:
    result = learn_from_perturbations(overrides={**QUICK, **keys}, out=tmp_path)
    assert result.folder is not None
    assert (result.folder / "report.html").is_file()


def test_inputs_that_span_no_plane_lose_no_run(tmp_path: Path) -> None:
    labels = np.arange(40) % 2
    inputs = np.ones((40, 5), dtype=np.float32) * labels[:, None]  # the mean of one class is 0
    data = dataset_from((inputs, labels), centre=False)
    result = learn_from_perturbations(data=data, overrides=QUICK, out=tmp_path)
    assert result.folder is not None
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "could not be compared with this run: the mean of a class is 0 and spans no plane" in page
    assert "perturblearn theory" not in page
    assert json.loads((result.folder / "result.json").read_text(encoding="utf-8"))["no_theory"] == result.no_theory
    (result.folder / "report.html").unlink()
    assert write_report(result.folder).read_text(encoding="utf-8") == page


def test_images_of_two_channels_are_drawn_by_the_first(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.random((60, 2, 6, 6), dtype=np.float32)
    labels = np.arange(60) % 2
    data = dataset_from((images, labels), flatten=False, value_range=(0.0, 1.0))
    result = learn_from_perturbations(data=data, overrides=QUICK, out=tmp_path)
    assert result.folder is not None
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert data_of(page, "examples-data")["shape"] == [2, 6, 6]
    assert "Only the first of 2 channels is shown." in page


def test_answer_and_headline_tell_of_the_same_inputs(tmp_path: Path) -> None:
    # Labels by lot: f knows its samples, and nothing of others.
    inputs = torch.randn(60, 300, generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.rand(60, generator=torch.Generator().manual_seed(1)) < 0.5, 1, -1)
    keys = {"seeds": 2, "attack.epsilon": 3.0, "standard.epochs": 300, "perturbation.epochs": 300, "controls.draws": 5}
    result = learn_from_perturbations(data=(inputs, labels), overrides=keys, out=tmp_path)
    assert result.folder is not None
    assert not RunReport(result).told_part.is_heldout
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    g = result.summary["perturbation_accuracy"]
    assert f"{100 * g['mean']:.1f} ± {100 * g['std']:.1f} %" in result.conclusion
    assert f"<dd>{100 * g['mean']:.1f}\u00a0±\u00a0{100 * g['std']:.1f}\u00a0%" in page
