"""The pages of an audit and of a transfer matrix."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from perturblearn.config import to_toml
from perturblearn.pages.page import render, shown_toml
from perturblearn.pages.run_page import shown_examples
from perturblearn.report.audit import HEADS, AuditReport
from perturblearn.report.charts.grid import audit_charts, transfer_charts, why_chart
from perturblearn.report.transfer import TransferReport
from perturblearn.report.why import WHY_HEADS, WHY_LEGEND, WHY_TITLE
from perturblearn.report.words import data_text
from perturblearn.results import Audit, Examples, Result, TransferMatrix


def audit_page(audit: Audit, folder: Path) -> str:
    """An audit's page: what is learned from the perturbations, beside controls and what leaks to a linear classifier.

    Args:
        audit: what was measured.
        folder: where its examples lie.

    Raises:
        StoreError: a file of the folder is damaged.
    """
    name, report = audit.short_names[audit.model], AuditReport(audit)
    return render(
        "grid.html",
        ["examples.js"],
        kind="Audit",
        question=f"What do the perturbations of {name} teach a network that has seen nothing else of "
        f"{data_text(audit.cells[0].config)}, and how much of it is more than linear leakage?",
        answer=audit.verdict,
        remarks=[*report.details, *audit.warnings],
        charts=[*audit_charts(audit), *([why_chart(audit)] if audit.routes else [])],
        tables=[
            ("Every combination", HEADS, report.lines, range(2, 10)),
            *([(WHY_TITLE, WHY_HEADS, report.why_lines, (3, 4, 5, 7, 8))] if audit.routes else []),
        ],
        legend=[
            *(line.removesuffix(".") for line in report.why),
            *([WHY_LEGEND] if audit.routes else []),
            *report.legend,
        ],
        examples=_examples(folder, audit.cells[0]),
        **_origin(audit, report.title, audit.cells[0], folder),
    )


def transfer_page(matrix: TransferMatrix, folder: Path) -> str:
    """A transfer matrix's page.

    Args:
        matrix: what was measured.
        folder: where its examples lie.

    Raises:
        StoreError: a file of the folder is damaged.
    """
    first, report = matrix.first, TransferReport(matrix)
    return render(
        "grid.html",
        ["examples.js"],
        kind="Transfer matrix",
        question="Which networks learn from whose perturbations, and which ones do the same perturbations fool?",
        answer=matrix.reading,
        remarks=[],
        charts=transfer_charts(matrix),
        tables=[
            (head[0].upper() + head[1:], lines[0], lines[1:], range(1, len(lines[0]))) for head, lines in report.tables
        ],
        legend=[],
        examples=_examples(folder, first, "perturbations of "),
        **_origin(matrix, report.title, first, folder),
    )


def _examples(folder: Path, cell: Result, whose: str = "") -> list[dict[str, Any]]:
    """Of every attack, or of every network."""
    found = [Examples.load(path) for path in sorted((folder / "examples").glob("*.safetensors"))]
    return [{"name": each.name, **shown_examples(each, cell.config, what=f"{whose}{each.name}")} for each in found]


def _origin(grid: Audit | TransferMatrix, title: str, first: Result, folder: Path) -> dict[str, Any]:
    """What it is called, and how it and each combination are made again."""
    return {
        "name": grid.name,
        "title": title.removeprefix(f"{grid.name}: "),
        "command": grid.command,
        "cells": [shlex.join(("perturblearn", "run", str(path))) for path in sorted((folder / "cells").glob("*.toml"))],
        "key": grid.key,
        "made_with": grid.versions,
        "seconds": grid.seconds,
        "toml": shown_toml(to_toml(first.config)),
    }
