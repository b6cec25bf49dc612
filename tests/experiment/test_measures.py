"""Measures by hand, on networks simple enough to see through."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perturblearn.classifiers import Classifier, Network, TwoLayer
from perturblearn.config import NetworkConfig
from perturblearn.data import Dataset, Signature
from perturblearn.experiment import (
    MEASURES,
    ControlAccuracies,
    PerturbationCase,
    PerturbationMeasure,
    SeedMeasures,
    accuracy,
    agreement,
    measure_perturbation,
    measure_standard,
)
from perturblearn.perturbed import PerturbedSet


def linear(*coefficients: float) -> Classifier:
    """f(x) = c . x, as relu(c . x) - relu(-c . x)."""
    weight = torch.tensor([coefficients, [-c for c in coefficients]])
    return Classifier(TwoLayer(weight, torch.tensor([1.0, -1.0]), None, 0.0))


@pytest.mark.parametrize(
    ("outputs", "labels", "expected"),
    [
        ([1.0, -2.0, 3.0, -4.0], [1, -1, -1, -1], 0.75),
        ([0.0, 0.0, -0.0], [1, -1, 1], 0.0),  # exactly 0 is wrong
        ([1e-38, -1e-38], [1, -1], 1.0),
        ([1.0], [-1], 0.0),
    ],
)
def test_accuracy(outputs: list[float], labels: list[int], expected: float) -> None:
    assert accuracy(torch.tensor(outputs), torch.tensor(labels)) == expected
    assert accuracy(torch.tensor(outputs, dtype=torch.float64), torch.tensor(labels)) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, -2.0, 3.0], [5.0, -0.1, -3.0], 2 / 3),
        ([0.0, 1.0, 0.0], [1.0, 0.0, 0.0], 1 / 3),  # 0 has a sign of its own
        ([1e-38, -1e-38], [-1.0, 1.0], 0.0),
    ],
)
def test_agreement(first: list[float], second: list[float], expected: float) -> None:
    assert agreement(torch.tensor(first), torch.tensor(second)) == expected
    assert agreement(torch.tensor(second), torch.tensor(first)) == expected


DATA = Dataset(
    inputs=torch.tensor([[1.0, 1.0], [2.0, -1.0], [-1.0, -1.0], [-2.0, 1.0]]),
    labels=torch.tensor([1, 1, -1, 1]),
    heldout_inputs=torch.tensor([[3.0, 1.0], [3.0, -1.0], [0.0, 1.0], [-1.0, -1.0], [-1.0, 2.0]]),
    heldout_labels=torch.tensor([1, 1, 1, -1, -1]),
    value_range=(-math.inf, math.inf),
    class_names=("+1", "-1"),
)


def perturbed(inputs: list[list[float]], targets: list[int]) -> PerturbedSet:
    labels = torch.tensor(targets)
    hits = torch.tensor([True] + [False] * (len(targets) - 1))
    redirected = torch.ones(len(targets), dtype=torch.bool)
    return PerturbedSet(
        torch.tensor(inputs), labels, None, torch.arange(len(labels)), hits, redirected, "gauss", "l2", 1.0, "hash", 0
    )


def measured_of(
    g: Classifier, f: Classifier, data: Dataset, seen: PerturbedSet, heldout: PerturbedSet, loss: str
) -> dict[str, Any]:
    return measure_perturbation(PerturbationCase(f, data, g, seen, heldout, loss)).to_dict()


def test_measures_of_f() -> None:
    # f = x_0: right on 3 of 4; held out on 1, 1, not on the 0, right on -1 and -1.
    assert measure_standard(linear(1.0, 0.0), DATA) == {"standard_accuracy": 0.75, "standard_accuracy_heldout": 0.8}


@pytest.mark.parametrize("loss", ["identity", "logistic", "exponential"])
def test_measures_of_g(loss: str) -> None:
    seen = perturbed([[0.0, 1.0], [0.0, -2.0]], [1, 1])
    heldout = perturbed([[0.0, 0.5], [9.0, 3.0], [9.0, 0.0]], [-1, 1, -1])
    measured = measured_of(linear(0.0, 1.0), linear(1.0, 0.0), DATA, seen, heldout, loss)
    classes = measured.pop("classes")
    value = {
        "identity": lambda s: -s,
        "logistic": lambda s: math.log1p(math.exp(-s)),
        "exponential": lambda s: math.exp(-s),
    }
    # g = x_1: margins 1, -2 on what it saw, -0.5, 3, 0 on the held-out set.
    expected = {
        "perturbation_accuracy": 0.75,  # right, wrong, right, right
        "perturbation_accuracy_heldout": 0.6,  # right, wrong, right, right, wrong
        "agreement": 0.4,  # signs of f: + + 0 - -, of g: + - + - +
        "positive_share": 0.6,
        "attack_success": 0.5,
        "perturbed_loss": (value[loss](1) + value[loss](-2)) / 2,
        "perturbed_loss_heldout": (value[loss](-0.5) + value[loss](3) + value[loss](0)) / 3,
    }
    # The outputs are exact in float32; a few roundings in float64 follow.
    assert measured == pytest.approx(expected, rel=8 * 2**-52)
    assert set(measured) <= set(MEASURES)
    # Held out: three of +1, two of -1; f says + + 0 - -, g says + - + - +. Both targets are +1, one is reached.
    assert classes == {
        "names": ["+1", "-1"],
        "n_heldout": [3, 2],
        "standard_accuracy": [2 / 3, 1.0],
        "perturbation_accuracy": [2 / 3, 0.5],
        "agreement": [1 / 3, 0.5],
        "attack_success": [0.5, None],
        "confusion": [[2, 1], [1, 1]],
    }


def grouped(groups: list[int], names: tuple[str, ...]) -> Dataset:
    return replace(
        DATA, groups=torch.zeros(4, dtype=torch.int64), heldout_groups=torch.tensor(groups), group_names=names
    )


def test_measures_of_groups() -> None:
    data = grouped([0, 2, 0, 2, 2], ("land", "sky", "sea"))
    seen = perturbed([[0.0, 1.0]], [1])
    measured = measured_of(linear(0.0, 1.0), linear(1.0, 0.0), data, seen, seen, "logistic")
    # f is right on all but the third input, g on the first, third and fourth; they agree on the first and fourth.
    assert measured.pop("groups") == {
        "names": ["land", "sky", "sea"],
        "n_heldout": [2, 0, 3],
        "standard_accuracy": [0.5, None, 1.0],
        "perturbation_accuracy": [1.0, None, 1 / 3],
        "agreement": [0.5, None, 1 / 3],
    }
    assert measured["perturbation_accuracy_worst_group"] == 1 / 3
    assert measure_standard(linear(1.0, 0.0), data)["standard_accuracy_worst_group"] == 0.5
    assert {*measured, "standard_accuracy_worst_group"} - {"classes"} <= set(MEASURES)


def test_groups_change_nothing_else() -> None:
    data = grouped([0, 1, 1, 0, 0], ("land", "sea"))
    seen = perturbed([[0.0, 1.0]], [1])
    plain, found = (
        measure_standard(linear(1.0, 0.0), each)
        | measured_of(linear(0.0, 1.0), linear(1.0, 0.0), each, seen, seen, "logistic")
        for each in (DATA, data)
    )
    added = {"groups", "standard_accuracy_worst_group", "perturbation_accuracy_worst_group"}
    assert {name: value for name, value in found.items() if name not in added} == plain
    assert set(found) - set(plain) == added


@pytest.mark.parametrize("groups", [[0] * 5, [1] * 5])
def test_the_worst_of_one_group_that_occurs_is_it(groups: list[int]) -> None:
    data = grouped(groups, ("land", "sea"))
    seen = perturbed([[0.0, 1.0]], [1])
    measured = measured_of(linear(0.0, 1.0), linear(1.0, 0.0), data, seen, seen, "logistic")
    assert measured["perturbation_accuracy_worst_group"] == measured["perturbation_accuracy_heldout"] == 0.6


@pytest.mark.parametrize(("clean", "size"), [([False, False], 3.0), ([False, True], 2.0), ([True, True], None)])
def test_clean_samples_have_no_size(clean: list[bool], size: float | None) -> None:
    sizes = torch.tensor([2.0, 4.0])
    sizes[clean] = 0.0
    seen = replace(perturbed([[0.0, 1.0], [0.0, 2.0]], [1, 1]), sizes=sizes, clean=torch.tensor(clean))
    measured = measured_of(linear(0.0, 1.0), linear(1.0, 0.0), DATA, seen, seen, "logistic")
    assert measured["perturbation_size"] == size


OWN = NetworkConfig(name="tests.experiment:readings")


class Readings(nn.Module):
    """Logits that are the inputs themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scale * inputs


def test_measures_of_three_classes() -> None:
    def one_hot(classes: list[int]) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor(classes), 3).float()

    data = Dataset(
        inputs=one_hot([0, 1, 2]),
        labels=torch.tensor([0, 1, 1]),
        heldout_inputs=one_hot([0, 0, 1, 2]),
        heldout_labels=torch.tensor([0, 1, 1, 1]),
        value_range=(0.0, 1.0),
        class_names=("a", "b", "c"),
    )
    signature = Signature.of(data)
    g = Classifier(Network(Readings(), signature, OWN))
    # f says b for a, c for b, a for c.
    turn = nn.Linear(3, 3, bias=False)
    turn.weight = nn.Parameter(torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    f = Classifier(Network(turn, signature, OWN))
    targets = torch.tensor([0, 1, 1, 2])
    seen = PerturbedSet(
        one_hot([0, 1, 2, 0]), targets, None, torch.arange(4), torch.tensor([True, True, False, False]),
        torch.tensor([True, False, True, True]), "gauss", "l2", 1.0, "hash", 0,
        sizes=torch.tensor([1.0, 2.0, 3.0, 2.0]),
    )  # fmt: skip
    measured = measured_of(g, f, data, seen, seen, "logistic")
    right, wrong = math.log(math.e + 2) - 1, math.log(math.e + 2)  # cross-entropies of the logits 1, 0, 0
    assert measured.pop("classes") == {
        "names": ["a", "b", "c"],
        "n_heldout": [1, 3, 0],
        "standard_accuracy": [0.0, 1 / 3, None],  # f says b b c a
        "perturbation_accuracy": [1.0, 1 / 3, None],  # g says a a b c
        "agreement": [0.0, 0.0, None],
        "attack_success": [1.0, 0.0, 0.0],
        "confusion": [[1, 0, 0], [1, 1, 1], [0, 0, 0]],
    }
    assert measured == pytest.approx(
        {
            "perturbation_accuracy": 2 / 3,
            "perturbation_accuracy_heldout": 0.5,
            "agreement": 0.0,
            "largest_share": 0.5,
            "attack_success": 1 / 3,
            "perturbation_size": 2.0,
            "perturbed_loss": (2 * right + 2 * wrong) / 4,
            "perturbed_loss_heldout": (2 * right + 2 * wrong) / 4,
        },
        rel=1e-6,  # the logits are float32
    )
    assert set(measured) <= set(MEASURES)


def test_a_loss_beyond_float32_is_measured() -> None:
    """exp(100) = 2.7e43 has no float32, and an infinite loss could be neither compared nor stored."""
    far = perturbed([[0.0, -100.0]], [1])
    measured = measured_of(linear(0.0, 1.0), linear(1.0, 0.0), DATA, far, far, "exponential")
    assert measured["perturbed_loss_heldout"] == pytest.approx(math.exp(100), rel=1e-12)


def test_a_loss_beyond_float64_is_its_largest_number() -> None:
    far = perturbed([[0.0, -1000.0]], [1])
    measured = measured_of(linear(0.0, 1.0), linear(1.0, 0.0), DATA, far, far, "exponential")
    assert measured["perturbed_loss_heldout"] == sys.float_info.max


def test_another_measure_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    own = PerturbationMeasure(
        "largest_output", "g, its largest output", lambda case: case.perturbation_outputs.max().item()
    )
    monkeypatch.setitem(MEASURES, own.name, own)
    seen = perturbed([[0.0, 1.0]], [1])
    measured = measured_of(linear(0.0, 1.0), linear(1.0, 0.0), DATA, seen, seen, "logistic")
    assert measured["largest_output"] == 2.0  # the largest second coordinate of the held-out inputs


def test_a_seed_comes_back_from_json() -> None:
    seen = perturbed([[0.0, 1.0]], [1])
    of_g = measure_perturbation(PerturbationCase(linear(1.0, 0.0), DATA, linear(0.0, 1.0), seen, seen, "logistic"))
    draws = {"permuted": ControlAccuracies((0.5, 0.25), (0.75, 0.5))}
    seed = SeedMeasures(3, 0.1, 0.2, of_g.numbers, draws, of_g.classes)
    content = json.loads(json.dumps(seed.to_dict(), allow_nan=False))
    assert content == seed.to_dict()
    assert "groups" not in content
    assert SeedMeasures.from_dict(content) == seed
    later = {**content, "new": 1, "classes": {**content["classes"], "new": [1, 2]}}
    assert SeedMeasures.from_dict(later) == seed
    with pytest.raises(KeyError, match="grid"):
        SeedMeasures.from_dict({name: value for name, value in content.items() if name != "grid"})
