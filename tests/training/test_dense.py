"""Dense products in blocks of samples, and networks with different losses in one batch."""

from __future__ import annotations

import pytest
import torch
from tests.training.problems import KINDS, LOSS_NAMES, network, problem
from tests.training.reference import LOSSES, relative
from torch import Tensor

from perturblearn.training import Descent, Job
from perturblearn.training.batch import Batch
from perturblearn.training.dense import descend_densely
from perturblearn.training.products import CoordinateProducts, GramProducts, gram_matrix


def descend(
    jobs: list[Job], inputs: Tensor, *, gram: bool, block: int
) -> tuple[list[Tensor], list[list[float]], list[tuple[int, int, str]]]:
    """States, losses and reports."""
    bias = jobs[0].network.bias
    plain = CoordinateProducts(inputs, bias=bias is not None)
    own = torch.cat([job.network.weight.detach() for job in jobs])
    if bias is not None:
        biases = torch.cat([job.network.bias.detach() for job in jobs if job.network.bias is not None])
        own = torch.cat((own, biases[:, None]), dim=1)
    offset = plain.image(own, slice(0, len(inputs)), own.new_empty(len(own), len(inputs)))
    products = GramProducts(gram_matrix(inputs, bias=bias is not None), offset) if gram else plain
    batch, heard = Batch(jobs, inputs), []
    states = torch.zeros_like(offset) if gram else own
    descend_densely(batch, products, states, lambda *words: heard.append(words), block=block)
    return [record.states[batch.epochs] for record in batch.records], [own.losses for own in batch.records], heard


@pytest.mark.parametrize("gram", [False, True])
@pytest.mark.parametrize("name", KINDS)
# One sample at a time, even where a block is smaller than that; several; all but one; all.
@pytest.mark.parametrize("block", [1, 18, 18 * 4, 18 * 14, 18 * 15, 2**20])
def test_blocks_change_nothing(gram: bool, name: str, block: int) -> None:
    inputs, labels = problem(15, 6)
    # All losses, two of them with one label; with and without a slope.
    jobs = [
        Job(network(6, width=6, name=name, role="0", slope=0.2), labels, Descent("logistic", 0.3, 30)),
        Job(network(6, width=6, name=name, role="1"), -labels, Descent("exponential", 0.01, 30, 0.5)),
        Job(network(6, width=6, name=name, role="2", slope=0.5), labels, Descent("identity", 0.1, 30)),
    ]
    whole, expected, _ = descend(jobs, inputs, gram=gram, block=18 * 15)
    states, losses, _ = descend(jobs, inputs, gram=gram, block=block)
    for state, own in zip(states, whole, strict=True):
        # 30 epochs of float64 rounding, in sums in another order.
        assert relative(state, own) < 1e-12
    for own, other in zip(losses, expected, strict=True):
        assert own == pytest.approx(other, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_the_first_loss(loss: str) -> None:
    inputs, labels = problem(15, 6)
    starts = [network(6, role="f", slope=0.1), network(6, role="g")]
    _, losses, heard = descend([Job(s, labels, Descent(loss, 0.1, 1)) for s in starts], inputs, gram=False, block=1)
    expected = [LOSSES[loss](labels * start(inputs)).mean().item() for start in starts]
    assert [own[0] for own in losses] == pytest.approx(expected, rel=1e-13)
    # The report is of the mean over the networks.
    assert heard == [(1, 1, f"loss {sum(expected) / 2:.4g}")]
