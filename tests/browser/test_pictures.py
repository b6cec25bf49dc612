"""The documentation's pictures of pages, of results that were really computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.pages import Opened
from tests.browser.test_run_page import all_drawn

from perturblearn import audit, reproduce, sweep, write_report

Open = Callable[..., Opened]


def test_a_sweep(tmp_path: Path, open_page: Open, screenshot: Any) -> None:
    axes = {"attack.epsilon": [0.1, 0.2, 0.4, 0.7, 1.0, 2.0], "attack.source": ["natural", "none"]}
    keys = {"seeds": 3, "data": {"classes": ["3", "8"]}, "controls": {"draws": 3}}
    found = sweep({"name": "epsilon", **keys, "sweep": {"grid": axes}}, out=tmp_path)
    assert found.folder is not None
    assert not found.failed
    opened = open_page(write_report(found.folder), height=1000)
    opened.page.wait_for_selector("#sweep-chart .main-svg")
    opened.page.locator("#sweep-chart").scroll_into_view_if_needed()
    screenshot(opened, "sweep")


def test_a_figure(tmp_path: Path, open_page: Open, screenshot: Any) -> None:
    found = reproduce("neurips2024/shifted_gauss_a", scale="full", seeds=2, panels=[1, 5], out=tmp_path)
    assert found.folder is not None
    opened = open_page(write_report(found.folder), height=1000)
    all_drawn(opened)
    screenshot(opened, "figure")


def test_an_audit(tmp_path: Path, open_page: Open, screenshot: Any) -> None:
    found = audit(
        "mlp",
        train=True,
        epsilons={"l2": (0.5, 1.0, 1.5, 2.0)},
        learners=["mlp"],
        overrides={"seeds": 3, "data.classes": ["0", "1", "2", "3"], "attack.steps": 10, "controls.draws": 5},
        out=tmp_path,
    )
    assert found.folder is not None
    opened = open_page(write_report(found.folder), height=1100)
    all_drawn(opened)
    screenshot(opened, "audit")
