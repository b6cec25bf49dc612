"""An analysis as Markdown, CSV and charts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from perturblearn.papers import Analysis, Chart, Line, Table
from perturblearn.report.study import analysis_content, analysis_markdown, analysis_of, write_analysis

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


def test_markdown() -> None:
    assert analysis_markdown(ANALYSIS) == (
        "- Accuracy grows.\n- And falls.\n\n**sizes.** What was found.\n\n"
        "| way | size | n |\n|---|---|---|\n| limit | 1.235 | 3 |\n| flow | - | 0 |\n"
    )


def test_files(tmp_path: Path) -> None:
    write_analysis(ANALYSIS, tmp_path, title="a study")
    assert {path.name for path in tmp_path.iterdir()} == {"analysis.md", "analysis.png", "sizes.csv"}
    with (tmp_path / "sizes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"way": "limit", "size": "1.23456789", "n": "3"}, {"way": "flow", "size": "", "n": "0"}]


def test_there_and_back_through_json() -> None:
    back = analysis_of(json.loads(json.dumps(analysis_content(ANALYSIS))))
    assert back.sentences == ANALYSIS.sentences
    assert back.charts == ANALYSIS.charts
    assert analysis_markdown(back) == analysis_markdown(ANALYSIS)


def test_without_charts_there_is_no_picture(tmp_path: Path) -> None:
    write_analysis(Analysis([], ANALYSIS.tables, []), tmp_path, title="")
    assert {path.name for path in tmp_path.iterdir()} == {"analysis.md", "sizes.csv"}
