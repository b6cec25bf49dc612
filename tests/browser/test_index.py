"""The page over a folder of results, as it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.browser.pages import FEW_EPOCHS, PHONE, SCREENSHOTS_VARIABLE, Opened, check_page
from tests.conftest import is_switched_on
from tests.report import project
from tests.report.project import put, run, write_project

import perturblearn
from perturblearn.api.index import index

Open = Callable[..., Opened]
HOSTILE = "</script><script>alert('ran')</script><img src=x onerror=alert('ran')>\"'`${alert('ran')}\u202eevil\u200f"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page over one entry of each kind; only to be read."""
    folder = write_project(tmp_path_factory.mktemp("project") / "runs")
    index(folder)
    return folder / "index.html"


@pytest.fixture
def page(open_page: Open, whole: Path) -> Page:
    return open_page(whole).page


def rows(page: Page) -> Locator:
    return page.locator("#entries tbody tr")


def names(page: Page) -> list[str]:
    """The names in the table, from top to bottom."""
    return page.locator("#entries tbody b").all_inner_texts()


def column(page: Page, head: str) -> list[str]:
    """A column of the table, from top to bottom."""
    heads = [text.split("\n")[0].strip() for text in page.locator("#entries thead th").all_inner_texts()]
    return page.locator(f"#entries tbody tr > :nth-child({heads.index(head) + 1})").all_inner_texts()


def tick(page: Page, *chosen: str) -> None:
    for name in chosen:
        page.get_by_role("checkbox", name=f"Tick {name},").check()


ALL = ["last", "tiny", "across", "looked-at", "studies/depth", "paper/figure", "many", "first"]


def test_it_passes_every_check(open_page: Open, whole: Path) -> None:
    opened = open_page(whole)
    tick(opened.page, "last", "first", "looked-at")
    opened.page.get_by_role("button", name="Compare the ticked (3)").click()
    opened.page.get_by_label("Show equal settings too").check()
    check_page(opened)


def test_its_numbers_are_seen_without_scrolling_sideways(open_page: Open, whole: Path) -> None:
    opened = open_page(whole)
    for width in (390, 1440, 1920):
        opened.set_width(width)
        for number in ("0.850 ± 0.071", "0.200 to 0.600"):  # g of a run and of a sweep
            boxes = [place.bounding_box() for place in opened.page.get_by_text(number).all() if place.is_visible()]
            assert any(box is not None and box["x"] + box["width"] <= width for box in boxes), width


def test_it_shows_everything_the_latest_first(page: Page) -> None:
    assert names(page) == ALL
    assert column(page, "g")[0] == "0.950"
    assert column(page, "g")[2:4] == ["0.500", "0.200 to 0.600"]
    assert column(page, "g")[7] == "0.850 ± 0.071"
    assert column(page, "Inside")[5] == "75 %"
    assert column(page, "Settings × seeds")[5:7] == ["4 × 2, 1 failed", "3 × 1, 1 failed"]
    assert column(page, "When")[7] == "2023-11-14 22:13"
    left_out = page.get_by_role("region", name="Folders that are left out")
    assert [text.split("\t")[0] for text in left_out.locator("tbody tr").all_inner_texts()] == [
        "empty", "foreign", "torn",
    ]  # fmt: skip
    assert "result.json is not a result of perturblearn" in left_out.inner_text()


def test_a_head_sorts_up_and_down_with_empty_cells_last(page: Page) -> None:
    head = page.locator("#entries thead th", has=page.get_by_text("g", exact=True))
    head.get_by_text("g", exact=True).click()
    assert column(page, "g") == [
        "0.950", "0.850 ± 0.071", "0.600 to 0.800", "0.200 to 0.600", "0.500", "-", "-", "-",
    ]  # fmt: skip
    expect(head).to_have_attribute("aria-sort", "descending")
    head.get_by_text("g", exact=True).click()
    assert column(page, "g")[0] == "0.500"
    assert column(page, "g")[-3:] == ["-", "-", "-"]
    expect(head).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="Name").click()
    assert names(page) == sorted(ALL)
    assert head.get_attribute("aria-sort") is None


def test_a_head_sorts_by_keyboard(page: Page) -> None:
    page.get_by_role("button", name="Kind").focus()
    page.keyboard.press("Enter")
    assert column(page, "Kind") == sorted(column(page, "Kind"))
    assert column(page, "Kind")[0] == "audit"


def test_a_search_looks_through_names_settings_and_conclusions(page: Page) -> None:
    for words, found in (
        ("PAPER", ["paper/figure"]),
        ("attack.epsilon = 0.25", ["last"]),
        ("readable published points", ["paper/figure"]),
        ("transfer", ["across"]),
        ("no such thing", []),
        ("open", []),  # the word of every link to a report
    ):
        page.get_by_role("searchbox").fill(words)
        assert names(page) == found, words
        page.get_by_role("searchbox").fill("")
        assert names(page) == ALL


def test_kinds_are_left_out_and_come_back(page: Page) -> None:
    page.get_by_role("checkbox", name="run (2)").uncheck()
    page.get_by_role("checkbox", name="study (1)").uncheck()
    assert names(page) == ["tiny", "across", "looked-at", "paper/figure", "many"]
    page.get_by_role("searchbox").fill("digits")
    assert names(page) == ["tiny", "across", "looked-at"]
    page.get_by_role("checkbox", name="run (2)").check()
    assert names(page) == ["last", "tiny", "across", "looked-at", "first"]


def test_ticked_ones_are_compared_and_differing_settings_are_marked(page: Page) -> None:
    compare = page.get_by_role("button", name="Compare the ticked")
    expect(compare).to_be_disabled()
    tick(page, "last")
    expect(compare).to_be_disabled()
    tick(page, "first")
    compare.click()
    assert page.evaluate("() => document.activeElement.id") == "compared"
    table = page.get_by_role("region", name="Side by side")
    assert table.locator("thead th").all_inner_texts() == ["last\nlast", "first\nfirst"]
    lines = dict(text.split("\t", 1) for text in table.locator("tr").all_inner_texts() if "\t" in text)
    assert lines["g"] == "0.950\t0.850 ± 0.071"
    assert lines["attack.epsilon"] == "0.25\t1"
    assert lines["seeds"] == "0\t0, 1"
    marked = table.locator("tr:has(.different) th").all_inner_texts()
    assert marked == ["seeds", "attack.epsilon"]
    assert "They differ in 2 settings" in page.locator("#comparison").inner_text()
    assert "data.name" not in table.inner_text()
    page.get_by_label("Show equal settings too").check()
    assert "data.name\tdigits\tdigits" in table.inner_text()
    assert table.locator("tr:has(.different)").count() == 2


def test_what_is_ticked_stays_so_and_the_comparison_follows(page: Page) -> None:
    tick(page, "last", "first")
    page.get_by_role("button", name="Compare the ticked (2)").click()
    page.get_by_role("searchbox").fill("audit")
    tick(page, "looked-at")
    heads = page.locator("#comparison thead th")
    assert [text.split("\n")[0] for text in heads.all_inner_texts()] == ["last", "looked-at", "first"]
    page.get_by_role("searchbox").fill("")
    expect(page.get_by_role("checkbox", name="Tick last,")).to_be_checked()
    page.get_by_role("checkbox", name="Tick last,").uncheck()
    assert heads.count() == 2
    page.get_by_role("button", name="Untick all").click()
    assert page.locator("#entries tbody input:checked").count() == 0
    assert page.locator("#comparison *").count() == 0
    expect(page.locator("#advice")).to_be_visible()
    expect(page.get_by_role("button", name="Compare the ticked (0)")).to_be_disabled()


def test_equal_results_are_said_to_be_equal(open_page: Open, tmp_path: Path) -> None:
    for number in (1, 2):
        put(tmp_path / f"run-{number}", "result.json", run(name=f"run-{number}").to_dict())
    index(tmp_path)
    page = open_page(tmp_path / "index.html").page
    tick(page, "run-1", "run-2")
    page.get_by_role("button", name="Compare the ticked (2)").click()
    assert "Their settings are equal." in page.locator("#comparison").inner_text()
    assert page.locator(".different").count() == 0


def test_a_report_is_opened_and_a_missing_one_has_its_command(page: Page, whole: Path) -> None:
    assert column(page, "Report")[1] == "-"
    assert column(page, "Report")[3] == f"perturblearn report {whole.parent}/audit"
    page.get_by_role("link", name="last", exact=True).click()
    expect(page).to_have_title("the report")


def test_dark_and_light_follow_the_system_until_somebody_chooses(open_page: Open, whole: Path) -> None:
    opened = open_page(whole, dark=True)
    page = opened.page
    background = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    opened.set_dark(False)
    light = page.evaluate(background)
    assert dark != light
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(background) == dark
    opened.set_dark(True)
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(background) == light


def test_whatever_names_say_is_text(open_page: Open, tmp_path: Path) -> None:
    put(tmp_path / HOSTILE.replace("/", "-"), "audit.json", project.audit(HOSTILE).to_dict())
    matrix = project.transfer(HOSTILE[:40]).to_dict()
    matrix["config"]["data"]["classes"] = [HOSTILE, "<b>other</b>"]
    put(tmp_path / "<img src=x onerror=alert(1)>", "transfer.json", matrix)
    put(tmp_path / "torn", "audit.json", {"schema": HOSTILE})
    put(tmp_path / "named", "result.json", {**run().to_dict(), "config": {"name": HOSTILE}})
    (tmp_path / "<b>left out").mkdir()
    found = index(tmp_path)
    assert (len(found.found), len(found.unread)) == (2, 3)
    opened = open_page(tmp_path / "index.html")
    page = opened.page
    page.locator("#entries tbody input").nth(0).check()
    page.locator("#entries tbody input").nth(1).check()
    page.get_by_role("button", name="Compare the ticked (2)").click()
    page.get_by_role("searchbox").fill("<img")
    shown = page.locator("main").inner_text()
    assert "</script><script>alert('ran')</script>" in shown
    assert "<b>other</b>" in shown
    assert "<b>left out" in shown
    assert "[U+202E]evil[U+200F]" in shown
    assert page.locator("main img, main script:not([type])").count() == 0
    assert not {"\u202e", "\u200f"} & set(page.content())
    check_page(opened)
    assert opened.problems == []


def test_settings_may_be_called_anything(open_page: Open, tmp_path: Path) -> None:
    for number, changed in enumerate(({"toString": 1, "__proto__": 2, "<b>": 3}, {"constructor": "<i>"})):
        put(tmp_path / f"{number}", "result.json", project.figure(f"figure-{number}", changed=changed).to_dict())
    index(tmp_path)
    page = open_page(tmp_path / "index.html").page
    tick(page, "figure-0", "figure-1")
    page.get_by_role("button", name="Compare the ticked (2)").click()
    lines = page.get_by_role("region", name="Side by side").locator("tr:has(.different)").all_inner_texts()
    assert sorted(lines) == ["<b>\t-\t3", "__proto__\t-\t2", "constructor\t<i>\t-", "toString\t-\t1"]


def test_long_names_fit_a_phone(open_page: Open, tmp_path: Path) -> None:
    put(tmp_path / ("f" * 200), "audit.json", project.audit("n" * 300).to_dict())
    (tmp_path / ("u" * 200)).mkdir()
    index(tmp_path)
    opened = open_page(tmp_path / "index.html", width=PHONE)
    check_page(opened)


def test_a_folder_without_results_is_a_page_too(open_page: Open, tmp_path: Path) -> None:
    index(tmp_path)
    opened = open_page(tmp_path / "index.html")
    assert "No result was found here." in opened.page.locator("main").inner_text()
    check_page(opened)


@pytest.mark.long
def test_thousands_are_paged(open_page: Open, tmp_path: Path) -> None:
    content = run().to_dict()
    for number in range(2000):
        content["config"]["attack"]["epsilon"] = number / 1000
        put(tmp_path / f"run-{number:04}", "result.json", content, minutes=number)
    index(tmp_path)
    page = open_page(tmp_path / "index.html").page
    assert rows(page).count() == 50
    page.get_by_role("button", name="Next").click()
    assert "51 to 100 of 2000" in page.locator("#entries").inner_text()
    page.get_by_role("searchbox").fill("attack.epsilon = 1.99")
    assert column(page, "Name")[-1].startswith("digits run-1990")
    assert rows(page).count() == 10


@pytest.mark.slow
@pytest.mark.long
def test_runs_of_the_digits_with_their_reports(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screenshot: Callable[..., Path]
) -> None:
    """What the documentation shows (here after few epochs): two runs, a sweep and a set, each as its command does."""
    monkeypatch.chdir(tmp_path)
    less: dict[str, Any] = {} if is_switched_on(SCREENSHOTS_VARIABLE) else {"seeds": 2, **FEW_EPOCHS}
    perturblearn.sweep(
        {
            "name": "sizes",
            "data": {"name": "digits", "classes": [3, 8]},
            "controls": {"draws": 2},
            "sweep": {"grid": {"attack.epsilon": [0.25, 2.0] if less else [0.25, 0.5, 1.0, 2.0]}},
        },
        overrides=less,
        out="runs",
    )
    perturblearn.perturb(overrides={"name": "shared", **less, "seeds": 1}, out="runs")
    perturblearn.learn_from_perturbations(overrides={"name": "images", **less}, out="runs", report=False)
    keys = {"name": "bare", "attack.source": "none", "attack.epsilon": 0.5, **less}
    bare = perturblearn.learn_from_perturbations(overrides=keys, out="runs")
    found = index("runs")
    assert found.unread == []
    opened = open_page(Path("runs/index.html"), width=1280, height=800)
    page = opened.page
    assert sorted(names(page)) == ["bare", "images", "shared", "sizes"]
    place = names(page).index("bare")
    g = bare.summary["perturbation_accuracy_heldout"]
    assert column(page, "g")[place] == f"{g['mean']:.3f} ± {g['std']:.3f}"
    assert bare.conclusion in column(page, "Name")[place]
    tick(page, "images", "bare")
    page.mouse.move(0, 0)
    page.evaluate("() => scrollTo(0, 0)")
    screenshot(opened, "index")
    page.get_by_role("button", name="Compare the ticked (2)").click()
    page.locator("#compared").evaluate("(element) => element.scrollIntoView()")
    screenshot(opened, "index-side-by-side")
    lines = page.get_by_role("region", name="Side by side").locator("tr").all_inner_texts()
    (sources,) = [line.split("\t")[1:] for line in lines if line.startswith("attack.source\t")]
    assert sorted(sources) == ["natural", "none"]
    page.get_by_role("link", name="bare", exact=True).first.click()
    expect(page.locator("h1")).to_have_text("bare")
