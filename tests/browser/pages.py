"""Pages opened from disk as a reader opens them, and what must hold of each."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, Route
from tests.conftest import is_switched_on

PHONE, DESKTOP = 360, 1440
"""Widths in pixels at which every page is looked at."""
SCREENSHOTS_VARIABLE = "PERTURBLEARN_SCREENSHOTS"
DOCS_PICTURES = Path(__file__).parents[2] / "docs/images/report"
FEW_EPOCHS = {"data.n_samples": 60, "standard.epochs": 20, "perturbation.epochs": 20, "controls.draws": 1}
"""Settings of runs whose pages are looked at, but not shown: charts of fewer points are drawn and checked sooner."""
_PATIENCE = 120_000
"""Milliseconds that a test waits for something to appear, on a machine however busy."""
_CHARTS_PATIENCE = 250
"""Milliseconds until Plotly, which waits for a window that keeps changing, has drawn its charts again."""
_MOST_STEPS = 1000
"""Presses of Tab after which a page must have come round."""

CONTROLS = (
    "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex], "
    "[contenteditable=true], [role=button], [role=checkbox], [role=tab], [role=slider], [role=link], [role=switch]"
)
"""What a reader can operate."""
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
"""axe-core's rules whose answer depends on colours, of those that it applies unasked."""


@dataclass
class Opened:
    """A page that is open.

    Args:
        page: to be looked at and operated.
        problems: what went wrong so far: errors in the console, errors that nothing caught, dialogs, and requests for
            anything but the page itself.
    """

    page: Page
    problems: list[str] = field(default_factory=list)

    def open(self, path: Path, *, width: int = DESKTOP, height: int = 900, dark: bool = False) -> None:
        """Open a page from disk, as if none had been here before.

        Args:
            path: the file.
            width, height: of the window, in pixels.
            dark: whether the system asks for dark colours.
        """
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme="dark" if dark else "light", media="null")
        self.page.goto(path.resolve().as_uri())

    def clear(self) -> list[str]:
        """Leave the page, with all that it has stored; returns what had gone wrong."""
        self.page.evaluate("() => localStorage.clear()")
        self.page.goto("about:blank")
        self.page.mouse.move(0, 0)
        found, self.problems = self.problems, []
        return found

    def set_width(self, width: int) -> None:
        """Make the window as wide as that, in pixels."""
        assert self.page.viewport_size is not None
        self.page.set_viewport_size({"width": width, "height": self.page.viewport_size["height"]})
        self.settle()

    def set_dark(self, dark: bool) -> None:
        """Have the system ask for dark or for light colours."""
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.settle()

    def settle(self) -> None:
        """Wait until the page has answered to a change of its surroundings."""
        self.page.evaluate(_NEXT_FRAMES)
        if self.page.evaluate("() => 'Plotly' in window"):
            # A timer of the page itself, so that Plotly's, which is set for earlier, goes off before it.
            self.page.evaluate("(patience) => new Promise((done) => setTimeout(done, patience))", _CHARTS_PATIENCE)


def open_window(browser: Browser) -> Opened:
    """A window without a network, in which pages are opened one after the other."""
    context = browser.new_context(reduced_motion="reduce", offline=True)
    context.set_default_timeout(_PATIENCE)
    opened = Opened(context.new_page())

    def watch_request(route: Route, request: Request) -> None:
        is_page = request.url.startswith("file:") and request.is_navigation_request()
        if is_page or request.url.startswith(("data:", "blob:")):
            route.continue_()
        else:
            opened.problems.append(f"requests {request.url}")
            route.abort()

    def watch_console(message: ConsoleMessage) -> None:
        # A request that was refused above has been noted already.
        if message.type == "error" and "net::ERR_FAILED" not in message.text:
            opened.problems.append(f"console: {message.text}")

    def watch_dialog(dialog: Dialog) -> None:
        opened.problems.append(f"{dialog.type}: {dialog.message}")
        dialog.dismiss()

    context.route("**/*", watch_request)
    opened.page.on("console", watch_console)
    opened.page.on("pageerror", lambda error: opened.problems.append(f"error: {error.message}"))
    opened.page.on("dialog", watch_dialog)
    return opened


def check_page(opened: Opened) -> None:
    """Assert that a page fits a phone and a desktop, can be used with a keyboard, and passes axe in light and dark."""
    found: list[str] = []
    with _as_it_was(opened):
        # Charts are drawn again whenever the light changes, so it changes no more often than it must.
        for width, lights in ((PHONE, (False, True)), (DESKTOP, (True, False))):
            opened.set_width(width)
            found += [f"at {width} pixels, {line}" for line in (*overflowing(opened.page), *unreachable(opened.page))]
            for dark in lights:
                opened.set_dark(dark)
                found += [
                    f"at {width} pixels, {'dark' if dark else 'light'}, {line}"
                    for line in violations(opened.page, colours_alone=dark)
                ]
    assert found == [], "\n".join(found)


def overflowing(page: Page) -> list[str]:
    """What is wider than the window: the page itself, and elements that reach out of it and are not scrolled inside.

    Returns:
        A line for each; none on a page that fits.
    """
    return page.evaluate(_OVERFLOWING)


def violations(page: Page, *, colours_alone: bool = False) -> list[str]:
    """What axe-core finds of serious or critical impact.

    Args:
        page: to be looked at.
        colours_alone: check only what depends on colours, for a page that has been looked at in others.

    Returns:
        A line for each element.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(Axe().axe_script)
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if colours_alone:
        options["runOnly"] = {"type": "rule", "values": COLOUR_RULES}
    found: list[dict[str, Any]] = page.evaluate("(options) => axe.run(options)", options)["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]} ({' '.join(node['failureSummary'].split())})"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def unreachable(page: Page) -> list[str]:
    """Controls that Tab never comes to, and controls that do not show that they have the focus.

    Returns:
        A line for each.
    """
    # Of a radio group Tab reaches one; what is out of sight (closed, hidden, disabled) waits for its turn.
    missing: dict[str, str] = page.evaluate(_MARK_CONTROLS, CONTROLS)
    unseen: list[str] = []
    visited: set[str] = set()
    rounds = 0
    for _ in range(_MOST_STEPS):
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUSED)
        if focused is None:  # past the last one; it may have begun in the middle
            rounds += 1
            if rounds == 2:
                break
            continue
        if focused["number"] in visited:
            break
        visited.add(focused["number"])
        if not focused["shown"]:
            unseen.append(f"does not show the focus: {focused['what']}")
    else:
        raise AssertionError(f"Tab has not come round after {_MOST_STEPS} steps")
    page.evaluate("() => document.activeElement && document.activeElement.blur()")
    return [f"Tab does not reach: {what}" for number, what in missing.items() if number not in visited] + unseen


def save_screenshot(
    opened: Opened, name: str, folder: Path, *, selector: str | None = None, full: bool = False
) -> Path:
    """Take a picture of a page as PNG; with PERTURBLEARN_SCREENSHOTS=1 it becomes the documentation's too.

    Args:
        opened: the page, as it is to be seen.
        name: the picture's, without an ending.
        folder: where to; made if it is not there.
        selector: the element to show; None for the window.
        full: show the whole page, however long.

    Returns:
        The picture's path.
    """
    if selector is None:
        content = opened.page.screenshot(full_page=full, animations="disabled")
    else:
        content = opened.page.locator(selector).screenshot(animations="disabled")
    # 256 colours serve pages of text and curves, in a third of the bytes.
    picture = Image.open(io.BytesIO(content)).convert("RGB").quantize(256)
    for place in (folder, *((DOCS_PICTURES,) if is_switched_on(SCREENSHOTS_VARIABLE) else ())):
        place.mkdir(parents=True, exist_ok=True)
        draft = place / f".{name}.png"
        picture.save(draft, format="PNG", optimize=True)
        os.replace(draft, place / f"{name}.png")
    return folder / f"{name}.png"


@contextmanager
def _as_it_was(opened: Opened) -> Iterator[None]:
    """Give the window its size back."""
    size = opened.page.viewport_size
    dark = opened.page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    yield
    assert size is not None
    opened.page.set_viewport_size(size)
    opened.set_dark(dark)


# Events of a change come before the first of these, and what they do is drawn before the second.
_NEXT_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

_DESCRIBE = """
const describe = (element) => element.outerHTML.slice(0, 160).replace(/\\s+/g, " ");
"""

_OVERFLOWING = f"""() => {{
    {_DESCRIBE}
    const root = document.documentElement;
    const width = root.clientWidth;
    const found = [];
    if (root.scrollWidth > width) found.push(`the page is ${{root.scrollWidth}} pixels wide`);
    const clips = (element) => getComputedStyle(element).overflowX !== "visible";
    const isInside = (box) => box.left >= -1 && box.right <= width + 1;
    // What a clipping ancestor shows of an element is as wide as that ancestor, which is looked at itself.
    const isScrolled = (element) => {{
        for (let up = element.parentElement; up && up !== document.body && up !== root; up = up.parentElement) {{
            if (clips(up)) return true;
        }}
        return false;
    }};
    for (const element of document.body.querySelectorAll("*")) {{
        const box = element.getBoundingClientRect();
        // Of no size, or moved off to the left for screen readers: nobody sees it.
        if (box.width < 2 || box.height < 2 || box.right <= 0) continue;
        if (!element.checkVisibility({{visibilityProperty: true}})) continue;
        if (!isInside(box) && !isScrolled(element)) {{
            found.push(`from ${{Math.round(box.left)}} to ${{Math.round(box.right)}} pixels: ${{describe(element)}}`);
        }}
    }}
    return found;
}}"""

# Styles are taken before anything has the focus, to be compared with.
_STYLE = """
const styleOf = (element) => {
    const style = getComputedStyle(element);
    return ["outlineStyle", "outlineWidth", "outlineColor", "boxShadow", "borderColor", "backgroundColor",
            "textDecorationLine"].map((name) => style[name]).join(" ");
};
"""

_MARK_CONTROLS = f"""(selector) => {{
    {_DESCRIBE}
    {_STYLE}
    if (document.activeElement) document.activeElement.blur();
    const controls = [...document.querySelectorAll(selector)];
    window.__controls = new Map(
        controls.map((element, number) => [element, {{number: String(number), before: styleOf(element)}}])
    );
    const isAsked = (element) => {{
        if (element.disabled || element.closest("[inert]")) return false;
        if (!element.checkVisibility({{visibilityProperty: true}})) return false;
        // A heading that a link jumps to is no control, and arrow keys move among tabs and the like.
        const isNative = element.matches("a[href], button, input, select, textarea, summary, [role]");
        const isMovedTo = element.matches("[role=tab], [role=option], [role=radio], [role=menuitem]");
        return element.tabIndex >= 0 || (isNative && !isMovedTo);
    }};
    const found = {{}};
    for (const element of controls.filter(isAsked)) {{
        if (element.matches("input[type=radio]")) {{
            const group = controls.filter((other) => other.type === "radio" && other.name === element.name);
            if (element !== (group.find((other) => other.checked) || group[0])) continue;
        }}
        found[window.__controls.get(element).number] = describe(element);
    }}
    return found;
}}"""

_FOCUSED = f"""() => {{
    {_DESCRIBE}
    {_STYLE}
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const known = window.__controls.get(element) || {{number: describe(element), before: ""}};
    return {{number: known.number, shown: styleOf(element) !== known.before, what: describe(element)}};
}}"""
