"""A study from its definition to its folder."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perturblearn import api
from perturblearn.papers import ALL, STUDIES, Panel
from perturblearn.results import Reproduction, report_on

TINY = {"input_dim": 60, "n_samples": 12, "data.n_heldout": 8}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    study = STUDIES["studies/smallest_perturbation"]
    panels = [
        Panel({"epsilon": [0.5, 2.0, 8.0]}, {"input_dim": dim, "n_samples": number, "attack.source": "natural"})
        for dim, number in ((40, 12), (60, 12), (60, 16))
    ]
    small = replace(
        study, name="studies/tiny", settings={**study.settings, **TINY}, panels=panels, control_draws=1,
        ways={"limit": study.ways["limit"]},
    )  # fmt: skip
    monkeypatch.setitem(ALL, small.name, small)
    return small.name


def test_a_study_is_run_analysed_and_written(tiny: str, tmp_path: Path) -> None:
    found = api.reproduce(tiny, seeds=2, scale="full", out=tmp_path)
    assert found.folder is not None
    assert {path.name for path in found.folder.iterdir()} == {
        "analysis.md", "analysis.png", "exponents.csv", "figure.png", "result.json", "smallest.csv", "table.csv",
        "table.md", "table.tex",
    }  # fmt: skip
    assert found.analysis is not None
    with (found.folder / "smallest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["input_dim"], row["n_samples"], row["n_seeds"]) for row in rows] == [
        ("40", "12", "2"), ("60", "12", "2"), ("60", "16", "2"),
    ]  # fmt: skip
    # Sizes of 8, far above sqrt(d/N), reach everything.
    assert all(0.5 < float(row["epsilon"]) < 8 for row in rows)
    assert report_on(found).lines == list(found.analysis.sentences)
    assert str(found).count("natural sources: accuracy reaches 0.9 at") == 1
    back = Reproduction.load(found.folder)
    assert back.analysis is not None
    assert report_on(back).lines == report_on(found).lines
    assert json.dumps(back.to_dict()) == json.dumps(found.to_dict())


def test_runs_that_fail_are_left_out_of_the_analysis(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = ALL[tiny]
    panels = [*study.panels[:2], replace(study.panels[2], fixed={**study.panels[2].fixed, "n_samples": 1})]
    monkeypatch.setitem(ALL, tiny, replace(study, panels=panels))
    found = api.reproduce(tiny, seeds=1, scale="full")
    assert len(found.failed) == 3
    assert found.analysis is not None
    (smallest, _) = found.analysis.tables
    assert len(smallest.rows) == 2
    assert "too few curves cross 0.9 for a fit" in report_on(found).lines[0]


def test_the_map_is_measured_with_its_controls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    study = STUDIES["studies/map"]
    settings = {name: value for name, value in study.settings.items() if name not in ("n_samples", "data.n_heldout")}
    panels = [
        Panel({"targets": ["random, perturbed", "f's answers"]}, {"attack.source": "natural"}, title="images"),
        Panel({"targets": ["f's answers"]}, {"attack.source": "errors", "standard_epochs": 1}, title="f's errors"),
    ]
    of_digits = {"data.name": "digits", "hidden_dim": 32, "standard_epochs": 20, "perturbation_epochs": 20}
    small = replace(study, name="studies/tiny", settings={**settings, **of_digits}, panels=panels)
    monkeypatch.setitem(ALL, small.name, small)
    found = api.reproduce(small.name, seeds=1, scale="full", out=tmp_path)
    assert not found.failed
    assert found.analysis is not None
    (table,) = found.analysis.tables
    rows: list[dict[str, Any]] = [dict(zip(table.heads, row, strict=True)) for row in table.rows]
    assert len(rows) == 2 * 3
    answers = next(row for row in rows if (row["source"], row["targets"]) == ("images", "f's answers"))
    assert answers["g"] > 0.7 > 0.3 > answers["permuted"]
    # Inputs that are not perturbed teach what f says of them only where f says it.
    assert answers["unperturbed"] < 0.3
    assert found.folder is not None
    back = Reproduction.load(found.folder).analysis
    assert back is not None
    assert [chart.names for chart in back.charts] == [("images", "f's errors"), ("images",)]


def test_the_weak_limit_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    study = STUDIES["studies/weak_limit"]
    of_digits = {"data.name": "digits", "data.classes": ["3", "8"], "hidden_dim": 8, "n_adv": 60, "epochs": 2}
    settings = {name: value for name, value in study.settings.items() if not name.startswith("data.n_")}
    small = replace(
        study, name="studies/tiny",
        settings={**settings, **of_digits},
        panels=[Panel({"epsilon": [0.5, 2.0]}, {"depth": 2}, log_x=True, title="size")],
        control_draws=1, ways={"torch": study.ways["torch"]},
    )  # fmt: skip
    monkeypatch.setitem(ALL, small.name, small)
    found = api.reproduce(small.name, seeds=1, scale="full")
    assert found.analysis is not None
    (table,) = found.analysis.tables
    rows = [dict(zip(table.heads, row, strict=True)) for row in table.rows]
    known = [(row["value"], row["mean"]) for row in rows if row["measure"] == "nearest_mean_correlation"]
    assert [size for size, _ in known] == [0.5, 2.0]
    low, high = sorted(mean for _, mean in known if isinstance(mean, float))
    (line,) = report_on(found).lines
    assert f"correlation of {low:.3f} to {high:.3f} with the nearest mean" in line
