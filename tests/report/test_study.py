"""An analysis as Markdown, CSV and charts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from perturblearn.papers import Analysis, Chart, Line, Table
from perturblearn.report.study import analysis_content, analysis_markdown, analysis_of, draw_analysis, write_analysis

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


def test_charts() -> None:
    figure = draw_analysis(ANALYSIS, title="a study")
    first, second = figure.axes
    assert (first.get_xscale(), first.get_yscale(), second.get_xscale()) == ("log", "log", "linear")
    measured, expected = first.get_lines()
    assert np.asarray(measured.get_ydata()).tolist() == [1.0, 2.0, 3.0]
    assert expected.get_linestyle() == "--"
    (band,) = first.collections
    assert isinstance(band, PolyCollection)
    # Where the deviation exceeds the mean, the band ends at half of it instead of below 0.
    assert np.asarray(band.get_paths()[0].vertices)[:, 1].min() == pytest.approx(0.9)
    assert (first.get_xlabel(), first.get_ylabel(), first.get_title()) == ("d", "epsilon", "one")
    assert figure.get_suptitle() == "a study"
    assert [text.get_text() for text in first.get_xticklabels()] == ["1", "10", "100"]
    many = Analysis([], [], [ANALYSIS.charts[1]] * 5)
    drawn = draw_analysis(many, title="").axes
    assert [axes.axison for axes in drawn] == [True] * 5 + [False]


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
