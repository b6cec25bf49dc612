"""The page over a folder of results, as text; what it does in a browser is tested there."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from tests.report import project
from tests.report.project import put, run, write_project

from perturblearn.api.index import index
from perturblearn.errors import StoreError
from perturblearn.pages.index_page import index_page
from perturblearn.report.entries import Entries


def page_of(folder: Path) -> str:
    return index_page(Entries.of(folder, page="report.html"))


def data_of(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="index-data">(.*?)</script>', page)
    return json.loads(text)


def test_it_is_small_and_holds_no_charts(tmp_path: Path) -> None:
    page = page_of(write_project(tmp_path))
    assert len(page) < 60_000
    assert "Plotly.js" not in page


def test_every_entry_has_its_report_or_the_command_that_writes_it(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "my runs")
    rows = {row["folder"]: row for row in data_of(page_of(folder))["entries"]}
    assert (rows["last"]["page"], rows["last"]["command"]) == ("last/report.html", None)
    assert (rows["audit"]["page"], rows["audit"]["command"]) == (None, f"perturblearn report '{folder}/audit'")
    assert (rows["set"]["page"], rows["set"]["command"]) == (None, None)
    assert f"perturblearn index &#39;{folder}&#39;" in page_of(folder)


def test_settings_that_most_have_are_told_once_and_come_back_whole(tmp_path: Path) -> None:
    folder = write_project(tmp_path)
    data = data_of(page_of(folder))
    found = Entries.of(folder, page="report.html").found
    for row, entry in zip(data["entries"], found, strict=True):
        both = {**data["common"], **row["settings"]}
        assert {name: value for name, value in both.items() if value is not None} == entry.settings
    assert data["common"]["data.name"] == "digits"
    assert "attack.epsilon" not in data["entries"][-1]["settings"]


def test_only_measures_that_were_taken_have_a_column(tmp_path: Path) -> None:
    put(tmp_path / "one", "result.json", run().to_dict())
    data = data_of(page_of(tmp_path))
    assert [measure["label"] for measure in data["measures"]] == ["f", "g", "agreement", "unperturbed", "permuted"]
    assert data["has_inside"] is False


def test_names_are_text(tmp_path: Path) -> None:
    put(tmp_path / "<script><b>", "audit.json", project.audit("</script><script>alert(1)//\u202e").to_dict())
    (tmp_path / "<i>left out").mkdir()
    page = page_of(tmp_path)
    assert "<script><b>" not in page
    assert "<i>" not in page
    assert "&lt;i&gt;left out" in page
    assert "\u202e" not in page
    assert data_of(page)["entries"][0]["name"] == "</script><script>alert(1)//[U+202E]"


def test_odd_values_make_a_page_too(tmp_path: Path) -> None:
    whole = project.audit().to_dict()
    for key in whole:
        put(tmp_path / key, "audit.json", {**whole, key: [None, {"\ud800": 1}]})
    put(tmp_path / "named", "audit.json", {**whole, "name": float("inf")})
    put(tmp_path / "half", "audit.json", {**whole, "name": "\ud800"})
    assert page_of(tmp_path).encode()
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    put(folder / "one", "result.json", run().to_dict())
    assert "Results in <bdi>\ufffd</bdi>" in page_of(folder).encode().decode()


def test_a_folder_without_results_says_so(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert "No result was found here." in page
    assert "Left out" not in page


def test_it_is_written_whole_into_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_project(tmp_path / "runs")
    before = sorted(path.name for path in folder.iterdir())
    page = folder / "index.html"
    found = index(folder)
    assert found.page == page
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "index.html"])
    assert found.to_dict()["page"] == str(page)
    assert str(found).endswith(f"Index: {page}")
    # The page itself is no entry, and equal folders have equal pages.
    first = page.read_text(encoding="utf-8")
    index(folder)
    assert page.read_text(encoding="utf-8") == first
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(StoreError, match=r"cannot write .*index\.html"):
        index(folder)
    assert page.read_text(encoding="utf-8") == first
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "index.html"])


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_two_thousand_entries_are_quick_and_small(tmp_path: Path) -> None:
    content = run().to_dict()
    for number in range(2000):
        content["config"]["attack"]["epsilon"] = number / 1000
        put(tmp_path / f"run-{number:04}", "result.json", content)
    found = index(tmp_path)
    assert len(found.found) == 2000
    assert found.page is not None
    # About 900 bytes each: settings that all share are told once.
    assert found.page.stat().st_size < 2_500_000
