"""Pages of figures, studies, audits and transfer matrices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.pages.made_runs import (
    HOSTILE,
    made_audit,
    made_examples,
    made_matrix,
    made_reproduction,
    made_study,
)
from tests.pages.test_run_page import data_of
from tests.report.charts.test_renderers import unpacked

from perturblearn import Audit, Reproduction, TransferMatrix, write_report
from perturblearn.api import artefact_store
from perturblearn.pages import audit_page, reproduction_page, transfer_page
from perturblearn.papers import Table
from perturblearn.report import AuditReport
from perturblearn.results import ShownPanel
from perturblearn.results.cells import example_files


def test_a_figure_s_page_judges_every_panel(tmp_path: Path) -> None:
    figure = made_reproduction(command="perturblearn reproduce paper/figure --scale full --curves limit")
    page = reproduction_page(figure, tmp_path)
    assert (
        f"{sum(row.verdict == 'inside our spread' for row in figure.readable)} of 12 readable published points" in page
    )
    assert "Panel 1: " in page
    assert "perturblearn reproduce paper/figure --scale full --curves limit" in page
    shown = data_of(page, "points-data")
    assert [row["mean"] for row in shown["rows"]] == [row.mean for row in figure.rows]
    assert "permuted_control" in page
    for name in HOSTILE:
        assert name not in page


def test_a_smaller_problem_is_told_as_such(tmp_path: Path) -> None:
    full = made_reproduction()
    rows = [replace(row, verdict="smaller problem") for row in full.rows]
    page = reproduction_page(replace(full, scale="quick", smaller="input_dim 100", rows=rows), tmp_path)
    assert "This problem is smaller than the paper&#39;s, so published points are shown but not judged; 3 seeds" in page
    assert "At the default setting: permuted_control 0.500 ± 0.100." in page


def test_a_study_s_page_tells_what_its_analysis_says(tmp_path: Path) -> None:
    page = reproduction_page(made_study(), tmp_path)
    assert "<li>It grows.</li>" in page
    assert "0.25" in page
    assert data_of(page, "analysis-1-data")["layout"]["xaxis"]["type"] == "log"
    for name in HOSTILE:
        assert name not in page


def test_pictures_are_in_the_page(tmp_path: Path) -> None:
    panels = [ShownPanel(1, "shifted", None, False)]
    found = Reproduction("paper/maps", "Maps.", "quick", "", "k" * 64, [0], panels, [])
    Figure(figsize=(1, 1)).savefig(tmp_path / "figure-1.png")
    page = reproduction_page(found, tmp_path)
    assert 'src="data:image/png;base64,' in page


def test_pictures_that_a_page_cannot_hold_are_named(tmp_path: Path) -> None:
    found = Reproduction("paper/maps", "Maps.", "quick", "", "k" * 64, [0], [ShownPanel(1, "", None, False)], [])
    for name in ("figure-1.png", "figure-1.pdf", "figure-2.pdf"):
        Figure(figsize=(1, 1)).savefig(tmp_path / name)
    page = reproduction_page(found, tmp_path)
    assert "figure-2.pdf lies in the folder beside this page" in page
    assert "figure-1.pdf" not in page


def test_a_long_answer_is_folded_after_its_first_sentences(tmp_path: Path) -> None:
    study = made_study()
    assert study.analysis is not None
    analysis = replace(study.analysis, sentences=[f"Sentence {number}." for number in range(20)])
    page = reproduction_page(replace(study, analysis=analysis), tmp_path)
    assert page.index("Sentence 15.") < page.index("<summary>4 more sentences</summary>") < page.index("Sentence 16.")


@pytest.mark.parametrize("rows", [40, 41])
def test_a_study_s_long_table_is_folded_and_its_empty_columns_are_left_out(rows: int, tmp_path: Path) -> None:
    study = made_study()
    assert study.analysis is not None
    table = Table("points", "Every point.", ("way", "epsilon"), [("", float(place)) for place in range(rows)])
    page = reproduction_page(replace(study, analysis=replace(study.analysis, tables=[table])), tmp_path)
    assert (f"<summary>All {rows} rows</summary>" in page) == (rows > 40)
    assert ('<th scope="col">epsilon</th>' in page, '<th scope="col">way</th>' in page) == (True, False)


def test_an_audit_s_page_is_made_of_its_folder(tmp_path: Path) -> None:
    store = artefact_store(tmp_path)
    examples = {"l2, epsilon 0.5": made_examples(), HOSTILE[0]: made_examples(shape=None)}
    audit = made_audit().write(store, tmp_path / "audit-1", example_files(examples))
    assert audit.folder is not None
    page = write_report(audit.folder).read_text(encoding="utf-8")
    assert page == audit_page(Audit.load(audit.folder), audit.folder)
    assert "What do the perturbations of mlp teach" in page
    assert page.count('<section data-examples="') == 2
    assert page.count("perturblearn run ") >= len(audit.cells)
    for line in AuditReport(audit).lines:
        assert line[5] in page
    for name in HOSTILE:
        assert name not in page


def test_a_matrix_s_page_is_made_of_its_folder(tmp_path: Path) -> None:
    examples = example_files({"mlp": made_examples()})
    matrix = made_matrix().write(artefact_store(tmp_path), tmp_path / "transfer-1", examples)
    assert matrix.folder is not None
    page = write_report(matrix.folder).read_text(encoding="utf-8")
    assert page == transfer_page(TransferMatrix.load(matrix.folder), matrix.folder)
    (accuracy,) = data_of(page, "chart-1-data")["data"]
    assert unpacked(accuracy["z"]) == pytest.approx(np.array([[0.625, 0.425], [0.425, 0.625]]))
    (fooled,) = data_of(page, "chart-2-data")["data"]
    assert np.isnan(unpacked(fooled["z"])[0][0])
    assert "First seed, perturbations of mlp" in page
