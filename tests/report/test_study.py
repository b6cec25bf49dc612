"""An analysis as Markdown, CSV and charts."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from tests.report.project import figure

from perturblearn.papers import Analysis, Chart, Line, Table
from perturblearn.report.reproduction import analysis_markdown
from perturblearn.report.study import draw_analysis
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


OF_FIGURES = {"result.json", "table.csv", "table.md"}


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
