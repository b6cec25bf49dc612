from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.made_sweeps import GRID, HOSTILE, G, made_sweep

from perturblearn.config import resolve_sweep
from perturblearn.pages.page import visible
from perturblearn.pages.sweep_page import (
    sweep_answer,
    sweep_data,
    sweep_page,
    sweep_question,
    sweep_remarks,
)
from perturblearn.results import Spread, SweepResult

ZIPPED = {"standard.model.hidden_dim": [8, 16, 32], "perturbation.model.hidden_dim": [10, 20, 30]}
RANDOM = {
    "draws": 15,
    "standard.model.slope": {"low": 0.01, "high": 0.9, "scale": "log"},
    "attack.epsilon": {"low": 0.1, "high": 1.0},
}


def runs_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs that a page's columns tell of, put together as plainly as can be."""
    found = []
    for run, point in enumerate(data["point"]):
        row = {"point": point + 1, "key": data["run_key"][run]}
        for key in data["keys"]:
            level = key["at"][run if key["name"] == "seed" else point]
            row[key["name"]] = key["levels"][level]
        row["error"] = None if data["error"][run] is None else data["errors"][data["error"][run]]
        found.append(row | {measure["name"]: measure["values"][run] for measure in data["measures"]})
    return found


def key_named(data: dict[str, Any], name: str) -> dict[str, Any]:
    return next(key for key in data["keys"] if key["name"] == name)


def percents(sweep: SweepResult, point: int, measure: str = G) -> str:
    """Mean and deviation of a point's runs by numpy, in percent as a sentence has them."""
    values = np.array([run.numbers[measure] for run in sweep.runs if run.point == point and run.error is None])
    spread = f" ± {100 * values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread}"


def means(sweep: SweepResult, measure: str = G) -> dict[int, float]:
    """By point, the mean of its finished runs by numpy."""
    numbers = sorted({run.point for run in sweep.runs if run.error is None})
    return {
        number: float(
            np.mean([run.numbers[measure] for run in sweep.runs if run.point == number and run.error is None])
        )
        for number in numbers
    }


@pytest.mark.parametrize(
    "section",
    [{"grid": GRID}, {"zip": ZIPPED}, {"random": RANDOM}, {"grid": {"attack.epsilon": [0.5]}, "zip": ZIPPED}],
    ids=["grid", "zip", "random", "mixed"],
)
def test_the_columns_hold_every_run_with_every_number(tmp_path: Path, section: dict[str, Any]) -> None:
    sweep = made_sweep(tmp_path, failing=lambda point, seed: "it broke" if (point + seed) % 5 == 0 else None, **section)
    data = json.loads(json.dumps(sweep_data(sweep), allow_nan=False))
    found = runs_of(data)
    assert len(found) == len(sweep.runs)
    for row, run in zip(found, sweep.runs, strict=True):
        assert {name: value for name, value in row.items() if value is not None} == {
            name: value for name, value in run.row.items() if value is not None
        }
    assert data["shown"] == [
        "standard_accuracy_heldout", G, "agreement", "unperturbed_control_heldout", "permuted_control_heldout",
    ]  # fmt: skip


def test_values_of_every_kind_have_an_order_a_text_and_a_place(tmp_path: Path) -> None:
    grid = {
        "attack.epsilon": [4.0, 0.25, 1],
        "standard.lr": [[0.1, 0.01], 0.5],
        "data.centre": [True, False],
    }
    data = sweep_data(made_sweep(tmp_path, grid=grid))
    epsilon, rates, centre, seed = data["keys"]
    assert (epsilon["numeric"], epsilon["levels"], epsilon["texts"]) == (True, [0.25, 1, 4.0], ["0.25", "1", "4"])
    assert (rates["numeric"], rates["levels"]) == (False, ["[0.1, 0.01]", 0.5])
    assert rates["texts"] == ["[0.1, 0.01]", "0.5"]
    assert (centre["numeric"], centre["texts"]) == (False, ["true", "false"])
    assert (seed["name"], seed["kind"], seed["levels"]) == ("seed", "seeds", [0, 1, 2])
    assert [key["axis"] for key in data["keys"]] == [0, 1, 2, -1]


def test_numbers_that_look_alike_are_told_apart(tmp_path: Path) -> None:
    data = sweep_data(made_sweep(tmp_path, grid={"attack.epsilon": [0.12345678, 0.12345679]}))
    assert data["keys"][0]["texts"] == ["0.12345678", "0.12345679"]


def test_keys_that_vary_together_are_known_as_such(tmp_path: Path) -> None:
    data = sweep_data(made_sweep(tmp_path, zip=ZIPPED, grid={"attack.source": ["natural", "none"]}))
    assert {key["name"]: key["axis"] for key in data["keys"]} == {
        "attack.source": 0, "standard.model.hidden_dim": 1, "perturbation.model.hidden_dim": 1, "seed": -1,
    }  # fmt: skip
    assert [key["label"] for key in data["keys"]][1:3] == ["standard.model.hidden_dim", "perturbation.model.hidden_dim"]


def test_seeds_on_an_axis_are_one_key_only(tmp_path: Path) -> None:
    data = sweep_data(made_sweep(tmp_path, seeds=None, zip={"seeds": [5, 4], "attack.epsilon": [0.1, 0.2]}))
    assert [key["name"] for key in data["keys"]] == ["attack.epsilon", "seed"]
    assert [(key["axis"], key["kind"]) for key in data["keys"]] == [(0, "zip"), (0, "zip")]
    assert [row["seed"] for row in runs_of(data)] == [5, 4]


@pytest.mark.parametrize(
    ("section", "x", "colour", "log"),
    [
        ({"grid": GRID}, "attack.epsilon", "attack.source", True),
        ({"grid": {"attack.epsilon": [0.1, 0.2]}}, "attack.epsilon", None, False),
        ({"grid": {"attack.epsilon": [0, 2.0]}}, "attack.epsilon", None, False),
        ({"zip": ZIPPED}, "standard.model.hidden_dim", None, False),
        ({"zip": ZIPPED, "grid": {"attack.epsilon": [0.1, 0.2]}}, "attack.epsilon", "standard.model.hidden_dim", False),
        ({"random": RANDOM}, "standard.model.slope", None, True),
        ({"grid": {"attack.source": ["natural", "none"]}}, "attack.source", None, False),
        ({"grid": {"attack.source": ["natural"]}}, "seed", None, False),
        ({"grid": {"data.n_samples": list(range(10, 23)), "attack.epsilon": [0.1, 0.2]}},
         "data.n_samples", "attack.epsilon", False),
        ({"grid": {"attack.epsilon": [0.1, 0.2], "data.n_samples": list(range(10, 23))}},
         "attack.epsilon", None, False),
    ],
)  # fmt: skip
def test_what_is_drawn_at_first(tmp_path: Path, section: dict[str, Any], x: str, colour: str | None, log: bool) -> None:
    start = sweep_data(made_sweep(tmp_path, **section))["start"]
    assert start == {"x": x, "y": G, "colour": colour, "log": log}


def test_controls_stand_beside_accuracies_measured_where_they_are(tmp_path: Path) -> None:
    measures = {each["name"]: each["controls"] for each in sweep_data(made_sweep(tmp_path, grid=GRID))["measures"]}
    assert measures[G] == ["unperturbed_control_heldout", "permuted_control_heldout"]
    assert measures["standard_accuracy_heldout"] == measures[G]
    assert measures["agreement"] == measures["perturbed_loss"] == measures["permuted_control"] == []
    without = sweep_data(made_sweep(tmp_path / "other", grid=GRID, has_controls=False))["measures"]
    assert [each["controls"] for each in without] == [[]] * len(without)


def test_the_answer_names_the_best_and_the_worst_point_and_their_controls(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path, grid=GRID, failing=lambda point, seed: "it broke" if point == seed else None)
    of_g = means(sweep)
    best, worst = max(of_g, key=of_g.__getitem__), min(of_g, key=of_g.__getitem__)
    controls = [means(sweep, f"{name}_control_heldout") for name in ("unperturbed", "permuted")]
    above = sum(all(of_g[point] > control[point] for control in controls) for point in of_g)
    assert above > 0
    place = {
        point.number: f"epsilon = {point.values['attack.epsilon']}, source = '{point.values['attack.source']}'"
        for point in sweep.table
    }
    assert sweep_answer(sweep) == (
        f"g classifies between {percents(sweep, worst)} % ({place[worst]}) and {percents(sweep, best)} % "
        f"({place[best]}) of clean held-out inputs correctly; the largest of 12 means is partly luck "
        "(3 of 36 runs failed and are left out). At the best point "
        f"the unperturbed control reaches {percents(sweep, best, 'unperturbed_control_heldout')} % and "
        f"the permuted control reaches {percents(sweep, best, 'permuted_control_heldout')} %; "
        f"g's mean is above those of both controls at {above} of 12 points."
    )
    assert sweep_question(sweep) == (
        "How does g's accuracy on clean held-out inputs depend on attack.epsilon and attack.source? 12 points, 3 runs "
        "each: 36 runs."
    )
    assert sweep_remarks(sweep) == []


def test_points_that_are_equally_good_are_counted(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path, grid={"attack.epsilon": [0.1, 0.2, 0.3]}, has_controls=False)
    means_of = zip(sweep.table, (0.5, 0.75, 0.75), strict=True)
    table = [replace(point, measures={G: Spread(mean, None)}) for point, mean in means_of]
    assert sweep_answer(replace(sweep, table=table)).startswith(
        "g classifies between 50.0 % (epsilon = 0.1) and 75.0 % (epsilon = 0.2, and 1 point more) of clean held-out"
    )
    table = [replace(point, measures={G: Spread(0.5, None)}) for point in table]
    assert sweep_answer(replace(sweep, table=table)).startswith(
        "g classifies 50.0 % of clean held-out inputs correctly at each of 3 points. Without controls"
    )


def test_a_sweep_of_one_point(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path, grid={"attack.epsilon": [0.5]})
    assert sweep_answer(sweep) == (
        f"g classifies {percents(sweep, 1)} % of clean held-out inputs correctly at epsilon = 0.5, the mean of 3 runs. "
        f"There the unperturbed control reaches {percents(sweep, 1, 'unperturbed_control_heldout')} % and the permuted "
        f"control reaches {percents(sweep, 1, 'permuted_control_heldout')} %."
    )
    only_seeds = made_sweep(tmp_path / "seeds", seeds=None, grid={"seeds": [3, 4]}, has_controls=False)
    assert sweep_question(only_seeds) == (
        "How much does g's accuracy on clean held-out inputs vary from seed to seed? 2 runs."
    )
    assert sweep_answer(only_seeds) == (
        f"g classifies {percents(only_seeds, 1)} % of clean held-out inputs correctly, the mean of 2 runs. Without "
        "controls, nothing shows how much of that comes from the perturbations."
    )


def test_keys_that_a_point_does_not_set_are_left_out_of_sentences(tmp_path: Path) -> None:
    axes = {"attack.epsilon": [0.1, 0.2, 0.3], "attack.name": ["", "pgd", "pgd"], "attack.away": ["", "", True]}
    sweep = made_sweep(tmp_path, zip=axes, has_controls=False)
    table = [
        replace(point, measures={G: Spread(mean, None)}) for point, mean in zip(sweep.table, (0, 0.5, 1), strict=True)
    ]
    assert sweep_answer(replace(sweep, table=table)).startswith(
        "g classifies between 0.0 % (epsilon = 0.1) and 100.0 % (epsilon = 0.3, name = 'pgd', away = true) of clean"
    )
    unset = made_sweep(tmp_path / "one", grid={"data.n_samples": [""], "data.n_heldout": [""]}, has_controls=False)
    assert "correctly at n_samples and n_heldout unset, the mean of 3 runs" in sweep_answer(unset)


def test_one_seed_has_no_spread_and_is_told(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path, seeds=1, grid=GRID, failing=lambda point, seed: "it broke" if point == 4 else None)
    assert " ± " not in sweep_answer(sweep)
    assert sweep_remarks(sweep) == [
        "There is one run per point, so the spread over seeds is unknown.",
        "No run has finished at 1 point.",
    ]
    assert "12 points, one run each: 12 runs." in sweep_question(sweep)


def test_a_sweep_that_failed_throughout_has_its_page(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path, grid=GRID, failing=lambda point, seed: f"it broke at epoch {seed}")
    assert sweep_answer(sweep) == "Nothing was measured: 36 of 36 runs failed."
    assert sweep_data(sweep)["measures"] == []
    page = sweep_page(sweep)
    assert "No run has finished, so there is nothing to draw." in page
    assert 'id="sweep-chart"' not in page
    assert "it broke at epoch 2" in page


def test_errors_are_listed_most_frequent_first_and_counted_beyond(tmp_path: Path) -> None:
    sweep = made_sweep(
        tmp_path, grid=GRID, failing=lambda point, seed: "often" if seed == 1 else f"rare\n {point}-{seed}"
    )
    page = sweep_page(sweep)
    rows = re.findall(
        r'<th scope="row"><bdi>(\d+)</bdi></th>\s*<td><bdi>(.*?)</bdi></td>\s*<td class="text"><bdi>', page
    )
    assert rows[0] == ("12", "attack.epsilon = 0.1, attack.source = &#39;natural&#39;, seed = 1")
    assert [count for count, _ in rows] == ["12"] + ["1"] * 19
    assert "The 20 most frequent messages; 5 more are in the table of runs." in page
    assert "rare 0-0" in page


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    sweep = made_sweep(
        tmp_path,
        grid={"attack.epsilon": [0.1, 0.2], "data.name": [f"folder:{HOSTILE}", "folder:@g"]},
        failing=lambda point, seed: f"broke: {HOSTILE}" if seed == 0 else None,
    )
    page = sweep_page(sweep)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    content = re.search(r'<script type="application/json" id="sweep-data">(.*?)</script>', page, re.DOTALL)
    assert content is not None
    data = json.loads(content[1])
    assert key_named(data, "data.name")["levels"] == [visible(f"folder:{HOSTILE}"), "folder:@g"]
    assert data["errors"] == [visible(f"broke: {HOSTILE}")]


def test_the_page_tells_how_to_make_it_again(tmp_path: Path) -> None:
    sweep = made_sweep(tmp_path / "my results", zip=ZIPPED, grid=GRID)
    page = sweep_page(sweep)
    parts = {name: html.unescape(re.findall(f'<pre id="{name}"[^>]*>(.*?)</pre>', page, re.DOTALL)[0])
             for name in ("command", "config")}  # fmt: skip
    assert parts["command"] == f"perturblearn sweep '{tmp_path / 'my results' / 'made-abababab' / 'sweep.toml'}'"
    path = tmp_path / "again.toml"
    path.write_text(parts["config"])
    assert resolve_sweep(path).points() == sweep.sweep.points()
    assert sweep.key in page
    for name, version in sweep.versions.items():
        assert f"{name} {version}" in page
