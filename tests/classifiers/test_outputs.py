"""Labels and losses out of outputs, for two classes and for more."""

from __future__ import annotations

import math

import pytest
import torch

from perturblearn.classifiers import is_target, label_loss, predicted_labels
from perturblearn.classifiers.outputs import outputs_by_class

NAN, INF = math.nan, math.inf


def test_two_classes_by_the_sign() -> None:
    outputs = torch.tensor([2.0, -0.5, 0.0, -0.0, 1e-45, -1e-45, INF, -INF, NAN])
    labels = predicted_labels(outputs)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [1, -1, 0, 0, 1, -1, 1, -1, 0]


def test_more_classes_by_the_largest_logit() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [-1.0, -3.0, -2.0], [5.0, 5.0, 5.0], [-INF, -INF, 0.0]])
    assert predicted_labels(logits).tolist() == [1, 0, 0, 2]


def test_an_output_of_zero_is_no_target() -> None:
    assert is_target(torch.tensor([0.0, 0.0, NAN, 1.0, -1.0]), torch.tensor([1, -1, 1, 1, 1])).tolist() == [
        False, False, False, True, False,
    ]  # fmt: skip
    assert is_target(torch.tensor([[1.0, 0.0, 3.0], [1.0, 0.0, 3.0]]), torch.tensor([2, 0])).tolist() == [True, False]


def test_outputs_of_classes_keep_the_network_s_own_probabilities() -> None:
    """p(class | one of the classes) is a ratio of sums of the network's probabilities."""
    logits = 20 * torch.randn(50, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    indices = [[7], [0, 2, 5], [3, 1]]
    known = logits.softmax(dim=1)
    sums = torch.stack([known[:, each].sum(dim=1) for each in indices], dim=1)
    # A dozen roundings of numbers up to 100, in the exponent.
    found = outputs_by_class(logits, indices).softmax(dim=1)
    assert torch.allclose(found, sums / sums.sum(dim=1, keepdim=True), rtol=1e-12, atol=0)


def test_nothing_gives_nothing() -> None:
    assert predicted_labels(torch.empty(0)).shape == predicted_labels(torch.empty(0, 3)).shape == (0,)
    assert label_loss(torch.empty(0), torch.empty(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_of_two_classes(dtype: torch.dtype) -> None:
    """log(1 + exp(-y f)), also where exp overflows."""
    outputs = torch.tensor([0.0, 3.0, 3.0, -1000.0, 1000.0], dtype=dtype)
    loss = label_loss(outputs, torch.tensor([1, 1, -1, 1, 1]))
    assert loss.dtype == dtype
    expected = [math.log(2), math.log1p(math.exp(-3)), math.log1p(math.exp(3)), 1000.0, 0.0]
    # Three roundings of numbers of that size.
    assert loss.tolist() == pytest.approx(expected, rel=4 * torch.finfo(dtype).eps, abs=0)


def test_the_loss_of_more_classes() -> None:
    """log(sum_k exp(z_k)) - z_y."""
    logits = torch.tensor([[0.0, 2.0, 1.0], [-1.0, 3.0, 0.5]], dtype=torch.float64)
    loss = label_loss(logits, torch.tensor([2, 1]))
    for row, label, found in zip(logits.tolist(), (2, 1), loss.tolist(), strict=True):
        assert found == pytest.approx(math.log(sum(math.exp(z) for z in row)) - row[label], rel=1e-14)


def test_two_logits_and_their_difference_have_one_loss() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.0, 4.0]], dtype=torch.float64)
    # Class 0 is +1.
    both = label_loss(logits, torch.tensor([0, 0]))
    one = label_loss(logits[:, 0] - logits[:, 1], torch.tensor([1, 1]))
    assert both.tolist() == pytest.approx(one.tolist(), rel=1e-14)
