"""The linear probe against scikit-learn's logistic regression, and what it sees."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from perturblearn.data import Dataset
from perturblearn.experiment.probe import PENALTY, LinearProbe, measure_linear_probe
from perturblearn.perturbed import PerturbedSet


def problem(classes: int, count: int = 120, dim: int = 6) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    generator = torch.Generator().manual_seed(classes)
    inputs = 3 * torch.randn(count, dim, generator=generator, dtype=torch.float64) + 1
    index = (inputs[:, :classes] + torch.randn(count, classes, generator=generator)).argmax(dim=1)
    values = [1, -1] if classes == 2 else list(range(classes))
    return inputs, torch.tensor(values)[index], values


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_against_scikit_learn(classes: int) -> None:
    inputs, labels, values = problem(classes)
    found = LinearProbe(inputs, labels, values)
    scaled = ((inputs - inputs.mean(0)) / inputs.std(0, correction=0)).numpy()
    # Its C multiplies the sum of losses, ours the half squared weights of their mean.
    reference = LogisticRegression(C=1 / (PENALTY * len(inputs)), tol=1e-10, max_iter=10_000).fit(
        scaled, labels.numpy()
    )
    expected = torch.from_numpy(reference.decision_function(scaled))
    # Up to a constant per sample, which no probability sees; both stop within about 1e-6 of the optimum's gradient.
    outputs = found(inputs)
    if classes > 2:
        outputs, expected = (logits - logits.mean(dim=1, keepdim=True) for logits in (outputs, expected))
    assert torch.allclose(outputs, expected, atol=2e-2 * float(expected.abs().max()))
    assert float((outputs - expected).abs().mean() / expected.abs().mean()) < 5e-3


def test_constant_coordinates_and_float32() -> None:
    inputs, labels, values = problem(3)
    inputs = torch.cat((inputs, torch.full((len(inputs), 2), 5.0, dtype=torch.float64)), dim=1).float()
    outputs = LinearProbe(inputs, labels, values)(inputs)
    assert bool(torch.isfinite(outputs).all())
    assert float((outputs.argmax(dim=1) == labels).double().mean()) > 0.6


def test_it_learns_from_target_labels_alone() -> None:
    inputs, labels, _ = problem(2)
    data = Dataset(inputs[:60], labels[:60], inputs[60:], labels[60:], (-math.inf, math.inf), ("+1", "-1"))
    count = torch.arange(60)
    seen = torch.ones(60, dtype=torch.bool)

    def perturbed(targets: torch.Tensor) -> PerturbedSet:
        return PerturbedSet(inputs[:60], targets, labels[:60], count, seen, seen, "natural", "l2", 1.0, "hash", 0)

    right = measure_linear_probe(perturbed(labels[:60]), data)
    wrong = measure_linear_probe(perturbed(-labels[:60]), data)
    assert set(right) == {"linear_probe", "linear_probe_heldout"}
    for name, accuracy in right.items():
        assert accuracy > 0.75
        assert wrong[name] == pytest.approx(1 - accuracy)
