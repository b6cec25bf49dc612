"""The documentation's pictures of pages, of results that were really computed.

`make screenshots` computes what the documentation shows; otherwise the same pages are opened of less.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.browser.pages import SCREENSHOTS_VARIABLE, Opened
from tests.browser.test_run_page import all_drawn
from tests.conftest import is_switched_on

from perturblearn import audit, reproduce, sweep, write_report

Open = Callable[..., Opened]
SHOWN = is_switched_on(SCREENSHOTS_VARIABLE)
pytestmark = pytest.mark.long  # test_sweep_page.py and test_other_pages.py look at such pages of made results


def test_a_sweep(tmp_path: Path, open_page: Open, screenshot: Any) -> None:
    epsilons = [0.1, 0.2, 0.4, 0.7, 1.0, 2.0] if SHOWN else [0.1, 0.4]
    axes = {"attack.epsilon": epsilons, "attack.source": ["natural", "none"]}
    size = {"seeds": 3, "controls": {"draws": 3}} if SHOWN else {"seeds": 1, "controls": {"draws": 1}}
    keys = {**size, "data": {"classes": ["3", "8"]}}
    found = sweep({"name": "epsilon", **keys, "sweep": {"grid": axes}}, out=tmp_path)
    assert found.folder is not None
    assert not found.failed
    opened = open_page(write_report(found.folder), height=1000)
    opened.page.wait_for_selector("#sweep-chart .main-svg")
    opened.page.locator("#curves").evaluate("heading => heading.scrollIntoView({ behavior: 'instant' })")
    screenshot(opened, "sweep")


def test_a_figure(tmp_path: Path, open_page: Open, screenshot: Any) -> None:
    size: dict[str, Any] = {"scale": "full", "seeds": 2, "panels": [1, 5]} if SHOWN else {"seeds": 1, "panels": [1]}
    found = reproduce("neurips2024/shifted_gauss_a", out=tmp_path, **size)
    assert found.folder is not None
    opened = open_page(write_report(found.folder), height=1000)
    all_drawn(opened)
    screenshot(opened, "figure")


def test_an_audit(tmp_path: Path, open_page: Open, screenshot: Any) -> None:
    small = {} if SHOWN else {"seeds": 2, "controls.draws": 1, "data.n_samples": 200}
    found = audit(
        "mlp",
        train=True,
        epsilons={"l2": (0.5, 1.0, 1.5, 2.0) if SHOWN else (1.0,)},
        learners=["mlp"],
        overrides={
            "seeds": 3,
            "data.classes": ["0", "1", "2", "3"],
            "attack.steps": 10,
            "controls.draws": 5,
            **small,
        },
        out=tmp_path,
    )
    assert found.folder is not None
    opened = open_page(write_report(found.folder), height=1100)
    all_drawn(opened)
    screenshot(opened, "audit")
