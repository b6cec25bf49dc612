from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, Error, Playwright, sync_playwright
from tests.browser.installed import MISSING, REQUIRE_BROWSER_VARIABLE, find_browser
from tests.browser.pages import DESKTOP, Opened, open_window, save_screenshot
from tests.conftest import is_switched_on

_ARGUMENTS = (
    "--no-sandbox",  # which neither root nor a container can have
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--js-flags=--no-opt",  # scripts run for a second, and optimising them takes longer than it saves
)


# Not of the session: while playwright runs, this thread has an event loop, and other tests could not start theirs.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """What starts browsers, for this folder's tests."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser that was started for this folder's tests."""
    program = find_browser()
    if program is None:
        do_without(MISSING)
    started = launch(playwright, program)
    yield started
    started.close()


@pytest.fixture(scope="package")
def windows(browser: Browser) -> list[Opened]:
    """Those that are open and free: a page opens in a fifth of the time where Plotly has run before."""
    return []


@pytest.fixture
def open_page(browser: Browser, windows: list[Opened]) -> Iterator[Callable[..., Opened]]:
    """Opens files as `Opened.open` does; in the end nothing may have gone wrong in any of them."""
    opened: list[Opened] = []

    def open_one(path: Path, *, width: int = DESKTOP, height: int = 900, dark: bool = False) -> Opened:
        opened.append(windows.pop() if windows else open_window(browser))
        opened[-1].open(path, width=width, height=height, dark=dark)
        return opened[-1]

    yield open_one
    problems = [problem for one in opened for problem in one.clear()]
    windows += opened
    assert problems == []


@pytest.fixture
def screenshot(tmp_path: Path) -> Callable[..., Path]:
    """Takes a picture, as `save_screenshot` does, into the test's folder."""

    def take(page: Opened, name: str, *, selector: str | None = None, full: bool = False) -> Path:
        return save_screenshot(page, name, tmp_path / "screenshots", selector=selector, full=full)

    return take


def launch(playwright: Playwright, program: Path) -> Browser:
    """Start a browser, or skip what wants it."""
    try:
        return playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
    except Error as error:
        do_without(f"{program} does not start: {error.message.splitlines()[0]}")


def do_without(reason: str) -> NoReturn:
    """Skip what wants a browser; fail it where one is required."""
    if is_switched_on(REQUIRE_BROWSER_VARIABLE):
        pytest.fail(f"{REQUIRE_BROWSER_VARIABLE}=1, but {reason}", pytrace=False)
    pytest.skip(reason)
