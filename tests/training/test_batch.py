"""What is known of a network while it trains."""

from __future__ import annotations

import math

import pytest
import torch
from tests.training.problems import network, problem

from perturblearn.training import Descent, Job, Plateau
from perturblearn.training.batch import Batch, TrainingRecord


def record(lr: float = 1.0, epochs: int = 20, *checkpoints: int) -> TrainingRecord:
    job = Job(network(2), torch.ones(4), Descent("logistic", lr, epochs), checkpoints)
    return TrainingRecord(job, Plateau(lr))


def test_a_record_holds_losses_and_rates() -> None:
    own = record()
    # The first loss is better than nothing, the 11th bad one after it cuts, from the next step on.
    steps = [own.add_loss(1.0) for _ in range(14)]
    assert own.losses == [1.0] * 14
    assert steps == pytest.approx([1.0] * 12 + [0.1] * 2)
    assert own.rates == pytest.approx([1.0] * 11 + [0.1] * 3)


def test_what_is_kept_is_a_copy_after_wanted_epochs() -> None:
    own = record(1.0, 20, 3)
    state = torch.ones(2, 2)
    for epoch in range(1, 21):
        own.keep_state(epoch, state)
        state.add_(1)
    assert {epoch: float(kept[0, 0]) for epoch, kept in own.states.items()} == {3: 3.0, 20: 20.0}


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
def test_the_sentence_names_the_last_step_and_its_rate(loss: float) -> None:
    own = record()
    for _ in range(12):
        own.add_loss(1.0)
    own.add_loss(loss)
    # The 12th step was still made with the rate before the cut.
    assert str(own.error).startswith(
        f"training diverged at epoch 12 of 20 with learning rate 1 (the loss became {loss});"
    )
    said = own.error
    # What follows is of no account: neither another loss nor another state.
    own.add_loss(math.nan)
    own.add_loss(0.5)
    own.keep_state(20, torch.ones(2, 2))
    assert own.error is said
    assert len(own.losses) == 12
    assert own.states == {}


def test_a_state_that_is_not_finite_ends_the_training() -> None:
    own = record(0.5, 20, 1, 2)
    own.add_loss(1.0)
    own.keep_state(1, torch.ones(2, 2))
    own.add_loss(0.9)
    own.keep_state(2, torch.tensor([[1.0, math.nan]]))
    assert list(own.states) == [1]
    assert str(own.error).startswith("training diverged at epoch 2 of 20 with learning rate 0.5 (a weight or bias is")


def test_rows_of_a_batch() -> None:
    labels = problem(4, 2)[1]
    descents = [Descent("logistic", 0.1, 5, momentum) for momentum in (0.9, 0.5)]
    starts = [network(2, width=3, role=role, slope=slope) for role, slope in (("f", 0.0), ("g", 0.2))]
    batch = Batch(
        [Job(start, labels, descent) for start, descent in zip(starts, descents, strict=True)],
        torch.zeros(1, dtype=torch.float64),
    )
    assert (len(batch), batch.width, batch.units, batch.epochs, batch.has_slope) == (2, 3, 6, 5, True)
    assert batch.momentum[:, 0].tolist() == [0.9] * 3 + [0.5] * 3
    assert batch.slope[:, 0].tolist() == [0.0] * 3 + [0.2] * 3
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.stack([start.readout @ part for start, part in zip(starts, rows.split(3), strict=True)])
    # Sums of three products.
    assert torch.allclose(batch.weighted(rows), expected, rtol=0, atol=1e-14)
    assert torch.equal(batch.by_network(rows)[1], rows[3:])
