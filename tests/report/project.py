"""A folder with results of every kind, as their commands leave them but for pictures and weights."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.perturbed.sets import write as write_set
from tests.report.cells import cell

from perturblearn import Result
from perturblearn.config import resolve_config, resolve_sweep
from perturblearn.experiment import Outcome, Point
from perturblearn.papers import Analysis
from perturblearn.results import (
    Audit,
    FailedRun,
    PointRow,
    Reproduction,
    ShownPanel,
    SweepResult,
    TransferMatrix,
)

NOON = 1_700_000_000
"""Seconds since 1970 at which the first entry was written: 2023-11-14 22:13:20 UTC."""
ANALYSIS = Analysis(["Accuracy falls with depth.", "Agreement does not."], [], [])


def put(folder: Path, file: str, content: Mapping[str, Any], *, minutes: int = 0) -> Path:
    """A result's file in a folder of its own, written so many minutes after noon."""
    folder.mkdir(parents=True)
    path = folder / file
    path.write_text(json.dumps(content), encoding="utf-8")
    os.utime(path, times=(NOON + 60 * minutes, NOON + 60 * minutes))
    return folder


def run(g: Sequence[float] = (0.9, 0.8), **keys: Any) -> Result:
    """A run of ten classes with these accuracies of g; keys by dotted name, dots written as double underscores."""
    of_cell = cell(g, draws=10)
    seeds = [
        replace(seed, measures={**seed.measures, "agreement": 0.7, "largest_share": 0.2}) for seed in of_cell.seeds
    ]
    config = resolve_config(of_cell.config, {name.replace("__", "."): value for name, value in keys.items()})
    return Result.of(config, "ab" * 32, seeds, 1.0)


def audit(name: str = "looked-at") -> Audit:
    cells = [cell([0.5, 0.7], epsilon=0.5), cell([0.2, 0.2], epsilon=2.0, norm="linf", names=("mlp", "convnet"))]
    return Audit(cells, "cd" * 32, name)


def transfer(name: str = "across") -> TransferMatrix:
    pairs = [("mlp", "mlp"), ("mlp", "convnet")]
    return TransferMatrix({pair: cell([0.4, 0.6], names=pair) for pair in pairs}, {}, "ef" * 32, name)


def sweep(g: Sequence[float | None] = (0.6, 0.8, None), name: str = "many") -> SweepResult:
    """A sweep over as many epsilons, of one seed; runs without a value failed."""
    epsilons = [0.5 * number for number in range(1, len(g) + 1)]
    asked = resolve_sweep(
        {"name": name, "seeds": 1, "data": {"name": "gauss"}, "sweep": {"grid": {"attack.epsilon": epsilons}}}
    )
    measured = run([0.9]).seeds[0]
    outcomes = [
        Outcome(point, 0, f"{point}" * 64, None, "training diverged")
        if value is None
        else Outcome(
            point, 0, f"{point}" * 64,
            replace(measured, measures={**measured.measures, "perturbation_accuracy_heldout": value}), None,
        )
        for point, value in enumerate(g)
    ]  # fmt: skip
    return SweepResult.of(asked, "12" * 32, [Point(values, config) for values, config in asked.points()], outcomes)


def figure(name: str = "paper/figure", **more: Any) -> Reproduction:
    """Four points, of which three of the four that can be read are inside."""
    rows = [
        PointRow(name, 1, x, "accuracy", 0.8, 0.01, 2, 0.8, 0.0, "outside" if x == 0.4 else "inside our spread")
        for x in (0.1, 0.2, 0.3, 0.4)
    ]
    given: dict[str, Any] = {"rows": rows, "failed": [FailedRun(1, 0.1, "", 1, "training diverged")], **more}
    given = {"panels": [ShownPanel(1, "epsilon", "epsilon", False)], **given}
    return Reproduction(name, "What it shows.", "full", "", key="34" * 32, seeds=[0, 1], **given)


def write_project(folder: Path) -> Path:
    """One entry of each kind, a minute apart, a page for one of them, and folders that are none."""
    put(folder / "first", "result.json", run(name="first").to_dict())
    put(folder / "many", "sweep.json", sweep().to_dict(), minutes=1)
    put(folder / "figure", "result.json", figure().to_dict(), minutes=2)
    study = figure("studies/depth", analysis=ANALYSIS, failed=[])
    put(folder / "study", "result.json", study.to_dict(), minutes=3)
    put(folder / "audit", "audit.json", audit().to_dict(), minutes=4)
    put(folder / "transfer", "transfer.json", transfer().to_dict(), minutes=5)
    write_set(folder / "set")
    os.utime(folder / "set" / "manifest.json", times=(NOON + 360, NOON + 360))
    put(folder / "last", "result.json", run([0.95], name="last", attack__epsilon=0.25).to_dict(), minutes=7)
    (folder / "last" / "report.html").write_text("<title>the report</title>", encoding="utf-8")
    put(folder / "torn", "audit.json", {"schema": 1})
    put(folder / "foreign", "result.json", {"score": 3})
    (folder / "empty").mkdir()
    (folder / ".store").mkdir()
    (folder / "notes.txt").write_text("nothing of ours")
    return folder
