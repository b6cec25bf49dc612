"""A run's charts as values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.report.cells import cell

from perturblearn import Result
from perturblearn.experiment import chance_of
from perturblearn.report import RunReport
from perturblearn.report.charts import Level
from perturblearn.report.charts.marks import Curve, Heat, Strip
from perturblearn.report.charts.palette import G
from perturblearn.report.charts.run import accuracies_chart, confusion_chart, losses_chart, rates_chart, run_picture

SHOWN = ("standard_accuracy", "perturbation_accuracy", "agreement", "unperturbed_control", "permuted_control")


def test_the_accuracies_are_all_seeds_and_draws(tiny_result: Result) -> None:
    chart = accuracies_chart(tiny_result)
    strips = [mark for mark in chart.marks if isinstance(mark, Strip)]
    assert not RunReport(tiny_result).told_part.is_heldout, "such few samples teach nothing beyond themselves"
    for strip, name in zip(strips, SHOWN, strict=True):
        values = tiny_result.summary[name]
        assert strip.values == values["values"]
        assert (strip.mean, strip.std) == (values["mean"], values["std"])
    assert [strip.look.colour for strip in strips] == ["f", "g", "agreement", "control", "control"]
    assert chart.y.ticks is not None
    first = tiny_result.summary[SHOWN[0]]
    words = f"f, accuracy\n{100 * first['mean']:.1f} ± {100 * first['std']:.1f} %"
    assert chart.y.ticks[0].replace("\u00a0", " ") == words
    (chance,) = chart.references
    assert isinstance(chance, Level)
    assert (chance.name, chance.value, chance.axis) == ("chance", chance_of(tiny_result.seeds), "x")


def test_a_picture_stands_alone(tiny_result: Result) -> None:
    picture = run_picture(tiny_result)
    assert "2 seeds, 30 held-out inputs each." in picture.caption
    assert "± one standard deviation" in picture.caption
    assert "tiny: gauss" in picture.title
    assert picture.charts[0].x.label == "share of the clean samples of f (agreement: held-out)"


def test_what_generalises_is_told_of_held_out_inputs() -> None:
    chart = accuracies_chart(cell([0.5, 0.7], linear=[0.2, 0.3]))
    g = next(mark for mark in chart.marks if isinstance(mark, Strip) and mark.name == "g, accuracy")
    assert g.values == [0.5, 0.7]
    assert chart.x.label == "share of clean held-out inputs"


def test_equal_values_stay_visible() -> None:
    strip = Strip("g", 2.0, [0.5, 0.5], 0.5, 0.0, G)
    assert strip.dots == [(0.5, pytest.approx(1.89)), (0.5, pytest.approx(2.11))]


def test_a_curve_keeps_its_ends_and_its_start() -> None:
    losses = torch.linspace(1, 0, 100_000, dtype=torch.float64)
    chart = losses_chart([(3, "g", losses), (3, "f", torch.tensor([0.5, 0.25]))])
    long, short = chart.marks
    assert isinstance(long, Curve)
    assert isinstance(short, Curve)
    assert len(long.x) <= 400
    assert (long.x[0], long.x[-1]) == (1, 100_000)
    assert list(long.x[:5]) == [1, 2, 3, 4, 5]
    assert list(long.y) == losses[torch.tensor(long.x).long() - 1].tolist()
    assert (long.look.colour, short.look.colour) == ("g", "f")
    assert list(short.y) == [0.5, 0.25]
    assert chart.note.endswith("; 1 seed.")


def test_the_confusion_is_in_shares_of_each_true_class(tiny_result: Result) -> None:
    counts = ([[3, 1, 0], [0, 2, 0], [0, 0, 0]], [[1, 3, 0], [2, 0, 0], [0, 0, 0]])
    seeds = [
        replace(seed, classes=replace(seed.classes, names=("a", "b", "c"), n_heldout=(4, 2, 0), confusion=of_seed))
        for seed, of_seed in zip(tiny_result.seeds, counts, strict=True)
    ]
    chart = confusion_chart(replace(tiny_result, seeds=seeds))
    (heat,) = chart.marks
    assert isinstance(heat, Heat)
    assert heat.means.tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0]]
    assert heat.texts[0] == ["50", "50", "0"]
    assert chart.y.limits == (2.5, -0.5), "the first class is on top"
    assert chart.x.ticks == {0.0: "a", 1.0: "b", 2.0: "c"}
    assert "6 held-out inputs each" in chart.note


def test_every_pair_of_learning_rates_has_its_mean(tiny_result: Result) -> None:
    chart = rates_chart(tiny_result)
    (heat,) = chart.marks
    assert isinstance(heat, Heat)
    assert list(heat.columns) == ["0.5", "0.1"]
    for column, rate in enumerate((0.5, 0.1)):
        found = [
            pair.measures["perturbation_accuracy_heldout"]
            for seed in tiny_result.seeds
            for pair in seed.grid
            if pair.perturbation_lr == rate
        ]
        assert float(heat.means[0][column]) == pytest.approx(sum(found) / len(found))
