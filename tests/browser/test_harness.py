"""Every check of the pages, on little pages that it has to find fault with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser
from tests.browser import pages
from tests.browser.pages import PHONE, Opened, check_page, open_window, overflowing, unreachable, violations

Open = Callable[..., Opened]
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def written(folder: Path, body: str, *, style: str = "", attributes: str = 'lang="en"') -> Path:
    """A page of that body."""
    path = folder / "page.html"
    path.write_text(
        f'<!doctype html><html {attributes}><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>A page</title><style>{style}</style>'
        f"<body><main><h1>A page</h1>{body}</main></body></html>",
        encoding="utf-8",
    )
    return path


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_a_good_page_passes_every_check(open_page: Open, tmp_path: Path) -> None:
    body = """
        <p>Text <a href="other.html">with a link</a> and an <img alt="dot" src="DOT">.</p>
        <label>Search <input type="search"></label> <button>Go</button> <button disabled>Not now</button>
        <fieldset><legend>Scale</legend>
        <label><input type="radio" name="scale" value="1">one</label>
        <label><input type="radio" name="scale" value="2" checked>two</label></fieldset>
        <details><summary>More</summary><label>Hidden <input></label></details>
        <div class="wide" tabindex="0" role="region" aria-label="wide"><p>wide</p></div>
        <h2 id="place" tabindex="-1">A place to jump to</h2>
        <span style="position: absolute; left: -9999px">for screen readers</span>
    """
    body = body.replace("DOT", DOT)
    style = """
        :root {color-scheme: light dark} body {background: light-dark(white, black)} a {color: light-dark(#00c, #aaf)}
        .wide {overflow-x: auto} .wide p {width: 3000px}
    """
    opened = open_page(written(tmp_path, body, style=style), width=800)
    check_page(opened)
    assert opened.page.viewport_size == {"width": 800, "height": 900}
    assert not opened.page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")


PROBLEMS = {
    '<script src="https://example.org/a.js"></script>': "requests https://example.org/a.js",
    '<img alt="" src="http://example.org/a.png">': "requests http://example.org/a.png",
    '<link rel="stylesheet" href="beside.css">': "beside.css",
    "<script>fetch('https://example.org/').catch(() => 0)</script>": "requests https://example.org/",
    "<script>console.error('broken thing')</script>": "console: broken thing",
    "<script>nothing.there()</script>": "error: nothing is not defined",
    "<script>Promise.reject(new Error('left alone'))</script>": "error: left alone",
    "<script>alert('it ran')</script>": "alert: it ran",
}


def test_what_goes_wrong_in_a_page_is_noted(browser: Browser, windows: list[Opened], tmp_path: Path) -> None:
    (tmp_path / "beside.css").write_text("p {}")
    opened = windows.pop() if windows else open_window(browser)
    opened.open(written(tmp_path, "".join(PROBLEMS)))
    opened.page.wait_for_timeout(50)
    found = opened.clear()
    windows.append(opened)
    assert len(found) == len(PROBLEMS), found
    for problem in PROBLEMS.values():
        assert any(line == problem or line.endswith(f"/{problem}") for line in found), (problem, found)


def test_a_page_finds_nothing_of_the_one_before(browser: Browser, tmp_path: Path) -> None:
    opened = open_window(browser)
    state = """() => [localStorage.length, 'left' in window, matchMedia('print').matches,
        matchMedia('(prefers-color-scheme: dark)').matches, innerWidth]"""
    for dark, width in ((True, PHONE), (False, 800)):
        opened.open(written(tmp_path, "<p>Text</p>"), dark=dark, width=width)
        assert opened.page.evaluate(state) == [0, False, False, dark, width]
        opened.page.evaluate("() => { localStorage.setItem('theme', 'dark'); window.left = true }")
        opened.page.emulate_media(media="print")
        opened.problems.append("noted")
        assert opened.clear() == ["noted"]
    opened.page.context.close()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('<p style="width: 400px">wide</p>', "<p style"),
        ("<p>" + "w" * 100 + "</p>", "the page is"),
        ('<div style="overflow: hidden; width: 500px">cut</div>', "<div style"),
        ('<p style="position: fixed; left: 300px; width: 100px">reaches out</p>', "to 400 pixels"),
        # Inside something that scrolls, which itself does not fit.
        ('<div style="overflow: auto; width: 380px"><p style="width: 900px">wide</p></div>', "<div style"),
    ],
)
def test_what_does_not_fit_a_phone_is_found(open_page: Open, tmp_path: Path, body: str, what: str) -> None:
    opened = open_page(written(tmp_path, body), width=PHONE)
    assert any(what in line for line in overflowing(opened.page))
    opened.set_width(1800)
    assert overflowing(opened.page) == []


def test_what_keeps_people_out_is_found(open_page: Open, tmp_path: Path) -> None:
    body = f"""
        <img src="{DOT}"><input><button></button><p style="color: #999">pale</p><div role="nothing">there</div>
    """
    opened = open_page(written(tmp_path, body))
    rules = [line.split(":")[0] for line in violations(opened.page)]
    assert sorted(rules) == ["aria-roles", "button-name", "color-contrast", "image-alt", "label"]


def test_a_page_s_faults_are_told_together(open_page: Open, tmp_path: Path) -> None:
    body = f"""
        <p style="width: 400px">wide</p><img src="{DOT}"><button tabindex="-1">Go</button><p class="pale">pale</p>
    """
    style = "@media (prefers-color-scheme: dark) {.pale {background: black; color: #333}}"
    opened = open_page(written(tmp_path, body, style=style))
    assert [line.split(":")[0] for line in violations(opened.page)] == ["image-alt"]  # not yet pale
    with pytest.raises(AssertionError) as told:
        check_page(opened)
    for line in (
        "at 360 pixels, the page is ", "at 360 pixels, Tab does not reach: <button",
        "at 360 pixels, light, image-alt: ", "at 360 pixels, dark, color-contrast: ",
        "at 1440 pixels, Tab does not reach: <button",
        "at 1440 pixels, dark, color-contrast: ", "at 1440 pixels, light, image-alt: ",
    ):  # fmt: skip
        assert line in str(told.value)


@pytest.mark.parametrize(
    ("body", "style", "what"),
    [
        ('<button tabindex="-1">Go</button>', "", "Tab does not reach: <button"),
        ('<span role="button">Go</span>', "", "Tab does not reach: <span"),
        ("<button>Go</button>", "button:focus {outline: none}", "does not show the focus: <button"),
        # What takes the focus away keeps Tab from going on.
        (
            '<button onfocus="this.blur()">First</button><button>Second</button>',
            "",
            "Tab does not reach: <button onfocus",
        ),
    ],
)
def test_what_a_keyboard_cannot_use_is_found(open_page: Open, tmp_path: Path, body: str, style: str, what: str) -> None:
    opened = open_page(written(tmp_path, body, style=style))
    assert any(what in line for line in unreachable(opened.page))


def test_tab_is_followed_from_wherever_the_reader_is(open_page: Open, tmp_path: Path) -> None:
    opened = open_page(written(tmp_path, "<button>First</button><p>Text</p><button>Second</button>"))
    opened.page.get_by_text("Text").click()
    assert unreachable(opened.page) == []


@pytest.mark.long
def test_pictures_go_to_the_documentation_only_when_asked(
    open_page: Open, screenshot: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "DOCS_PICTURES", tmp_path / "docs")
    monkeypatch.delenv(pages.SCREENSHOTS_VARIABLE, raising=False)
    opened = open_page(
        written(tmp_path, '<p id="part" style="position: absolute; top: 9px; width: 90px; height: 40px">part</p>'),
        width=500,
    )
    path = screenshot(opened, "whole")
    assert size_of(path) == (500, 900)
    assert not (tmp_path / "docs").exists()
    monkeypatch.setenv(pages.SCREENSHOTS_VARIABLE, "1")
    assert size_of(screenshot(opened, "part", selector="#part")) == (90, 40)
    assert [found.name for found in (tmp_path / "docs").iterdir()] == ["part.png"]
