"""The bound of robust leakage where one feature is robust, one is brittle, and it is known which one was moved."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer
from perturblearn.data import Dataset
from perturblearn.experiment.robust_linear import measure_robust_linear, restricted, share_within
from perturblearn.perturbed import PerturbedSet

N = 600
ROBUST, BRITTLE = 0, 1


def clean(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = 1 - 2 * (torch.arange(n) % 2)
    noise = torch.randn(n, 3, generator=generator)
    # The label with noise of a size, with opposite signs, so that the features are not correlated.
    both = 2 * (labels + 0.6 * noise[:, 0]), 0.05 * (labels - noise[:, 0] / 0.6)
    inputs = torch.stack((*both, noise[:, 2]), 1).double()
    inputs -= inputs.mean(dim=0)
    for column in (1, 2):  # not correlated in the sample either, so that the axes are the components
        for before in range(column):
            axis = inputs[:, before]
            inputs[:, column] -= (inputs[:, column] @ axis) / (axis @ axis) * axis
    # Off zero by far more than rounding: what sees the mean alone gives all inputs one label.
    return (inputs + torch.tensor([1e-2, 1e-3, 0.0])).float(), labels


X, Y = clean(N, 0)
DATA = Dataset(X, Y, *clean(400, 1), value_range=(-math.inf, math.inf), class_names=("+1", "-1"))
SEES_BRITTLE = Classifier(TwoLayer(20 * torch.eye(3)[[BRITTLE, BRITTLE]] * torch.tensor([[1.0], [-1.0]]),
                                   torch.tensor([1.0, -1.0]), None, 0.0))  # fmt: skip
SEES_ROBUST = Classifier(TwoLayer(torch.eye(3)[[ROBUST, ROBUST]] * torch.tensor([[1.0], [-1.0]]),
                                  torch.tensor([1.0, -1.0]), None, 0.0))  # fmt: skip


def perturbed(direction: int, targets: Tensor, size: float) -> PerturbedSet:
    nobody = torch.zeros(N, dtype=torch.bool)
    return PerturbedSet(
        inputs=X + size * targets[:, None] * torch.eye(3)[direction], target_labels=targets, true_labels=Y,
        source_index=torch.arange(N), success=nobody, redirected=targets != Y, source="natural", norm="l2",
        epsilon=size, classifier_hash="", zero_gradients=0, sources=X,
    )  # fmt: skip


# Of each true class half of the samples have either target, so that the sources say nothing about it.
RANDOM = 1 - 2 * ((torch.arange(N) // 2) % 2)


def measured(made: PerturbedSet, g: Classifier = SEES_BRITTLE) -> dict[str, float]:
    numbers = measure_robust_linear(DATA, SEES_ROBUST, made, g, epsilon=0.5, seed=0).numbers
    return {name.removeprefix("robust_linear_"): float(value or 0) for name, value in numbers.items()}


def test_a_moved_robust_feature_leaks() -> None:
    found = measured(perturbed(ROBUST, RANDOM, 0.4))
    assert found["features"] == 1
    # The sign of y + 0.6 n is y with probability 0.952, up to 4 standard errors of 400 draws.
    assert found["heldout"] == pytest.approx(0.952, abs=0.043)
    assert found["clean_heldout"] == pytest.approx(0.952, abs=0.043)
    assert found["share"] == pytest.approx(1, abs=1e-6)


def test_a_moved_brittle_feature_does_not_leak_where_labels_are_wrong() -> None:
    found = measured(perturbed(BRITTLE, -Y, 0.4))
    # As of D_det: the robust feature says the wrong label alone.
    assert found["heldout"] == pytest.approx(0.048, abs=0.043)
    assert found["unperturbed_heldout"] == pytest.approx(0.048, abs=0.043)
    assert found["share"] == pytest.approx(0, abs=1e-6)


def test_what_g_has_of_the_robust_features_is_what_it_looks_at() -> None:
    brittle, robust = (measured(perturbed(BRITTLE, RANDOM, 0.4), g) for g in (SEES_BRITTLE, SEES_ROBUST))
    assert robust["g_heldout"] == pytest.approx(0.952, abs=0.043)
    # The sign of y - n / 0.6 is y with probability 0.726.
    assert brittle["g_without_heldout"] == pytest.approx(0.726, abs=0.09)
    # Of what g does not look at, the mean is left: one label for all.
    assert (brittle["g_heldout"], robust["g_without_heldout"]) == (0.5, 0.5)


def test_bare_perturbations_have_no_sources_to_compare_with() -> None:
    bare = perturbed(ROBUST, RANDOM, 0.4)
    found = measured(replace(bare, inputs=bare.inputs - X, source="none", sources=torch.zeros_like(X)))
    assert "unperturbed_heldout" not in found
    assert found["heldout"] == pytest.approx(0.952, abs=0.043)


def test_the_parts_inside_and_outside_a_span_are_the_whole() -> None:
    span, mean = torch.eye(3, dtype=torch.float64)[:2], X.double().mean(dim=0)
    inside, outside = (restricted(X, span, mean, inside=flag) for flag in (True, False))
    assert torch.allclose(inside + outside - mean, X.double())
    assert torch.allclose(inside[:, 2], mean[2].expand(N))
    assert share_within(perturbed(1, RANDOM, 0.4), span) == pytest.approx(1, abs=1e-6)
