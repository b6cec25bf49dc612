"""What the pages share: charts that are drawn when somebody comes near, filters, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.browser.pages import PHONE, Opened
from tests.pages.made_runs import made_reproduction

from perturblearn.pages import reproduction_page, write_page
from perturblearn.results import ShownPanel

Open = Callable[..., Opened]
PANELS = range(1, 9)
UNDRAWN = """() => [...document.querySelectorAll(".plot")]
    .filter((place) => !place.querySelector(".main-svg")).map((place) => place.id)"""
WIDTHS = """(id) => {
    const place = document.getElementById(id);
    return [place.querySelector(".main-svg").getBoundingClientRect().width, place.clientWidth];
}"""


@pytest.fixture(scope="module")
def panels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of so many panels that those at its end are not drawn when it opens."""
    folder = tmp_path_factory.mktemp("panels")
    made = made_reproduction()
    found = replace(
        made,
        panels=[ShownPanel(number, f"panel {number}", "n_adv", True) for number in PANELS],
        rows=[replace(row, panel=number) for number in PANELS for row in made.rows if row.panel == 1],
    )
    write_page(reproduction_page(found, folder), folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def page(open_page: Open, panels: Path) -> Page:
    """That page on a phone, with its first panel drawn and its last not."""
    page = open_page(panels, width=PHONE).page
    page.locator("#panel-1").scroll_into_view_if_needed()
    page.locator("#panel-1 .main-svg").first.wait_for()
    assert "panel-8" in page.evaluate(UNDRAWN)
    return page


def click_unseen(page: Page, selector: str) -> None:
    """Click what is far down, which a test's own click would scroll to."""
    page.evaluate("(selector) => document.querySelector(selector).click()", selector)


def test_printing_draws_every_chart(page: Page) -> None:
    page.pdf()
    assert page.evaluate(UNDRAWN) == []


def test_a_chart_is_as_wide_as_paper_and_then_as_the_window_again(open_page: Open, panels: Path) -> None:
    opened = open_page(panels)
    opened.page.locator("#panel-1 .main-svg").first.wait_for()
    width, place = opened.page.evaluate(WIDTHS, "panel-1")
    assert width == place
    opened.page.emulate_media(media="print")
    opened.settle()
    on_paper, paper = opened.page.evaluate(WIDTHS, "panel-1")
    assert paper != place
    assert on_paper == pytest.approx(paper, abs=1)
    opened.page.emulate_media(media="screen")
    opened.settle()
    assert opened.page.evaluate(WIDTHS, "panel-1") == [width, place]


def test_the_whole_view_of_a_chart_that_is_not_drawn_draws_it(page: Page) -> None:
    click_unseen(page, "[data-reset=panel-8]")
    page.wait_for_selector("#panel-8 .main-svg", state="attached")


def test_the_axis_of_a_chart_that_is_not_drawn_is_chosen(page: Page) -> None:
    click_unseen(page, "[data-log=x][data-of=panel-8]")
    page.wait_for_selector("#panel-8 .main-svg", state="attached")
    kinds = "() => ['xaxis', 'yaxis'].map((name) => document.getElementById('panel-8').layout[name].type)"
    assert page.evaluate(kinds) == ["linear", "linear"]
    page.locator("#panel-8").scroll_into_view_if_needed()
    page.wait_for_timeout(200)  # until the page has seen that somebody came near
    assert page.evaluate(kinds) == ["linear", "linear"]


def test_a_curve_that_was_hidden_stays_so_when_somebody_comes_near(page: Page) -> None:
    page.get_by_label("accuracy of g (limit)").uncheck()
    page.locator("#panel-8").scroll_into_view_if_needed()
    page.wait_for_timeout(200)  # until the page has seen it
    shown = page.evaluate(
        "() => document.getElementById('panel-8').data"
        ".filter((trace) => trace.visible !== false).map((trace) => trace.name)"
    )
    assert "accuracy of g" in shown
    assert "accuracy of g (limit)" not in shown


def test_a_panel_alone_is_as_wide_as_its_place(open_page: Open, panels: Path) -> None:
    page = open_page(panels).page
    page.locator("#panel-1").scroll_into_view_if_needed()
    page.locator("#panel-1 .main-svg").first.wait_for()
    (narrow, _) = page.evaluate(WIDTHS, "panel-1")
    for chosen in ("1", "8", ""):
        page.locator("#filter-panel").select_option(chosen)
        page.wait_for_timeout(400)  # Plotly waits for a place that keeps changing
        for panel in (chosen,) if chosen else ("1", "8"):
            width, place = page.evaluate(WIDTHS, f"panel-{panel}")
            assert width == pytest.approx(place, abs=1)
            assert width > 1.5 * narrow if chosen else width == pytest.approx(narrow, abs=1)


def test_the_theme_s_button_says_where_it_leads(open_page: Open, panels: Path) -> None:
    page = open_page(panels).page
    button = page.get_by_role("button", name="Dark rather than light colours")
    expect(button).to_have_text("Dark")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_text("Light")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(button).to_have_text("Dark")
