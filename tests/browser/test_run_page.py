from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.browser.pages import FEW_EPOCHS, SCREENSHOTS_VARIABLE, Opened, check_page
from tests.conftest import is_switched_on
from tests.pages.made_runs import hostile_run

from perturblearn import learn_from_perturbations
from perturblearn.results import PAGE_NAME

Open = Callable[..., Opened]
# What a canvas shows, summed up.
INK = """(number) => {
    const canvas = document.querySelectorAll("canvas")[number];
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.width, canvas.height, ...data];
}"""


@pytest.fixture(scope="module")
def digits_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of what ``make demo`` runs, after few epochs unless it is for the documentation."""
    less = {} if is_switched_on(SCREENSHOTS_VARIABLE) else FEW_EPOCHS
    result = learn_from_perturbations(overrides={"name": "demo", **less}, out=tmp_path_factory.mktemp("runs"))
    assert result.folder is not None
    return result.folder / PAGE_NAME


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = hostile_run(tmp_path_factory.mktemp("hostile"), channels=3).folder
    assert folder is not None
    return folder / PAGE_NAME


def all_drawn(opened: Opened) -> None:
    """Wait until every chart of the page is drawn; those far down are drawn when somebody comes near."""
    for chart in opened.page.locator(".plot").all():
        chart.scroll_into_view_if_needed()
    opened.page.wait_for_function(
        "() => [...document.querySelectorAll('.plot')].every((place) => place.querySelector('.main-svg'))"
    )
    opened.page.evaluate("() => window.scrollTo(0, 0)")


def pixels(opened: Opened, number: int) -> list[int]:
    return opened.page.evaluate(INK, number)


def test_everything_of_a_run_s_page_is_seen_and_reached(digits_page: Path, open_page: Open, screenshot: Any) -> None:
    opened = open_page(digits_page)
    all_drawn(opened)
    assert opened.page.locator(".plot").count() == 8  # measures, losses, three of theory, three maps
    screenshot(opened, "run-top")
    screenshot(opened, "run-examples", selector="section[data-examples]")
    check_page(opened)
    opened.set_width(1440)
    opened.set_dark(True)
    opened.page.locator("#theory").scroll_into_view_if_needed()
    screenshot(opened, "run-dark")


def test_sliders_scale_what_is_shown(digits_page: Path, open_page: Open) -> None:
    page = (opened := open_page(digits_page)).page
    source, step, seen = (pixels(opened, number) for number in range(3))
    assert source[:2] == [8, 8]
    add = page.locator("input[data-scale=add]")
    add.fill("0")
    assert pixels(opened, 2) == source
    assert page.locator("output[data-of=add]").text_content() == "0 times"
    assert pixels(opened, 1) == step
    add.fill("120")
    assert page.locator("output[data-of=add]").text_content() == "2 times"
    assert add.get_attribute("aria-valuetext") == "2 times"
    assert pixels(opened, 2) != seen
    page.locator("input[data-scale=amplify]").fill("0")
    blank = pixels(opened, 1)
    assert blank != step
    assert len(set(blank[2:])) == 1  # nothing added is the paper's white everywhere
    # With the keyboard too.
    add.focus()
    page.keyboard.press("Home")
    assert page.locator("output[data-of=add]").text_content() == "0 times"


def test_dark_mode_is_the_system_s_until_somebody_chooses(digits_page: Path, open_page: Open) -> None:
    background = "() => getComputedStyle(document.body).backgroundColor"
    opened = open_page(digits_page, dark=True)
    dark = opened.page.evaluate(background)
    assert opened.page.locator("#theme").get_attribute("aria-pressed") == "true"
    chart = "() => document.querySelector('#measures .main-svg').style.background"
    drawn_dark = opened.page.evaluate(chart)
    opened.page.locator("#theme").click()
    light = opened.page.evaluate(background)
    assert light != dark
    assert opened.page.evaluate(chart) != drawn_dark
    opened.set_dark(False)
    opened.set_dark(True)
    assert opened.page.evaluate(background) == light
    opened.page.reload()
    assert opened.page.evaluate(background) == light


def test_tables_sort_by_their_heads(digits_page: Path, open_page: Open) -> None:
    page = open_page(digits_page).page
    table = page.locator("table[data-table]").first
    rows = "[...document.querySelector('table[data-table]').tBodies[0].rows]"
    means = f"() => {rows}.map((row) => Number(row.cells[1].textContent))"
    table.get_by_role("button", name="mean").click()
    assert page.evaluate(means) == sorted(page.evaluate(means), reverse=True)
    assert table.locator("th", has_text="mean").get_attribute("aria-sort") == "descending"
    table.get_by_role("button", name="mean").click()
    assert page.evaluate(means) == sorted(page.evaluate(means))


def test_an_axis_turns_logarithmic_and_back(digits_page: Path, open_page: Open) -> None:
    opened = open_page(digits_page)
    all_drawn(opened)
    box = opened.page.locator("input[data-log=y][data-of=losses]")
    kind = "() => document.getElementById('losses').layout.yaxis.type"
    assert opened.page.evaluate(kind) == "linear"
    box.check()
    assert opened.page.evaluate(kind) == "log"
    box.uncheck()
    assert opened.page.evaluate(kind) == "linear"


def test_a_chart_is_saved(digits_page: Path, open_page: Open, tmp_path: Path) -> None:
    page = open_page(digits_page).page
    page.wait_for_selector("#measures .main-svg")
    for form, beginning in (("svg", b"<svg"), ("png", b"\x89PNG")):
        with page.expect_download() as download:
            page.locator(f"button[data-save={form}][data-of=measures]").click()
        download.value.save_as(tmp_path / form)
        assert download.value.suggested_filename == f"measures.{form}"
        assert (tmp_path / form).read_bytes().startswith(beginning)


def test_a_saved_chart_stands_alone_whatever_the_page_looks_like(
    digits_page: Path, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(digits_page, dark=True).page
    page.locator("#theory-1").scroll_into_view_if_needed()
    page.wait_for_selector("#theory-1 .main-svg")
    with page.expect_download() as download:
        page.locator("button[data-save=svg][data-of=theory-1]").click()
    download.value.save_as(tmp_path / "saved.svg")
    saved = (tmp_path / "saved.svg").read_text(encoding="utf-8")
    words = " ".join(re.sub(r"<[^>]+>", " ", saved).split())
    for part in ("f and f̂: same sign on", "prediction f̂(x)", "output f(x)", "true class +1", "true class −1"):
        assert part in words
    assert "rgb(255, 255, 255)" in saved  # the paper of the light theme
    assert "rgb(20, 23, 27)" not in saved  # and not of the dark one
    assert "Arial" in saved
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"


def test_the_configuration_is_copied(digits_page: Path, open_page: Open) -> None:
    page = open_page(digits_page).page
    page.evaluate(
        "() => Object.defineProperty(navigator, 'clipboard', "
        "{ value: { writeText: async (text) => { window.copied = text; } } })"
    )
    page.locator("button[data-copy=config]").click()
    page.wait_for_function("() => window.copied")
    assert page.evaluate("() => window.copied") == (digits_page.parent / "config.toml").read_text(encoding="utf-8")
    assert page.locator("#said").text_content() == "Copied."


def test_hostile_names_are_text(hostile_page: Path, open_page: Open) -> None:
    opened = open_page(hostile_page)
    all_drawn(opened)
    assert opened.page.title() != "owned"
    assert opened.page.locator('main img:not([src^="data:image/png;base64,"])').count() == 0, "only our own pictures"
    shown = opened.page.locator("main").inner_text()
    assert '<script>document.title = "owned"</script>' in shown
    assert "[U+202E]right to left" in shown
    ticks = opened.page.locator("#confusion .ytick text").all_text_contents()
    assert '<script>document.title = "o…' in ticks  # long names are cut; the cells tell all of it
    assert any(tick.startswith("@g</script>") for tick in ticks)
    check_page(opened)


@pytest.mark.long
def test_colour_images_are_drawn_in_colours(hostile_page: Path, open_page: Open) -> None:
    width, height, *values = pixels(open_page(hostile_page), 0)
    assert (width, height) == (6, 6)
    assert any(len(set(values[place : place + 3])) > 1 for place in range(0, len(values), 4))
