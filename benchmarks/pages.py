"""An HTML report: the time to write it, its size, and the time to open it.

    python benchmarks/pages.py [FOLDER] [--points 250] [--seeds 20] [--repeats 3] [--browser chromium] [--keep FILE]

FOLDER is a finished run or sweep. Without it, a sweep is made up: random numbers for every measure and control of the
given number of points (at most 1,000) and seeds, with one failed run in a hundred.

write  seconds from the folder to the file
size   MB
open   seconds, median of repeats: from opening the file until the first chart and, for a sweep, the table of runs are
       shown; each time in a new context
react  for a sweep, seconds from each change until the page has been painted again
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from perturblearn.config import resolve_sweep
from perturblearn.experiment import MEASURES, ClassMeasures, ControlAccuracies, Outcome, Point, SeedMeasures
from perturblearn.pages import run_page, write_page
from perturblearn.pages.sweep_page import sweep_page
from perturblearn.results import Result, SweepResult
from perturblearn.store import ArtefactStore

EPSILONS = [float(f"{0.02 * 1.6**step:.3g}") for step in range(10)]
WIDTHS = [16, 64, 250, 1000, 4000]
SLOPES = [round(0.05 * step, 2) for step in range(20)]

REACTIONS = {
    "filter": "() => document.querySelector('#filter-fields input').click()",
    "filter back": "() => document.querySelector('#filters-reset').click()",
    "logarithmic axis": "() => document.querySelector('#log-y').click()",
    "other measure": """() => { const list = document.querySelector('#y'); list.value = 'agreement';
        list.dispatchEvent(new Event('change', {bubbles: true})); }""",
    "other colours": """() => { const list = document.querySelector('#colour'); list.value = 'seed';
        list.dispatchEvent(new Event('change', {bubbles: true})); }""",
    "single runs": "() => document.querySelector('#dots').click()",
    "sort by a number": "() => document.querySelectorAll('#runs-table th button')[3].click()",
    "sort by text": "() => document.querySelectorAll('#runs-table th button')[12].click()",
    "search": """() => { const box = document.querySelector('#runs-table input'); box.value = '0.97';
        box.dispatchEvent(new Event('input', {bubbles: true})); }""",
    "dark": "() => document.querySelector('#theme').click()",
}
"""A reader's actions, as JavaScript."""
_UNTIL_PAINTED = """async (act) => {
    const start = performance.now();
    (0, eval)(`(${act})`)();
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return (performance.now() - start) / 1000;
}"""


def made_up(folder: Path, points: int, seeds: int) -> Path:
    """A sweep's folder with random numbers."""
    draw = random.Random(0)
    grid = {
        "attack.epsilon": EPSILONS,
        "standard.model.hidden_dim": WIDTHS,
        "standard.model.slope": SLOPES[: max(1, round(points / 50))],
    }
    sweep = resolve_sweep({"name": "made-up", "seeds": seeds, "data": {"name": "digits"}, "sweep": {"grid": grid}})
    found = [Point(values, config) for values, config in sweep.points()]
    outcomes = [
        _outcome(draw, Outcome(number, seed, f"{draw.getrandbits(256):064x}"), point.values)
        for number, point in enumerate(found)
        for seed in range(seeds)
    ]
    result = SweepResult.of(sweep, "ab" * 32, found, outcomes)
    written = result.write(ArtefactStore(folder / ".store"), folder / "made-up").folder
    assert written is not None
    return written


def _outcome(draw: random.Random, run: Outcome, values: Mapping[str, Any]) -> Outcome:
    if draw.random() < 0.01:
        error = f"training diverged at epoch {draw.randint(1, 5)} with learning rate 0.5; lower it"
        return replace(run, error=error)
    measures = {name: draw.random() for name in MEASURES if "control" not in name}
    size = (
        values["attack.epsilon"] * values["standard.model.hidden_dim"] ** 0.25 * (1.3 - values["standard.model.slope"])
    )
    g = 0.5 + 0.47 * size**1.5 / (0.8 + size**1.5) + draw.gauss(0, 0.02)
    measures["perturbation_accuracy_heldout"] = g
    measures["standard_accuracy_heldout"] = 0.985 + draw.gauss(0, 0.004)
    measures["agreement"] = g + draw.gauss(0, 0.01)

    def draws() -> tuple[float, ...]:
        return tuple(draw.gauss(0.5, 0.05) for _ in range(5))

    controls = {name: ControlAccuracies(draws(), draws()) for name in ("unperturbed", "permuted")}
    none = ((None,) * 2,) * 4
    classes = ClassMeasures(("+1", "-1"), (0, 0), *none, confusion=((0, 0), (0, 0)))
    return replace(run, measured=SeedMeasures(run.seed, 0.1, 0.01, measures, controls, classes))


def page_of(folder: Path) -> str:
    """The page of a run or a sweep."""
    if (folder / "sweep.json").is_file():
        return sweep_page(SweepResult.load(folder))
    return run_page(Result.load(folder), folder)


def opened(browser: Browser, path: Path) -> tuple[Page, float]:
    """The page in a new context, and the seconds until it was shown."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True).new_page()
    start = time.perf_counter()
    page.goto(path.resolve().as_uri())
    page.wait_for_selector(".plot .main-svg .trace, .plot .main-svg .hm", state="attached")
    if page.query_selector("#runs-table") is not None:
        page.wait_for_selector("#runs-table tbody tr")
    return page, time.perf_counter() - start


def measure(folder: Path, file: Path, repeats: int, program: str) -> None:
    """Print the costs of a folder's page."""
    start = time.perf_counter()
    write_page(page_of(folder), file)
    print(f"write  {time.perf_counter() - start:.2f} s")
    print(f"size   {file.stat().st_size / 1e6:.2f} MB")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        found = [opened(browser, file) for _ in range(repeats)]
        print(f"open   {statistics.median(seconds for _, seconds in found):.2f} s")
        page = found[-1][0]
        if page.query_selector("#runs-table") is not None:
            for name, act in REACTIONS.items():
                page.wait_for_timeout(300)
                print(f"react  {page.evaluate(_UNTIL_PAINTED, act):.2f} s  {name}")
        browser.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--points", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--keep", type=Path, help="file to keep the page in; by default it is deleted")
    given = parser.parse_args()
    if given.browser is None:
        parser.error("no chromium was found; name its program with --browser")
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or made_up(Path(scratch), given.points, given.seeds)
        measure(folder, given.keep or Path(scratch) / "report.html", given.repeats, given.browser)


if __name__ == "__main__":
    main()
