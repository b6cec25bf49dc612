"""Means over seeds, and g against its controls, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import binomtest
from tests.measured import class_measures, seed_measures

from perturblearn.experiment import (
    HELDOUT,
    TRAINING,
    SeedMeasures,
    chance_of,
    controls_of,
    summarise,
    summarise_seeds,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("values", "mean", "std", "median"),
    [
        ([1.0, 2.0, 6.0], 3.0, math.sqrt(7), 2.0),  # (4 + 1 + 9) / 2
        ([2.0, None, 4.0], 3.0, math.sqrt(2), 3.0),
        ([5.0], 5.0, None, 5.0),
        ([None, 5.0], 5.0, None, 5.0),
        ([None], None, None, None),
        ([], None, None, None),
        ([0.25, 0.25], 0.25, 0.0, 0.25),
    ],
)
def test_summarise(values: list[float | None], mean: Any, std: Any, median: Any) -> None:
    found = summarise(values)
    assert found["values"] == values
    assert (found["mean"], found["median"]) == (mean, median)
    assert found["std"] == (None if std is None else pytest.approx(std, rel=1e-15))


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (0, 72), (36, 72), (71, 72), (72, 72), (954, 1000)])
def test_the_sampling_interval_is_wilson_s(hits: int, count: int) -> None:
    theirs = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson_interval(hits / count, count) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_shares_of_the_heldout_inputs_have_an_interval_however_many_seeds() -> None:
    one, two = (summarise_seeds([seed_of(0.5, 0.75, [0.5], [0.25]) for _ in range(count)]) for count in (1, 2))
    assert {name for name, values in two.items() if "interval" in values} == {
        "perturbation_accuracy_heldout", "permuted_control_heldout",
    }  # fmt: skip
    # Both classes of a made seed have 50 held-out inputs.
    assert two[HELDOUT.perturbation].get("interval") == list(wilson_interval(0.75, 100))
    assert one[HELDOUT.perturbation].get("interval") == two[HELDOUT.perturbation].get("interval")


def seed_of(
    reached: float, heldout: float, draws: list[float], heldout_draws: list[float], **more: float
) -> SeedMeasures:
    measures = {"perturbation_accuracy": reached, "perturbation_accuracy_heldout": heldout, "attack_success": None}
    return seed_measures({**measures, **more}, {"permuted": (draws, heldout_draws)})


def test_several_seeds() -> None:
    summary = summarise_seeds([seed_of(0.9, 0.6, [0.4, 0.9], [0.5, 0.7]), seed_of(0.7, 0.8, [0.6, 0.8], [0.5, 0.7])])
    assert summary["perturbation_accuracy"]["mean"] == pytest.approx(0.8)
    assert summary["perturbation_accuracy"]["values"] == [0.9, 0.7]
    assert summary["attack_success"] == {"mean": None, "std": None, "median": None, "values": [None, None]}
    control = controls_of(summary, TRAINING)["permuted"]
    assert control["values"] == [0.4, 0.9, 0.6, 0.8]
    assert control["draws_per_seed"] == 2
    assert control["mean"] == pytest.approx(0.675)
    # Each draw against g of its own seed: 0.4 < 0.9, 0.9 is not below 0.9, 0.6 < 0.7, 0.8 is not.
    assert control["beaten"] == 0.5
    # Over draws: deviations -0.275, 0.225, -0.075, 0.125, squares sum to 0.1475; std sqrt(0.1475 / 3), over sqrt(4).
    # Over seeds: means 0.65 and 0.7, std 0.05 / sqrt(2), over sqrt(2): 0.025. The larger counts.
    error = math.sqrt(0.1475 / 3) / 2
    assert control["standard_error"] == pytest.approx(error, rel=1e-14)
    assert control["at_chance"]  # 0.675 is 0.175 from one half, and three errors are 0.33
    heldout = controls_of(summary)["permuted"]
    # 0.5 < 0.6, 0.7 not; 0.5 < 0.8, 0.7 < 0.8.
    assert heldout["beaten"] == 0.75


def test_draws_that_lean_together_are_counted_by_seed() -> None:
    summary = summarise_seeds([seed_of(1, 1, [0.3] * 8, [0.3] * 8), seed_of(1, 1, [0.6] * 8, [0.6] * 8)])
    control = controls_of(summary, TRAINING)["permuted"]
    # Over 16 draws 0.15 * sqrt(16/15) / 4 = 0.039; over the two means, 0.3 / sqrt(2) / sqrt(2) = 0.15.
    assert control["standard_error"] == pytest.approx(0.15, rel=1e-14)
    assert control["at_chance"]


@pytest.mark.parametrize(
    ("draws", "error", "at_chance"),
    [
        ([0.7], None, None),  # nothing to take it of
        ([0.5, 0.7], 0.1, True),  # 0.2 / sqrt(2) / sqrt(2); mean 0.6, off by 0.1
        ([0.69, 0.71], 0.01, False),
        ([0.31, 0.29], 0.01, False),  # below chance is not at chance
        ([0.5, 0.5], 0.0, True),
        ([0.6, 0.6], 0.0, False),
    ],
)
def test_one_seed(draws: list[float], error: float | None, at_chance: bool | None) -> None:
    summary = summarise_seeds([seed_of(0.9, 0.9, draws, draws)])
    assert summary["perturbation_accuracy"]["std"] is None
    for part in (TRAINING, HELDOUT):
        control = controls_of(summary, part)["permuted"]
        assert control["standard_error"] == (None if error is None else pytest.approx(error, rel=1e-13))
        assert control["at_chance"] is at_chance
        assert control["beaten"] == 1.0


def test_without_controls() -> None:
    seed = seed_measures({"agreement": 0.5})
    assert list(summarise_seeds([seed, seed])) == ["agreement"]


def test_chance_of_many_classes() -> None:
    seeds = [seed_of(0.5, 0.5, [0.08, 0.12], [0.3, 0.31]), seed_of(0.5, 0.5, [0.09, 0.11], [0.29, 0.3])]
    seeds = [replace(seed, classes=class_measures("abcdefghij")) for seed in seeds]
    assert chance_of(seeds) == 0.1
    summary = summarise_seeds(seeds)
    assert controls_of(summary, TRAINING)["permuted"]["at_chance"]
    assert not controls_of(summary)["permuted"]["at_chance"]


def test_controls_of_mixed_sets_have_no_chance_to_be_at() -> None:
    seeds = [seed_of(0.9, 0.9, [0.8, 0.82], [0.5, 0.5]), seed_of(0.9, 0.9, [0.81, 0.79], [0.5, 0.5])]
    alone, mixed = summarise_seeds(seeds), summarise_seeds(seeds, mixed=True)
    for part in (TRAINING, HELDOUT):
        control = controls_of(alone, part)["permuted"]
        assert control["at_chance"] is part.is_heldout
        assert controls_of(mixed, part)["permuted"] == {**control, "at_chance": None}
    assert mixed["perturbation_accuracy"] == alone["perturbation_accuracy"]


def test_a_worst_group_is_summed_up_as_any_measure() -> None:
    seeds = [seed_of(0.9, 0.9, [0.5], [0.5], perturbation_accuracy_worst_group=worst) for worst in (0.2, 0.4)]
    summary = summarise_seeds(seeds)
    assert summary["perturbation_accuracy_worst_group"]["mean"] == pytest.approx(0.3)
