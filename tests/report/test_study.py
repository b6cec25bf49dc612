"""An analysis as Markdown, CSV and charts."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

from tests.report.project import figure

from perturblearn.papers import Analysis, Chart, Line, Table
from perturblearn.report.reproduction import analysis_markdown
from perturblearn.results import analysis_from_dict
from perturblearn.store import ArtefactStore

ANALYSIS = Analysis(
    ["Accuracy grows.", "And falls."],
    [Table("sizes", "What was found.", ("way", "size", "n"), [("limit", 1.23456789, 3), ("flow", None, 0)])],
    [
        Chart("one", "d", "epsilon", [
            Line("measured", [1, 10, 100], [1.0, 2.0, 3.0], [0.1, 5.0, 0.0]),
            Line("expected", [1, 100], [1.0, 3.0], is_reference=True),
        ], log_x=True, log_y=True),
        Chart("two", "N", "epsilon", [Line("other", [1, 2], [0.5, 0.6])]),
    ],
)  # fmt: skip


OF_FIGURES = {"figure.png", "result.json", "table.csv", "table.md", "table.tex"}


def written(tmp_path: Path, analysis: Analysis) -> Path:
    """The folder of a study with this analysis."""
    folder = figure(analysis=analysis).write(ArtefactStore(tmp_path / ".store"), tmp_path / "study").folder
    assert folder is not None
    return folder


def test_markdown() -> None:
    assert analysis_markdown(ANALYSIS) == (
        "- Accuracy grows.\n- And falls.\n\n**sizes.** What was found.\n\n"
        "| way | size | n |\n| --- | --- | --- |\n| limit | 1.235 | 3 |\n| flow | - | 0 |\n"
    )


def test_files(tmp_path: Path) -> None:
    folder = written(tmp_path, ANALYSIS)
    assert {path.name for path in folder.iterdir()} - OF_FIGURES == {"analysis.md", "analysis.png", "sizes.csv"}
    with (folder / "sizes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"way": "limit", "size": "1.23456789", "n": "3"}, {"way": "flow", "size": "", "n": "0"}]


def test_there_and_back_through_json() -> None:
    back = analysis_from_dict(json.loads(json.dumps(asdict(ANALYSIS))))
    assert back.sentences == ANALYSIS.sentences
    assert back.charts == ANALYSIS.charts
    assert analysis_markdown(back) == analysis_markdown(ANALYSIS)


def test_without_charts_there_is_no_picture(tmp_path: Path) -> None:
    folder = written(tmp_path, Analysis([], ANALYSIS.tables, []))
    assert {path.name for path in folder.iterdir()} - OF_FIGURES == {"analysis.md", "sizes.csv"}
