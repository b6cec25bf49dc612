from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
from playwright.sync_api import Page, expect
from tests.browser.pages import DESKTOP, PHONE, Opened, check_page, overflowing
from tests.report.made_sweeps import GRID, HOSTILE, G, made_sweep

from perturblearn.pages import write_page
from perturblearn.pages.sweep_page import sweep_page
from perturblearn.results import SweepResult

Open = Callable[..., Opened]
CONTROL = "unperturbed_control_heldout"
RANDOM = {
    "draws": 30,
    "standard.model.slope": {"low": 0.01, "high": 0.9, "scale": "log"},
    "attack.epsilon": {"low": 0.1, "high": 1.0},
}
DRAWN = """() => document.getElementById("sweep-chart").data.map((trace) => ({
    meta: trace.meta, name: trace.name, mode: trace.mode, x: [...trace.x], y: [...trace.y],
    z: trace.z && trace.z.map((line) => [...line]), deviation: trace.error_y && [...trace.error_y.array],
    colour: trace.line && trace.line.color, dash: trace.line && trace.line.dash,
    marker: trace.marker && trace.marker.color, symbol: trace.marker && trace.marker.symbol,
}))"""


@pytest.fixture(scope="module")
def grid_sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """Twelve points over numbers and words, three seeds, with two failed runs."""
    folder = tmp_path_factory.mktemp("grid")
    return made_sweep(folder, grid=GRID, failing=lambda point, seed: f"broke at {point}" if point == seed else None)


@pytest.fixture(scope="module")
def grid_page(grid_sweep: SweepResult) -> Path:
    return written(grid_sweep)


def written(sweep: SweepResult) -> Path:
    assert sweep.folder is not None
    path = sweep.folder / "report.html"
    write_page(sweep_page(sweep), path)
    return path


def drawn(page: Page, meta: str) -> list[dict[str, Any]]:
    """The traces of that kind in the chart."""
    return [trace for trace in page.evaluate(DRAWN) if trace["meta"] == meta]


def values(sweep: SweepResult, measure: str, **where: Any) -> np.ndarray:
    """The measure in every finished run with these settings; __ stands for a dot."""
    wanted = {name.replace("__", "."): value for name, value in where.items()}
    return np.array([
        row[measure] for row in (run.row for run in sweep.runs)
        if row["error"] is None and row[measure] is not None and all(row[name] == each for name, each in wanted.items())
    ])  # fmt: skip


def rows(page: Page, table: str) -> list[list[str]]:
    """The texts of a table's cells."""
    return page.evaluate(
        "(id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.cells].map((cell) => "
        "cell.textContent))",
        table,
    )


def heads(page: Page, table: str) -> list[str]:
    return page.locator(f"#{table} thead th").all_inner_texts()


def layout(page: Page, path: str) -> Any:
    return page.evaluate(f"() => document.getElementById('sweep-chart')._fullLayout.{path}")


def close(found: Iterable[float], expected: Iterable[float]) -> None:
    # The browser sums in another order than numpy.
    np.testing.assert_allclose(list(found), list(expected), rtol=1e-12)


def test_curves_are_means_with_a_band_of_one_deviation(
    open_page: Open, grid_sweep: SweepResult, grid_page: Path
) -> None:
    page = open_page(grid_page).page
    curves, bands = drawn(page, "mean"), drawn(page, "band")
    assert [curve["name"] for curve in curves] == GRID["attack.source"]
    for curve, band in zip(curves, bands, strict=True):
        found = [
            values(grid_sweep, G, attack__source=curve["name"], attack__epsilon=epsilon)
            for epsilon in GRID["attack.epsilon"]
        ]
        assert curve["x"] == GRID["attack.epsilon"]
        close(curve["y"], [each.mean() for each in found])
        assert band["x"] == [*curve["x"], *reversed(curve["x"])]
        high, low = ([each.mean() + sign * each.std(ddof=1) for each in found] for sign in (1, -1))
        close(band["y"], [*high, *reversed(low)])
    controls = drawn(page, "control")
    assert [control["name"] for control in controls] == ["unperturbed control", "permuted control"]
    close(controls[0]["y"], [
        values(grid_sweep, CONTROL, attack__epsilon=epsilon).mean() for epsilon in GRID["attack.epsilon"]
    ])  # fmt: skip
    assert layout(page, "xaxis.type") == "log"
    assert page.locator("#sweep-caption").inner_text() == (
        "perturbation_accuracy_heldout (g, clean held-out inputs): each point is the mean of 2 to 3 runs, over seed. "
        "The band is one standard deviation (n - 1) of these runs. Grey: the mean of the controls over all colours."
    )


def test_axes_measure_colours_and_spread_are_chosen(open_page: Open, grid_sweep: SweepResult, grid_page: Path) -> None:
    page = open_page(grid_page).page
    page.select_option("#x", "attack.source")
    page.select_option("#colour", "")
    page.select_option("#y", "agreement")
    (bars,) = drawn(page, "mean")
    found = [values(grid_sweep, "agreement", attack__source=source) for source in GRID["attack.source"]]
    assert (bars["mode"], bars["x"]) == ("markers", [0, 1, 2])
    assert layout(page, "xaxis.ticktext") == GRID["attack.source"]
    close(bars["y"], [each.mean() for each in found])
    close(bars["deviation"], [each.std(ddof=1) for each in found])
    assert drawn(page, "control") == []
    assert "over attack.epsilon and seed" in page.locator("#sweep-caption").inner_text()
    page.check("#dots")
    (dots,) = drawn(page, "runs")
    close(sorted(dots["y"]), sorted(np.concatenate(found)))
    page.select_option("#spread", "none")
    assert drawn(page, "mean")[0]["deviation"] is None
    page.select_option("#x", "seed")
    page.select_option("#colour", "attack.source")
    assert [curve["x"] for curve in drawn(page, "mean")] == [[0, 1, 2]] * 3


def test_on_a_logarithmic_axis_stands_what_can(open_page: Open, grid_sweep: SweepResult, grid_page: Path) -> None:
    page = open_page(grid_page).page
    page.uncheck("#log-x")
    assert layout(page, "xaxis.type") == "linear"
    page.select_option("#colour", "")
    page.select_option("#y", "perturbed_loss")
    page.check("#log-y")
    assert (layout(page, "xaxis.type"), layout(page, "yaxis.type")) == ("linear", "log")
    (curve,) = drawn(page, "mean")
    close(curve["y"], [
        values(grid_sweep, "perturbed_loss", attack__epsilon=epsilon).mean() for epsilon in GRID["attack.epsilon"]
    ])  # fmt: skip
    (band,) = drawn(page, "band")
    assert min(band["y"]) > 0
    page.select_option("#y", "cosine_similarity_signed")
    means = {
        epsilon: values(grid_sweep, "cosine_similarity_signed", attack__epsilon=epsilon).mean()
        for epsilon in GRID["attack.epsilon"]
    }
    assert drawn(page, "mean")[0]["x"] == [epsilon for epsilon, mean in means.items() if mean > 0]
    below = sum(int(mean <= 0) for mean in means.values())
    assert below
    assert f"{below} mean{'s' * (below > 1)} of 0 or below cannot be" in page.locator("#sweep-caption").inner_text()


def test_filters_cut_the_chart_and_both_tables(open_page: Open, grid_sweep: SweepResult, grid_page: Path) -> None:
    page = open_page(grid_page).page
    assert page.locator("#count").inner_text() == "All 36 runs at 12 points, 3 of them failed."
    page.get_by_role("group", name="attack.source").get_by_label("none").uncheck()
    page.get_by_role("group", name="seed").get_by_label("1").uncheck()
    assert page.locator("#count").inner_text() == "Shown: 16 runs at 8 points, 2 of them failed."
    assert page.locator("#filters-active").inner_text().strip() == "(2 keys filtered)"
    curves = drawn(page, "mean")
    assert [curve["name"] for curve in curves] == ["natural", "uniform"]
    found = [
        np.concatenate([
            values(grid_sweep, G, attack__source="natural", attack__epsilon=epsilon, seed=seed) for seed in (0, 2)
        ])
        for epsilon in GRID["attack.epsilon"]
    ]  # fmt: skip
    close(curves[0]["y"], [each.mean() for each in found])
    head, points = heads(page, "points-table"), rows(page, "points-table")
    assert head[:3] == ["point", "epsilon", "source"]
    assert [row[0] for row in points] == [
        str(point.number) for point in grid_sweep.table if point.values["attack.source"] != "none"
    ]  # fmt: skip
    natural = [row for row in points if row[2] == "natural"]
    expected = [
        f"{each.mean():.3f}" + (f" ± {each.std(ddof=1):.3f}" if len(each) > 1 else "") for each in found
    ]  # fmt: skip
    assert [row[head.index("g")] for row in natural] == expected
    assert {row[heads(page, "runs-table").index("seed")] for row in rows(page, "runs-table")} == {"0", "2"}
    page.click("#filters-reset")
    assert len(drawn(page, "mean")) == 3
    assert len(rows(page, "points-table")) == 12
    for box in page.get_by_role("group", name="attack.source").get_by_role("checkbox").all():
        box.uncheck()
    assert drawn(page, "mean") == []
    assert page.locator("#sweep-caption").inner_text().startswith("No finished run is left by these filters")
    assert rows(page, "runs-table") == []


def test_keys_of_many_values_are_filtered_by_ranges_and_lists(open_page: Open, tmp_path: Path) -> None:
    sizes = list(range(20, 33))
    names = [f"folder:photos-{number}" for number in range(13)]
    sweep = made_sweep(tmp_path, seeds=1, zip={"data.n_samples": sizes, "data.name": names})
    page = open_page(written(sweep)).page
    page.get_by_label("data.n_samples from").fill("25")
    page.get_by_label("data.n_samples to").fill("29.5")
    assert drawn(page, "mean")[0]["x"] == [25, 26, 27, 28, 29]
    page.get_by_label("data.name: none or all chosen").select_option([names[0], names[6], names[8]])
    assert drawn(page, "mean")[0]["x"] == [26, 28]
    assert "Together with data.n_samples varies data.name." in page.locator("#sweep-caption").inner_text()
    page.click("#filters-reset")
    assert drawn(page, "mean")[0]["x"] == sizes
    assert page.get_by_label("data.n_samples from").input_value() == ""


def test_tables_sort_and_search(open_page: Open, grid_sweep: SweepResult, grid_page: Path) -> None:
    page = open_page(grid_page).page
    means = {point.number: point.spread(G).mean or 0.0 for point in grid_sweep.table}
    by_size = sorted(means, key=means.__getitem__, reverse=True)
    column = heads(page, "points-table").index("g")
    page.locator("#points-table thead th").nth(column).get_by_role("button").click()
    assert page.locator("#points-table thead th").nth(column).get_attribute("aria-sort") == "descending"
    assert [int(row[0]) for row in rows(page, "points-table")] == by_size
    page.get_by_label("Search runs").fill("broke at 2")
    assert [(row[0], row[-1]) for row in rows(page, "runs-table")] == [("3", "broke at 2")]
    page.get_by_label("Search runs").fill("")
    page.check("#failed-only")
    assert [row[-1] for row in rows(page, "runs-table")] == ["broke at 0", "broke at 1", "broke at 2"]
    page.select_option("#y", "perturbed_loss")
    assert "perturbed_loss" in heads(page, "points-table")
    assert len(rows(page, "runs-table")) == 3


def test_another_measure_keeps_what_was_searched_sorted_and_turned_to(open_page: Open, tmp_path: Path) -> None:
    epsilons = [number / 10 for number in range(1, 61)]
    sweep = made_sweep(
        tmp_path,
        seeds=1,
        grid={"attack.epsilon": epsilons},
        failing=lambda point, seed: "it broke" if point == 8 else None,
    )
    page = open_page(written(sweep)).page
    column = heads(page, "points-table").index("epsilon")
    head = page.locator("#points-table thead th").nth(column)
    head.get_by_role("button").click()
    page.locator("#points-table").get_by_role("button", name="Next").click()
    page.get_by_label("Search runs").fill("broke")
    before = [row[:2] for row in rows(page, "points-table")]
    assert before[0] == ["35", "3.5"]
    assert [row[0] for row in rows(page, "runs-table")] == ["9"]
    page.select_option("#y", "perturbed_loss")
    assert "perturbed_loss" in heads(page, "points-table")
    assert [row[:2] for row in rows(page, "points-table")] == before
    assert head.get_attribute("aria-sort") == "descending"
    assert page.get_by_label("Search runs").input_value() == "broke"
    assert [row[0] for row in rows(page, "runs-table")] == ["9"]
    # A column that goes takes its order with it.
    page.locator("#points-table thead th").nth(heads(page, "points-table").index("perturbed_loss")).locator(
        "button"
    ).click()
    page.select_option("#y", "agreement")
    assert page.locator("#points-table thead th[aria-sort]").count() == 0
    assert rows(page, "points-table")[0][0] == "1"


def test_a_key_that_is_the_axis_colours_nothing_and_the_box_says_so(open_page: Open, grid_page: Path) -> None:
    page = open_page(grid_page).page
    page.select_option("#x", "attack.epsilon")
    page.select_option("#colour", "attack.epsilon")
    assert page.input_value("#colour") == ""
    assert len(drawn(page, "mean")) == 1


def test_the_chart_keeps_its_height_when_the_window_changes(open_page: Open, grid_page: Path) -> None:
    opened = open_page(grid_page)
    sizes = """() => { const place = document.getElementById("sweep-chart");
        const box = place.querySelector(".main-svg").getBoundingClientRect();
        return [place.clientHeight, box.height, place.clientWidth - box.width]; }"""
    assert opened.page.evaluate(sizes) == [460, 460, 0]
    opened.set_width(1000)
    assert opened.page.evaluate(sizes) == [460, 460, 0]


def test_long_errors_take_two_lines_of_the_runs_table(open_page: Open, tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path, grid=GRID, failing=lambda point, seed: "training diverged " * 40 if seed else None)
    page = open_page(written(sweep), width=PHONE).page
    page.locator("#runs-table").scroll_into_view_if_needed()
    heights = page.evaluate(
        "() => [...document.querySelectorAll('#runs-table tbody tr')].map((row) => row.clientHeight)"
    )
    assert max(heights) < 75  # pixels; two lines of text are 43
    assert "training diverged " * 39 in page.get_by_role("region", name="What failed").inner_text()


def test_what_is_shown_is_saved_as_csv(
    open_page: Open, grid_sweep: SweepResult, grid_page: Path, tmp_path: Path
) -> None:
    page = open_page(grid_page).page
    page.get_by_role("group", name="attack.source").get_by_label("none").uncheck()

    def saved(button: str) -> list[dict[str, str]]:
        with page.expect_download() as download:
            page.click(button)
        download.value.save_as(path := tmp_path / download.value.suggested_filename)
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def number(text: str) -> float | None:
        return float(text) if text else None

    shown = [run.row for run in grid_sweep.runs if run.values["attack.source"] != "none"]
    found = saved("#runs-file")
    assert [row["key"] for row in found] == [row["key"] for row in shown]
    for row, run in zip(found, shown, strict=True):
        assert row["error"] == (run["error"] or "")
        assert (row["attack.source"], float(row["attack.epsilon"])) == (run["attack.source"], run["attack.epsilon"])
        assert all(number(row[name]) == run.get(name) for name in (G, "perturbed_loss", "perturbation_size"))
    points = saved("#points-file")
    expected = [dict[str, Any](point.row) for point in grid_sweep.table if point.values["attack.source"] != "none"]
    assert [row["point"] for row in points] == [str(row["point"]) for row in expected]
    for row, point in zip(points, expected, strict=True):
        assert (int(row["finished"]), int(row["failed"])) == (point["finished"], point["failed"])
        close(
            [float(row[f"{G}_{what}"]) for what in ("mean", "std")], [point[f"{G}_{what}"] for what in ("mean", "std")]
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made-points.csv", "made-runs.csv"]


def test_two_numbers_make_a_heat_map(open_page: Open, tmp_path: Path) -> None:
    grid = {"attack.epsilon": [0.1, 1.0], "data.n_samples": [20, 30, 50], "attack.source": ["natural", "none"]}
    sweep = made_sweep(tmp_path, grid=grid, failing=lambda point, seed: "it broke" if point < 2 else None)
    page = open_page(written(sweep)).page
    page.select_option("#view", "map")
    (heat,) = drawn(page, "map")
    assert layout(page, "xaxis.ticktext") == ["0.1", "1"]
    assert layout(page, "yaxis.ticktext") == ["20", "30", "50"]
    for line, size in zip(heat["z"], grid["data.n_samples"], strict=True):
        for cell, epsilon in zip(line, grid["attack.epsilon"], strict=True):
            found = values(sweep, G, attack__epsilon=epsilon, data__n_samples=size)
            assert cell is None if len(found) == 0 else cell == pytest.approx(found.mean(), rel=1e-12)
    assert heat["z"][0][0] is None
    assert "each cell is the mean of 6 runs, over attack.source and seed" in page.locator("#sweep-caption").inner_text()
    page.select_option("#row", "attack.epsilon")
    assert page.input_value("#row") != "attack.epsilon"


def test_random_points_are_dots_without_lines(open_page: Open, tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path, random=RANDOM)
    page = open_page(written(sweep)).page
    (dots,) = drawn(page, "mean")
    assert dots["mode"] == "markers"
    by_slope: dict[Any, Any] = {point.values["standard.model.slope"]: point.spread(G).mean for point in sweep.table}
    close(dots["x"], sorted(by_slope))
    close(dots["y"], [by_slope[slope] for slope in sorted(by_slope)])
    assert "different at every point: attack.epsilon." in page.locator("#sweep-caption").inner_text()
    page.select_option("#view", "map")
    (dots,) = drawn(page, "map")
    assert sorted(zip(dots["x"], dots["y"], strict=True)) == sorted(
        (point.values["standard.model.slope"], point.values["attack.epsilon"]) for point in sweep.table
    )
    page.check("#log-y")
    assert (layout(page, "xaxis.type"), layout(page, "yaxis.type")) == ("log", "log")


def test_more_curves_than_colours_differ_in_dash_and_symbol(open_page: Open, tmp_path: Path) -> None:
    grid = {"attack.epsilon": [0.1, 1.0], "data.n_samples": list(range(20, 32)), "data.input_dim": list(range(5, 18))}
    page = open_page(written(made_sweep(tmp_path, seeds=1, grid=grid))).page
    curves = drawn(page, "mean")
    assert len({(curve["colour"], curve["dash"]) for curve in curves}) == 12
    assert len({(curve["colour"], curve["symbol"]) for curve in curves}) == 12
    page.select_option("#colour", "data.input_dim")
    curves = drawn(page, "mean")
    assert len({curve["colour"] for curve in curves}) == 13
    assert len(drawn(page, "scale")) == 1
    before = [curve["colour"] for curve in curves]
    page.click("#theme")
    assert not set(before) & {curve["colour"] for curve in drawn(page, "mean")}


@pytest.mark.parametrize("section", [{"grid": GRID}, {"random": RANDOM}], ids=["grid", "random"])
def test_every_chart_is_one_that_plotly_knows(open_page: Open, tmp_path: Path, section: dict[str, Any]) -> None:
    page = open_page(written(made_sweep(tmp_path, **section))).page
    keys = page.eval_on_selector_all("#x option", "(options) => options.map((option) => option.value)")

    def check() -> None:
        spec = page.evaluate(
            "() => { const {data, layout} = document.getElementById('sweep-chart'); "
            "return JSON.parse(JSON.stringify({data, layout})); }"
        )
        assert plotly.graph_objects.Figure(spec).data

    page.check("#dots")
    for x, colour in zip(keys, [*keys[1:], ""], strict=True):
        page.select_option("#x", x)
        page.select_option("#colour", colour)
        check()
    page.check("#log-y")
    check()
    if page.locator("#view").is_visible():
        page.select_option("#view", "map")
        check()


def test_the_page_fits_every_width_and_reader(open_page: Open, grid_page: Path) -> None:
    opened = open_page(grid_page)
    check_page(opened)
    ground = layout(opened.page, "paper_bgcolor")
    opened.page.click("#theme")
    assert layout(opened.page, "paper_bgcolor") != ground
    opened.page.wait_for_timeout(300)  # a renderer hands its storage to the browser a moment later
    opened.page.reload()
    assert opened.page.get_attribute("html", "data-theme") == "dark"


def test_a_chart_is_saved_and_a_command_copied(open_page: Open, grid_page: Path) -> None:
    page = open_page(grid_page).page
    for ending in ("svg", "png"):
        with page.expect_download() as download:
            page.click(f"[data-save={ending}]")
        assert download.value.suggested_filename == f"sweep-chart.{ending}"
    page.click("[data-copy=command]")
    expect(page.locator("#said")).to_have_text("Copied.")


def test_hostile_texts_are_shown_and_never_run(open_page: Open, tmp_path: Path) -> None:
    names = [f"folder:{HOSTILE}", "folder:@g", "folder:<b>bold</b>%{y}&amp;"]
    sweep = made_sweep(
        tmp_path,
        grid={"data.name": names, "attack.epsilon": [0.1, 0.3], "data.n_samples": [10, 20]},
        failing=lambda point, seed: f"{HOSTILE} {point}" if seed == 1 else None,
    )
    opened = open_page(written(sweep))
    page = opened.page
    page.select_option("#colour", "data.name")
    texts = page.locator("#sweep-chart .legendtext").all_text_contents()
    assert texts[1:3] == ["folder:@g", names[2]]
    assert texts[0] == f"{names[0][:39]}…"
    page.select_option("#x", "data.name")
    page.select_option("#colour", "")
    ticks = page.locator("#sweep-chart .xtick").all_text_contents()
    assert ticks[1:3] == ["folder:@g", names[2]]
    shown = HOSTILE.replace("\u202e", "[U+202E]")
    messages = page.get_by_role("region", name="What failed").locator("td.text").all_inner_texts()
    assert sorted(messages) == sorted(f"{shown} {point}" for point in range(12))
    page.check("#failed-only")
    assert rows(page, "runs-table")[11][-1] == f"{shown} 11"
    assert page.locator("main b, main img, main script:not([type='application/json'])").count() == 0
    for width in (PHONE, DESKTOP):
        opened.set_width(width)
        assert overflowing(page) == []


@pytest.mark.parametrize(
    "made",
    [
        {"grid": GRID, "failing": lambda point, seed: "it broke"},
        {"grid": {"attack.source": ["natural"]}},
        {"grid": {"attack.epsilon": [0.5]}, "seeds": 1},
        {"seeds": None, "zip": {"seeds": [4, 5], "attack.epsilon": [0.5, 1.0]}, "has_controls": False},
    ],
    ids=["all failed", "one point", "one run", "seeds on an axis"],
)
def test_odd_sweeps_open_and_list_their_runs(open_page: Open, tmp_path: Path, made: dict[str, Any]) -> None:
    sweep = made_sweep(tmp_path, **made)
    page = open_page(written(sweep)).page
    assert len(rows(page, "runs-table")) == min(25, len(sweep.runs))
    assert len(rows(page, "points-table")) == len(sweep.table)
    has_numbers = any(run.error is None for run in sweep.runs)
    assert (
        page.locator("#sweep-chart .main-svg").count() > 0 if has_numbers else page.locator("#sweep-chart").count() == 0
    )


@pytest.mark.long
def test_five_thousand_runs_open(open_page: Open, tmp_path: Path) -> None:
    grid = {
        "attack.epsilon": [round(0.1 * step, 1) for step in range(1, 11)],
        "data.n_samples": [20, 30, 50, 80, 120],
        "data.input_dim": [5, 10, 20, 40, 80],
    }
    sweep = made_sweep(
        tmp_path, seeds=20, grid=grid, failing=lambda point, seed: "it broke" if point % 50 == seed else None
    )
    assert len(sweep.runs) == 5000
    path = written(sweep)
    assert path.stat().st_size < 20e6
    page = open_page(path).page
    page.wait_for_selector("#sweep-chart .main-svg .trace", state="attached")
    assert len(rows(page, "runs-table")) == 25
