"""Pages of figures, studies, audits and transfer matrices in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.browser.pages import Opened, check_page
from tests.browser.test_run_page import all_drawn
from tests.pages.made_runs import HOSTILE, made_audit, made_examples, made_matrix, made_reproduction, made_study

from perturblearn import Reproduction, write_report
from perturblearn.api import artefact_store
from perturblearn.pages import reproduction_page, write_page
from perturblearn.results.cells import example_files

Open = Callable[..., Opened]
VISIBLE = """() => document.querySelector("#panel-1").data
    .filter((trace) => trace.visible !== false).map((trace) => trace.name)"""


def written(found: Reproduction, folder: Path) -> Path:
    write_page(reproduction_page(found, folder), folder / "report.html")
    return folder / "report.html"


def rows(opened: Opened) -> list[list[str]]:
    lines = "[...document.querySelectorAll('#points tbody tr')]"
    return opened.page.evaluate(f"() => {lines}.map((row) => [...row.cells].map((cell) => cell.innerText))")


def test_a_figure_s_page(tmp_path: Path, open_page: Open) -> None:
    opened = open_page(written(made_reproduction(), tmp_path))
    all_drawn(opened)
    check_page(opened)


def test_curves_panels_and_verdicts_are_chosen(tmp_path: Path, open_page: Open) -> None:
    opened = open_page(written(made_reproduction(), tmp_path))
    all_drawn(opened)
    page = opened.page
    assert len(rows(opened)) == 24
    assert "accuracy of g (limit)" in page.evaluate(VISIBLE)
    page.get_by_label("accuracy of g (limit)").uncheck()
    assert "accuracy of g (limit)" not in page.evaluate(VISIBLE)
    assert "accuracy of g" in page.evaluate(VISIBLE)
    assert len(rows(opened)) == 16
    page.locator("#filter-panel").select_option("2")
    assert {row[0] for row in rows(opened)} == {"2"}
    assert not page.locator("#panel-1").is_visible()
    page.locator("#filter-verdict").select_option("not given")
    assert [row[-1] for row in rows(opened)] == ["not given"] * 2
    page.locator("#filter-panel").select_option("")
    assert page.locator("#panel-1").is_visible()
    page.get_by_role("searchbox").fill("standard")
    assert [row[2] for row in rows(opened)] == ["standard_accuracy"] * 2
    with page.expect_download() as download:
        page.locator("#save-points").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == "panel,x,measure,published,mean,std,n_seeds,difference,verdict"
    assert len(lines) == 3


def test_points_sort_by_number_with_what_is_missing_last(tmp_path: Path, open_page: Open) -> None:
    opened = open_page(written(made_reproduction(), tmp_path))
    head = opened.page.locator("#points").get_by_role("button", name="difference")
    head.click()
    largest = [row[7] for row in rows(opened)]
    known = [float(text) for text in largest if text != "-"]
    assert known == sorted(known, reverse=True)
    assert largest[-6:] == ["-"] * 6
    head.click()
    smallest = [row[7] for row in rows(opened)]
    assert [float(text) for text in smallest if text != "-"] == sorted(known)
    assert smallest[-6:] == ["-"] * 6


def test_a_panel_s_axis_and_whole_view(tmp_path: Path, open_page: Open) -> None:
    opened = open_page(written(made_reproduction(), tmp_path))
    all_drawn(opened)
    page = opened.page
    kind = "() => document.getElementById('panel-1').layout.xaxis.type"
    assert page.evaluate(kind) == "log"
    page.locator("input[data-log=x][data-of=panel-1]").uncheck()
    assert page.evaluate(kind) == "linear"
    shown = "() => document.getElementById('panel-1').layout.yaxis.range"
    whole = page.evaluate(shown)
    page.evaluate("() => Plotly.relayout('panel-1', {'yaxis.range': [0.4, 0.5]})")
    assert page.evaluate(shown) != whole
    page.locator("button[data-reset=panel-1]").click()
    page.wait_for_function("() => document.getElementById('panel-1').layout.yaxis.range[1] > 1")
    assert page.evaluate(shown) == whole


def test_a_study_s_page(tmp_path: Path, open_page: Open) -> None:
    opened = open_page(written(made_study(), tmp_path))
    all_drawn(opened)
    legend = opened.page.locator("#analysis-1 .legend").text_content() or ""
    assert HOSTILE[0] in legend.replace("\u00a0", " ")
    check_page(opened)


# The two have one template, whose texts tests/pages/test_other_pages.py reads for both.
@pytest.mark.parametrize("kind", ["audit", pytest.param("transfer", marks=pytest.mark.long)])
def test_a_grid_s_page(tmp_path: Path, open_page: Open, kind: str) -> None:
    examples = {
        "l2, epsilon 0.5": made_examples(),
        HOSTILE[1]: made_examples(shape=None),
        "bare": made_examples(bare=True),
    }
    made = made_audit() if kind == "audit" else made_matrix()
    folder = made.write(artefact_store(tmp_path), tmp_path / kind, example_files(examples)).folder
    assert folder is not None
    opened = open_page(write_report(folder))
    all_drawn(opened)
    sections = opened.page.locator("section[data-examples]")
    assert sections.count() == 3
    # Each set has sliders of its own.
    sections.nth(1).locator("input[data-scale=add]").fill("0")
    told = [section.locator("output[data-of=add]").all_text_contents() for section in sections.all()]
    assert told == [["1 times"], ["0 times"], []]
    assert HOSTILE[1] in opened.page.locator("main").inner_text()
    check_page(opened)
