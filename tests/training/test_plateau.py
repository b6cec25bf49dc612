"""The learning-rate rule, against PyTorch's ReduceLROnPlateau."""

from __future__ import annotations

import math
from itertools import pairwise

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from perturblearn.training import Plateau

FINITE = st.floats(-1e6, 1e6, allow_nan=False)
SEQUENCES = st.one_of(
    st.lists(FINITE, max_size=60),
    # Few values, so that runs without improvement, ties and cuts occur.
    st.lists(st.sampled_from([1.0, 0.9999, 0.99985, 0.5, 0.0, -1.0, -1.00005, -0.9999]), min_size=20, max_size=120),
    st.lists(FINITE, max_size=60).map(sorted),
    st.lists(FINITE, max_size=60).map(lambda losses: sorted(losses, reverse=True)),
    st.builds(lambda loss, number: [loss] * number, FINITE, st.integers(0, 150)),
    # From just above to just below what counts as better.
    st.builds(
        lambda start, factor, number: [start * factor**epoch for epoch in range(number)],
        st.sampled_from([1.0, -1.0]),
        st.floats(0.9997, 1.0003),
        st.integers(0, 100),
    ),
)
RATES = st.one_of(st.floats(1e-9, 1e3), st.sampled_from([1e-7, 1.1e-8, 1.2e-8, 1.112e-8, 1e-8, 2e-8, 0.1, 1.0]))


def rates(lr: float, losses: list[float]) -> list[float]:
    rule, found = Plateau(lr), []
    for loss in losses:
        rule.update(loss)
        found.append(rule.lr)
    return found


def pytorch_rates(lr: float, losses: list[float]) -> list[float]:
    optimiser = SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    rule, found = ReduceLROnPlateau(optimiser), []
    for loss in losses:
        rule.step(loss)
        found.append(optimiser.param_groups[0]["lr"])
    return found


@settings(max_examples=300)
@given(lr=RATES, losses=SEQUENCES)
def test_against_pytorch(lr: float, losses: list[float]) -> None:
    assert rates(lr, losses) == pytorch_rates(lr, losses)


@pytest.mark.parametrize(
    ("lr", "losses", "cuts"),
    [
        (1.0, [1.0] * 11, 0),  # the first is better than nothing, ten are bad
        (1.0, [1.0] * 12, 1),  # the 11th bad epoch in a row cuts
        (1.0, [1.0] * 22, 1),  # the count restarts
        (1.0, [1.0] * 23, 2),
        (1.0, [1.0] * 10 + [0.5] + [1.0] * 10, 0),  # a better one restarts the count
        (1.0, [1.0] * 11 + [0.99989], 0),
        (1.0, [1.0] * 11 + [0.99991], 1),  # better by less than 1e-4 is bad
        (1.0, [-1.0] * 100, 0),  # equal counts as better where losses are negative
        (1.0, [-1.0] + [-0.99995] * 100, 0),  # and so does slightly worse
        (1.0, [-1.0] + [-0.9998] * 11, 1),
        (1.0, [0.0] * 12, 1),
        (1.2e-8, [1.0] * 100, 1),  # a cut by 1.08e-8 is made, the next would be below 1e-8
        (1.1e-8, [1.0] * 100, 0),
        (1.0, [math.inf] * 12, 1),  # infinite is never better
    ],
)
def test_by_hand(lr: float, losses: list[float], cuts: int) -> None:
    found = rates(lr, losses)
    assert found == pytorch_rates(lr, losses)
    assert sum(before != after for before, after in pairwise([lr, *found])) == cuts
    assert found[-1] == pytest.approx(lr / 10**cuts, rel=1e-15 * (1 + cuts))
