"""Target labels by every rule, for two classes and for more."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from perturblearn.errors import DataError
from perturblearn.perturbed import draw_targets

CLASSES = [[1, -1], [0, 1, 2, 3, 4]]
N = 20_000


def labels_of(values: list[int], number: int = N) -> Tensor:
    return torch.tensor(values)[torch.arange(number) % len(values)]


def assert_share(hits: Tensor, share: float) -> None:
    """A share of independent draws within five binomial standard errors: chance of a false alarm 6e-7."""
    assert abs(float(hits.double().mean()) - share) < 5 * math.sqrt(share * (1 - share) / len(hits))


@pytest.mark.parametrize("values", CLASSES)
def test_uniform(values: list[int]) -> None:
    labels = labels_of(values)
    targets = draw_targets("uniform", N, values, seed=1, labels=labels)
    assert targets.dtype == torch.int64
    for value in values:
        assert_share(targets == value, 1 / len(values))
        for label in values:  # whatever the true label
            assert_share(targets[labels == label] == value, 1 / len(values))
    assert torch.equal(targets, draw_targets("uniform", N, values, seed=1))  # labels play no part
    assert not torch.equal(targets, draw_targets("uniform", N, values, seed=2))


@pytest.mark.parametrize("values", CLASSES)
def test_other(values: list[int]) -> None:
    labels = labels_of(values)
    targets = draw_targets("other", N, values, seed=1, labels=labels)
    assert not bool((targets == labels).any())
    for label in values:
        for value in set(values) - {label}:
            drawn = targets[labels == label] == value
            if len(values) == 2:
                assert bool(drawn.all())
            else:
                assert_share(drawn, 1 / (len(values) - 1))
    if len(values) > 2:
        assert not torch.equal(targets, draw_targets("other", N, values, seed=2, labels=labels))


@pytest.mark.parametrize(
    ("values", "labels", "expected"),
    [
        ([1, -1], [1, -1, -1], [-1, 1, 1]),
        ([0, 1, 2, 3, 4], [0, 1, 4, 3], [1, 2, 0, 4]),
    ],
)
def test_next(values: list[int], labels: list[int], expected: list[int]) -> None:
    for seed in (0, 1):
        assert draw_targets("next", len(labels), values, seed=seed, labels=torch.tensor(labels)).tolist() == expected


@pytest.mark.parametrize("values", CLASSES)
def test_given(values: list[int]) -> None:
    given = torch.tensor(values * 2)
    assert torch.equal(draw_targets("given", len(given), values, seed=0, given=given), given)
    # Of another number: drawn with replacement, so with the shares of what was given.
    given = torch.tensor([values[0]] * 3 + [values[-1]])
    many = draw_targets("given", N, values, seed=0, given=given)
    assert len(many) == N
    assert_share(many == values[0], 0.75)
    assert_share(many == values[-1], 0.25)
    assert not torch.equal(many, draw_targets("given", N, values, seed=1, given=given))
    assert len(draw_targets("given", 2, values, seed=0, given=given)) == 2


def test_the_label_of_the_original_is_kept() -> None:
    labels = labels_of([0, 1, 2])
    assert torch.equal(draw_targets("original", N, [0, 1, 2], seed=1, labels=labels), labels)


@pytest.mark.parametrize("rule", ["uniform", "other", "next", "given"])
def test_one_sample_and_repeats(rule: str) -> None:
    for number in (1, 7):
        labels = labels_of([1, -1], number)
        first, again = (draw_targets(rule, number, [1, -1], seed=5, labels=labels, given=labels[:1]) for _ in range(2))
        assert torch.equal(first, again)
        assert first.shape == (number,)
        assert set(first.tolist()) <= {1, -1}


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    draw_targets("uniform", 5, [1, -1], seed=0)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("rule", ["other", "next"])
def test_rules_that_need_labels(rule: str) -> None:
    with pytest.raises(DataError, match=f"attack.targets = '{rule}' needs true labels, which the sources do not have"):
        draw_targets(rule, 3, [1, -1], seed=0)


def test_given_targets_that_there_are_not() -> None:
    with pytest.raises(DataError, match=r"attack\.targets is 'given', but the data contain no targets; add an array"):
        draw_targets("given", 3, [1, -1], seed=0)
