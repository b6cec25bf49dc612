"""Links and pictures lead somewhere, without the network."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from tests.docs.pages import ROOT, pages, text_of

from perturblearn.papers import ALL


def slug(heading: str) -> str:
    """The anchor that code forges and the site give a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(page: str) -> set[str]:
    """Anchors of a page's headings; the second of two equal ones has -1."""
    text = re.sub(r"(?s)^```.*?^```", "", text_of(page), flags=re.MULTILINE)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,4} (.*)$", text, re.MULTILINE):
        name = slug(heading)
        number = 0
        while (anchor := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(anchor)
    return found


def broken(page: str, text: str) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for target in re.findall(r"\]\(\s*<?([^)>\s]+)>?\)", re.sub(r"(?s)```.*?```", "", text)):
        if re.match(r"(?:https?|mailto):", target):
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / page).parent / path if path else ROOT / page
        if not place.exists():
            found.append(target)
        elif anchor:
            other = place.resolve().relative_to(ROOT).as_posix()
            if PurePosixPath(other).suffix != ".md" or anchor not in anchors(other):
                found.append(target)
    return found


@pytest.mark.parametrize("page", [*pages(), "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    assert broken(page, text_of(page)) == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    text = "[a](no_such.md) [b](docs/data.md#no-such) [c](docs/data.md#groups) ![d](docs/images/none.png) [e](#nothing)"
    assert broken("README.md", text) == ["no_such.md", "docs/data.md#no-such", "docs/images/none.png", "#nothing"]


def test_links_of_the_site_s_first_page_reach_every_page_of_ours() -> None:
    text = text_of("docs/index.md")
    listed = {line for block in re.findall(r"(?s)```\{toctree\}(.*?)```", text) for line in block.split()}
    ours = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    assert {*ours, "course/README"} <= listed


def test_the_course_s_first_page_lists_every_notebook_in_order() -> None:
    listed = re.findall(r"\((\d\d_\w+\.ipynb)\)", text_of("docs/course/README.md"))
    assert listed == sorted(path.name for path in (ROOT / "docs/course").glob("*.ipynb"))


def test_the_gallery_links_every_picture_to_the_page_that_explains_it() -> None:
    """Pictures of whole figures; those of single panels are on the figure's page."""
    text = text_of("docs/gallery.md")
    shown = re.findall(r"\[!\[[^\]]+\]\(([^)]+)\)\]\([^)]+\.md[^)]*\)", text)
    assert len(shown) == text.count("![")
    figures = {name.replace("/", "-") for name in ALL}
    pictured = {figure for figure in figures if list((ROOT / "docs/reproduction/images").glob(f"{figure}-*.png"))}
    named = {figure for figure in figures if f"`perturblearn reproduce {figure.replace('-', '/', 1)}" in text}
    assert pictured <= named
