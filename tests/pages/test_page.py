from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pages.made_runs import HOSTILE, made_reproduction

from perturblearn.errors import StoreError
from perturblearn.pages import as_data, reproduction_page, visible, write_page


@given(st.text())
def test_data_end_no_script_and_say_what_was_said(text: str) -> None:
    written = as_data({"name": text, text: [text]})
    assert "<" not in written
    assert "&" not in written
    assert json.loads(written) == {"name": visible(text), visible(text): [visible(text)]} or visible(text) == "name"


def test_what_would_not_be_seen_is_told_by_its_number() -> None:
    assert visible("a\u202eb\u200f") == "a[U+202E]b[U+200F]"
    assert visible({"x": ["\u2066", 1, None]}) == {"x": ["[U+2066]", 1, None]}
    assert visible("naïve – ε, 例, tab\tand\nline") == "naïve – ε, 例, tab\tand\nline"


class Scripts(HTMLParser):
    """The scripts of a page that would run, and the elements that names might have made."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.running: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self._inside: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script":
            self._inside = given.get("type") or "run"
        if tag == "img":
            self.images.append(given)

    def handle_data(self, data: str) -> None:
        if self._inside == "run":
            self.running.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._inside = None


def test_a_page_runs_its_own_scripts_alone(tmp_path: Path) -> None:
    text = reproduction_page(made_reproduction(), tmp_path)
    parsed = Scripts()
    parsed.feed(text)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    policy = policy.replace("&#39;", "'")
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    found = {base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in parsed.running}
    assert found == allowed
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert parsed.images == []
    assert all(name not in text for name in HOSTILE[:2])


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page("old", path)
    with pytest.raises(StoreError, match=r"cannot write .*nowhere.*No such file or directory"):
        write_page("new", tmp_path / "nowhere" / "page.html")
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*taken"):
        write_page("new", taken)
    assert path.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["page.html", "taken"]
