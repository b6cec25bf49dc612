"""The pages of an audit and of a transfer matrix."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from perturblearn.config import to_toml
from perturblearn.pages.page import render, shown_toml
from perturblearn.pages.run_page import shown_examples
from perturblearn.report.audit import HEADS, Audit
from perturblearn.report.charts.grid import audit_charts, transfer_charts
from perturblearn.report.examples import Examples
from perturblearn.report.grid import data_text
from perturblearn.report.result import Result
from perturblearn.report.transfer import TransferMatrix


def audit_page(audit: Audit, folder: Path) -> str:
    """An audit's page: what is learned from the perturbations, beside controls and what leaks to a linear classifier.

    Args:
        audit: what was measured.
        folder: where its examples lie.

    Raises:
        StoreError: a file of the folder is damaged.
    """
    name = audit.short_names[audit.model]
    return render(
        "grid.html",
        ["examples.js"],
        kind="Audit",
        question=f"What do the perturbations of {name} teach a network that has seen nothing else of "
        f"{data_text(audit.cells[0].config)}, and how much of it is more than linear leakage?",
        answer=audit.verdict,
        remarks=audit.warnings,
        charts=audit_charts(audit),
        tables=[("Every combination", HEADS, audit.lines, range(2, 9))],
        legend=audit.legend,
        examples=_examples(folder, audit.cells[0]),
        **_origin(audit, audit.cells[0], folder),
    )


def transfer_page(matrix: TransferMatrix, folder: Path) -> str:
    """A transfer matrix's page.

    Args:
        matrix: what was measured.
        folder: where its examples lie.

    Raises:
        StoreError: a file of the folder is damaged.
    """
    first = next(iter(matrix.cells.values()))
    return render(
        "grid.html",
        ["examples.js"],
        kind="Transfer matrix",
        question="Which networks learn from whose perturbations, and which ones do the same perturbations fool?",
        answer=matrix.reading,
        remarks=[],
        charts=transfer_charts(matrix),
        tables=[(head.capitalize(), lines[0], lines[1:], range(1, len(lines[0]))) for head, lines in matrix.matrices],
        legend=[],
        examples=_examples(folder, first, "perturbations of "),
        **_origin(matrix, first, folder),
    )


def _examples(folder: Path, cell: Result, whose: str = "") -> list[dict[str, Any]]:
    """Of every attack, or of every network."""
    found = [Examples.load(path) for path in sorted((folder / "examples").glob("*.safetensors"))]
    return [{"name": each.name, **shown_examples(each, cell.config, what=f"{whose}{each.name}")} for each in found]


def _origin(grid: Audit | TransferMatrix, first: Result, folder: Path) -> dict[str, Any]:
    """What it is called, and how it and each combination are made again."""
    return {
        "name": grid.name,
        "title": grid.title.removeprefix(f"{grid.name}: "),
        "command": grid.command,
        "cells": [shlex.join(("perturblearn", "run", str(path))) for path in sorted((folder / "cells").glob("*.toml"))],
        "key": grid.key,
        "made_with": grid.versions,
        "seconds": grid.seconds,
        "toml": shown_toml(to_toml(first.config)),
    }
