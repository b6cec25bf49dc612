"""What a result says where g has seen clean samples too."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from tests.measured import seed_measures

from perturblearn import Result
from perturblearn.config import ExperimentConfig, resolve_config
from perturblearn.experiment import GroupMeasures, SeedMeasures
from perturblearn.report import title

HELPED = "compared with the same labels on unperturbed inputs, the perturbations helped."
HARMED = "compared with the same labels on unperturbed inputs, the perturbations did harm."
NOT_SHOWN = "this run does not show that the perturbations did more than the same labels on unperturbed inputs."


def config_of(share: float, **keys: Any) -> ExperimentConfig:
    return resolve_config({}, {"seeds": 2, "mixing.perturbed_share": share, "attack.targets": "other", **keys})


def seed_of(reached: float, unperturbed: list[float], permuted: list[float], *, f: float = 0.9) -> SeedMeasures:
    measures = {
        "standard_accuracy": 0.95,
        "standard_accuracy_heldout": f,
        "perturbation_accuracy": 0.99,
        "perturbation_accuracy_heldout": reached,
        "agreement": 0.8,
        "positive_share": 0.5,
        "linear_probe_heldout": 0.7,
    }
    draws = {"unperturbed": unperturbed, "permuted": permuted}
    return seed_measures(measures, {name: ([0.0] * len(of), of) for name, of in draws.items()})


def result_of(config: ExperimentConfig, *seeds: SeedMeasures) -> Result:
    return Result.of(config, "key", seeds, 1.0)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (([0.60, 0.65], [0.9, 0.9]), ([0.6, 0.69], [0.9, 0.9]), HELPED),  # whatever the permuted draws reach
        (([0.75, 0.80], [0.1, 0.1]), ([0.71, 0.9], [0.1, 0.1]), HARMED),
        (([0.60, 0.80], [0.1, 0.1]), ([0.6, 0.8], [0.1, 0.1]), NOT_SHOWN),
        (([0.60, 0.60], [0.1, 0.1]), ([0.8, 0.8], [0.1, 0.1]), NOT_SHOWN),
        (([0.70, 0.70], [0.1, 0.1]), ([0.7, 0.7], [0.1, 0.1]), NOT_SHOWN),  # equal is neither above nor below
    ],
)
def test_g_is_compared_with_such_labels_unperturbed(first: Any, second: Any, verdict: str) -> None:
    result = result_of(config_of(0.3), seed_of(0.7, *first), seed_of(0.7, *second))
    assert result.conclusion.startswith(
        "Trained on 30 % perturbed inputs with labels that are always wrong among clean ones with their true labels, "
        "g classifies 70.0 ± 0.0 % of clean held-out inputs correctly (f: 90.0 %). It beats "
    )
    assert result.conclusion.endswith(verdict)
    assert "came from the perturbations" not in result.conclusion


def test_nineteen_of_twenty_draws_are_enough_in_either_direction() -> None:
    for reached, others, verdict in ((0.7, 0.6, HELPED), (0.5, 0.6, HARMED)):
        enough = seed_of(reached, [others] * 19 + [reached], [0.5] * 20)
        assert result_of(config_of(0.3), enough).conclusion.endswith(verdict)
        too_few = seed_of(reached, [others] * 18 + [reached] * 2, [0.5] * 20)
        assert result_of(config_of(0.3), too_few).conclusion.endswith(NOT_SHOWN)


def test_nothing_perturbed() -> None:
    seed = seed_of(0.7, [0.6], [0.6])
    assert result_of(config_of(0), seed).conclusion == (
        "Trained on clean inputs with their true labels alone, g classifies 70.0 % of clean held-out inputs correctly "
        "(f: 90.0 %). Nothing was perturbed, so g is just a classifier of clean data."
    )
    still = result_of(config_of(0.3, **{"attack.epsilon": 0.0}), seed)
    assert still.conclusion.endswith("control draws: nothing was perturbed, so this is a control itself.")


def test_without_controls_nothing_follows() -> None:
    seed = replace(seed_of(0.7, [0.6], [0.6]), controls={})
    assert result_of(config_of(0.3), seed).conclusion.endswith(" Without controls nothing follows from that.")


def test_samples_that_g_was_told_do_not_count() -> None:
    """f is at chance on held-out data: without clean samples, g is judged by f's training set, of which it saw none."""
    seed = seed_of(0.5, [0.5], [0.5], f=0.5)
    assert "99.0 % of the clean samples of f" in result_of(config_of(1.0), seed).conclusion
    mixed = result_of(config_of(0.3), seed)
    assert "50.0 % of clean held-out inputs" in mixed.conclusion
    assert any("neither accuracy nor agreement there shows what g learned" in remark for remark in mixed.remarks)


def test_what_a_careful_reader_should_know() -> None:
    seed = seed_of(0.7, [0.8, 0.81], [0.8, 0.81])
    alone, mixed = (" ".join(result_of(config_of(share), seed, seed).remarks) for share in (1.0, 0.3))
    # The controls have seen the classes: that their mean is off chance is no warning.
    assert "is more than 3 standard errors" in alone
    assert "is more than 3 standard errors" not in mixed
    assert "mean NOT at chance" in str(result_of(config_of(1.0), seed, seed))
    assert "mean NOT at chance" not in str(result_of(config_of(0.3), seed, seed))
    told = "perturbation_accuracy counts what they were told;"
    assert told in mixed
    assert told not in alone
    assert "this much leaks without any deep feature" in alone
    assert "A linear classifier trained on the same mixed set classifies 70.0 % of the held-out inputs" in mixed
    assert "leaks" not in mixed


@pytest.mark.parametrize(
    ("share", "source", "words"),
    [
        (1.0, "natural", "ε = 1, natural sources, targets other, 2 seeds"),
        (0.3, "natural", "ε = 1, natural sources, 30 % perturbed among clean ones, targets other, 2 seeds"),
        (0.125, "gauss", "ε = 1, gauss sources, 12.5 % perturbed among clean ones, targets uniform, 2 seeds"),
        (0, "natural", "ε = 1, natural sources, 0 % perturbed among clean ones, targets other, 2 seeds"),
    ],
)
def test_the_title_says_what_was_mixed(share: float, source: str, words: str) -> None:
    targets = {} if source == "natural" else {"attack.targets": "uniform"}
    assert title(config_of(share, **{"attack.source": source, **targets})).endswith(words)


@pytest.mark.parametrize(
    ("keep", "words"), [("labels", "labels of 1 other network"), ("odds", "odds of 1 other network")]
)
def test_the_title_says_what_is_kept(keep: str, words: str) -> None:
    kept = config_of(1.0, **{"attack.name": "pgd", "attack.keep_others": 1, "attack.keep": keep})
    assert title(kept).endswith(f"targets other, {words} kept, 2 seeds")


GROUPS = GroupMeasures(
    names=("on land", "sky", "sea"),
    n_heldout=(4, 0, 12),
    standard_accuracy=(1.0, None, 0.5),
    perturbation_accuracy=(0.75, None, 0.25),
    agreement=(0.75, None, 0.5),
)
OTHER = replace(GROUPS, perturbation_accuracy=(0.25, None, 0.5))


def test_a_line_for_each_group() -> None:
    seeds = [replace(seed_of(0.7, [0.6], [0.6]), groups=groups) for groups in (GROUPS, OTHER)]
    result = result_of(config_of(1.0), *seeds)
    lines = str(result).splitlines()
    start = next(row for row, line in enumerate(lines) if line.startswith("group (held-out)"))
    assert lines[start - 1] == ""
    assert lines[start + 4] == ""
    assert [re.split(r" {2,}", line) for line in lines[start : start + 4]] == [
        ["group (held-out)", "n", "f", "g", "agreement"],
        ["on land", "4", "1.000", "0.500", "0.750"],
        ["sky", "0", "-", "-", "-"],
        ["sea", "12", "0.500", "0.375", "0.500"],
    ]
    assert len({len(line) for line in lines[start : start + 4]}) == 1
    assert [seed["groups"] for seed in result.to_dict()["seeds"]] == [GROUPS.to_dict(), OTHER.to_dict()]


def test_no_line_for_too_many_groups_and_for_none() -> None:
    seed = seed_of(0.7, [0.6], [0.6])
    assert "group" not in str(result_of(config_of(1.0), seed))
    for count, shown in ((20, True), (21, False)):
        ones = (1.0,) * count
        groups = GroupMeasures(tuple(f"g{group}" for group in range(count)), (1,) * count, ones, ones, ones)
        assert ("group (held-out)" in str(result_of(config_of(1.0), replace(seed, groups=groups)))) is shown
