"""Points beside published ones: verdicts, lines, files."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perturblearn.config import value_of
from perturblearn.errors import StoreError
from perturblearn.papers import Figure, Panel, Published, Smaller
from perturblearn.papers.figure import number
from perturblearn.report import ReproductionReport
from perturblearn.report.reproduction import compared_with_published
from perturblearn.results import ControlsOfWay, FailedRun, PointRow, Reproduction, ShownPanel, point_rows
from perturblearn.store import ArtefactStore

VALUES = (0.80, 0.90, None, 0.60)
FIGURE = Figure(
    "paper/figure",
    {"data.name": "gauss", "attack.source": "uniform", "n_adv": 10},
    [Panel({"epsilon": (0.1, 0.2, 0.3, 0.4)}), Panel({"epsilon": (0.5,)}, log_x=True)],
    caption="What it shows.",
    measures={"accuracy": "ours_max", "noise": "unperturbed_control"},
)


@pytest.fixture(autouse=True)
def _published(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Published(0.015, [{"epsilon": [0.1, 0.2, 0.3, 0.4]}, {"epsilon": [0.5]}], [{"accuracy": VALUES}, None])
    monkeypatch.setattr("perturblearn.papers.published", lambda name: known if name == "paper/figure" else None)


def rows(figure: Figure, values: dict[float, list[float]], **more: Any) -> list[PointRow]:
    """Of points by epsilon; a run without the measure of ours has none."""
    points = list(figure.points())
    measured = [
        [{"ours_max": value, **more} for value in values.get(number(point.values, "epsilon"), ())] for point in points
    ]
    return point_rows(figure, points, measured)


def test_every_verdict() -> None:
    found = rows(
        FIGURE,
        {
            0.1: [0.84],  # within 0.05 of one run
            0.2: [0.99, 0.79],  # mean 0.89: near
            0.3: [0.5, 0.5],
            0.4: [0.66, 0.80],  # mean 0.73, deviation 0.099: within two of them
            0.5: [0.3],
        },
    )
    assert [(row.panel, row.x, row.n_seeds, row.verdict) for row in found] == [
        (1, 0.1, 1, "inside our spread"),
        (1, 0.2, 2, "inside our spread"),
        (1, 0.3, 2, "unreadable"),
        (1, 0.4, 2, "inside our spread"),
        (2, 0.5, 1, "not given"),
    ]
    assert found[0].difference == pytest.approx(0.04)
    assert found[0].std is None
    assert found[3].mean == pytest.approx(0.73)
    assert found[3].std == pytest.approx(0.14 / 2**0.5)
    # The measure that no run has is left out.
    assert {row.measure for row in found} == {"accuracy"}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.8500001], "outside"),  # one run has no spread
        ([0.85], "inside our spread"),
        ([0.86, 0.86], "outside"),
        ([0.98, 0.90], "outside"),  # mean 0.94, deviation 0.057
        ([0.98, 0.84], "inside our spread"),  # mean 0.91, deviation 0.099
        ([], "failed"),
    ],
)
def test_the_rule(values: list[float], verdict: str) -> None:
    found = rows(FIGURE, {0.1: values, 0.2: [0.9]})
    assert found[0].verdict == verdict
    assert found[0].published == 0.8


def test_the_tolerance_is_not_lost_to_rounding() -> None:
    # 0.65 - 0.6 is 0.05 and a little more in floating point.
    assert rows(FIGURE, {0.4: [0.65]})[3].verdict == "inside our spread"


def test_a_smaller_problem_is_shown_and_not_judged() -> None:
    quick = Figure(
        FIGURE.name, FIGURE.settings, FIGURE.panels, measures=FIGURE.measures,
        quick=Smaller({"epsilon": 0.5}, points=2),
    ).at("quick")  # fmt: skip
    found = rows(quick, {0.2: [0.1], 0.8: [0.6], 1.0: [0.3]})
    assert [(row.x, row.published, row.verdict) for row in found] == [
        (0.2, 0.8, "smaller problem"),
        (0.8, 0.6, "smaller problem"),
        (1.0, None, "not given"),
    ]


def test_today_s_networks_on_all_data_are_another_problem_not_a_smaller_one() -> None:
    modern = Figure(
        FIGURE.name, FIGURE.settings, FIGURE.panels, measures=FIGURE.measures,
        modern=Smaller({"epsilon": 0.5}, points=2),
    ).at("modern")  # fmt: skip
    found = rows(modern, {0.2: [0.1], 0.8: [0.6], 1.0: [0.3]})
    assert [row.verdict for row in found] == ["changed problem", "changed problem", "not given"]


def test_a_changed_problem_is_shown_and_not_judged() -> None:
    found = rows(FIGURE.with_keys({"standard.model.slope": 0.5}), {0.1: [0.8], 0.2: [0.1]})
    assert [(row.x, row.published, row.verdict) for row in found][:2] == [
        (0.1, 0.8, "changed problem"),
        (0.2, 0.9, "changed problem"),
    ]
    shown = reproduction(found, changed={"standard.model.slope": 0.5})
    assert ReproductionReport(shown).title == "paper/figure, full, standard.model.slope = 0.5; 2 seeds"
    assert ReproductionReport(shown).lines[0] == "panel 1 (epsilon): a problem other than the paper's, so not judged"
    assert shown.share_inside is None


def test_another_way_of_computing_is_judged() -> None:
    found = rows(FIGURE.with_keys({"standard.products": "bfloat16"}), {0.1: [0.8]})
    assert found[0].verdict == "inside our spread"


def test_ways_and_laws_are_told_apart() -> None:
    figure = Figure(
        FIGURE.name,
        FIGURE.settings,
        FIGURE.panels[:1],
        measures=FIGURE.measures,
        ways={"flow": lambda _: {}, "limit": lambda settings: {"slope": settings["epsilon"]}},
        laws={"law": lambda settings: None if number(settings, "epsilon") > 0.2 else number(settings, "n_adv") / 20},
    )
    points = [point for way in figure.ways for point in figure.points(way=way)]
    assert value_of(points[5].config, "standard.model.slope") == 0.2
    runs = [[{"ours_max": 0.8, "unperturbed_control": 0.5}] if point.way == "flow" else [{"ours_max": 0.7}]
            for point in points]  # fmt: skip
    found = point_rows(figure, points, runs)
    assert list(dict.fromkeys(row.measure for row in found)) == [
        "accuracy", "noise", "accuracy (limit)", "accuracy (law)",
    ]  # fmt: skip
    law = [row for row in found if row.measure == "accuracy (law)"]
    assert [(row.x, row.mean, row.std, row.n_seeds, row.verdict) for row in law] == [
        (0.1, 0.5, None, 0, "outside"), (0.2, 0.5, None, 0, "outside"),
    ]  # fmt: skip
    result = reproduction(found)
    assert ReproductionReport(result).lines == [
        "panel 1 (epsilon): 1 of 3 readable points inside; largest difference +0.200 in accuracy at 0.4",
        "panel 1 (epsilon), limit: 0 of 3 readable points inside; largest difference -0.200 in accuracy (limit) at 0.2",
        "panel 1 (epsilon), law: 0 of 2 readable points inside; largest difference -0.400 in accuracy (law) at 0.2",
    ]
    # The paper's own way counts.
    assert result.share_inside == pytest.approx(1 / 3)
    assert [row.measure for row in result.readable] == ["accuracy"] * 3


def test_the_published_seed_is_judged_by_the_reading_error_and_other_seeds_by_where_it_lies_among_them() -> None:
    points = list(FIGURE.points())
    measured = [[{"ours_max": value} for value in (0.7, 0.8, 0.85, 0.95)] for _ in points]
    at_seed = {(1, 0): {"ours_max": 0.82}, (1, 1): {"ours_max": 0.8799}, (1, 2): {"ours_max": 0.1}, (1, 3): None}
    found = point_rows(FIGURE, points, measured, at_seed)
    assert [(row.at_seed, row.seed_verdict) for row in found] == [
        (0.82, "within reading error"),  # by 0.02 just so
        (0.8799, "beyond reading error"),
        (0.1, ""),  # nothing can be read there
        (None, "failed"),
        (None, ""),  # not run
    ]
    assert found[1].seed_difference == pytest.approx(-0.0201)
    # 0.8 has one seed below it and one beside it, 0.9 three below it, 0.6 none; the third cannot be read.
    assert [row.quantile for row in found] == [(1 + 0.5) / 4, 3 / 4, None, 0.0, None]
    panels = [ShownPanel(1, "epsilon", "epsilon", False, seed=7)]
    result = replace(reproduction(found), panels=panels)
    assert result.share_at_seed == 0.5
    report = ReproductionReport(result)
    assert report.title == "paper/figure, full; the published seed and 2 seeds"
    assert report.lines == [
        "panel 1 (epsilon), published seed 7: 1 of 2 readable points within 0.02; largest difference -0.020 in "
        "accuracy at 0.2",
        "panel 1 (epsilon): 2 of 3 readable points inside; largest difference +0.225 in accuracy at 0.4",
    ]
    assert "1 of 2 readable published points within 0.02 at the published seed. 2 of 3" in compared_with_published(
        result
    )


def test_the_published_seed_can_be_run_alone() -> None:
    points = list(FIGURE.points(panels=[1]))
    found = point_rows(FIGURE, points, [()] * 4, {(1, 0): {"ours_max": 0.81}}, has_own=False)
    assert [(row.n_seeds, row.verdict, row.quantile) for row in found] == [(0, "not run", None)] * 4
    panels = [ShownPanel(1, "epsilon", "epsilon", False, seed=0)]
    report = ReproductionReport(replace(reproduction(found, seeds=[]), panels=panels))
    assert report.title == "paper/figure, full; the published seed"
    assert len(report.lines) == 1
    assert "n_seeds" in report.markdown
    assert "quantile" not in report.markdown


def reproduction(found: list[PointRow], **more: Any) -> Reproduction:
    panels = [ShownPanel(1, "epsilon", "epsilon", False), ShownPanel(2, "epsilon", "epsilon", True)]
    shown = [panel for panel in panels if any(row.panel == panel.number for row in found)]
    given: dict[str, Any] = {"scale": "full", "smaller": "", "seeds": [0, 1], **more}
    return Reproduction("paper/figure", "What it shows.", key="k" * 64, panels=shown, rows=found, **given)


def test_what_it_says(tmp_path: Path) -> None:
    found = reproduction(
        rows(FIGURE, {0.1: [0.8, 0.8], 0.2: [0.7, 0.7], 0.3: [0.5], 0.4: [0.6], 0.5: [0.1]}),
        controls=[
            ControlsOfWay("", {"permuted_control": {"mean": 0.5, "std": 0.1, "median": 0.5, "values": [0.4, 0.6]}})
        ],
        failed=[FailedRun(1, 0.3, "", 1, "training diverged")],
    )
    text = str(found)
    assert text.splitlines()[0] == "paper/figure, full; 2 seeds"
    assert "panel 1 (epsilon): 2 of 3 readable points inside; largest difference -0.200 in accuracy at 0.2" in text
    assert "panel 2 (epsilon): no published values" in text
    assert "within 0.05 of our mean or, with 2 seeds or more, within 2 standard deviations of it" in text
    assert "Default setting: permuted_control 0.500 ± 0.100." in text
    assert (
        "1 run failed; run the same command with --retry to repeat them:\n  panel 1, 0.3, seed 1: training diverged"
        in text
    )


def test_files(tmp_path: Path) -> None:
    found = reproduction(rows(FIGURE, {0.1: [0.8, 0.9], 0.2: [0.7], 0.4: [0.607], 0.5: [0.0001]}))
    folder = tmp_path / "found"
    written = found.write(ArtefactStore(tmp_path / ".store"), folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "figure.png", "result.json", "table.csv", "table.md", "table.tex",
    ]  # fmt: skip
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == [
        "figure", "panel", "x", "measure", "published", "at_seed", "seed_difference", "seed_verdict", "mean", "std",
        "low", "high", "n_seeds", "quantile", "difference", "verdict", "n_samples", "input_dim", "n_heldout",
    ]  # fmt: skip
    assert len(table) == 5
    assert float(table[0]["mean"]) == pytest.approx(0.85)
    assert table[2]["mean"] == table[2]["published"] == ""
    assert table[2]["verdict"] == "failed"
    markdown = (folder / "table.md").read_text(encoding="utf-8")
    assert markdown.startswith("# paper/figure, full; 2 seeds\n\nWhat it shows.\n")
    assert "| panel | x | measure | published | mean | std | n_seeds | quantile | difference | verdict |" in markdown
    assert "| 1 | 0.2 | accuracy | 0.9 | 0.7 |  | 1 | 1 | -0.2 | outside |" in markdown
    assert "| 0.4 | accuracy | 0.6 | 0.607 |  | 1 | 0 | 0.007 | inside our spread |" in markdown
    assert "| 2 | 0.5 | accuracy |  | 0.0001 |  | 1 |" in markdown
    assert Reproduction.load(folder).to_dict() == written.to_dict()
    assert written.folder == folder
    # Written again, it takes the old one's place.
    assert found.write(ArtefactStore(tmp_path / ".store"), folder).to_dict() == written.to_dict()


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="name the folder of a finished figure"):
        Reproduction.load(tmp_path)
    (tmp_path / "result.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match="is damaged"):
        Reproduction.load(tmp_path)
    (tmp_path / "result.json").write_text('{"schema": 99}', encoding="utf-8")
    with pytest.raises(StoreError, match="newer version"):
        Reproduction.load(tmp_path)
