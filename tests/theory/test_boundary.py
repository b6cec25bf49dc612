from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
import torch
from tests.theory.reference import noise, normal

from perturblearn.attacks import geometry_inspired
from perturblearn.errors import ConfigError, DataError
from perturblearn.theory import (
    boundary_terms,
    expected_pattern_share,
    expected_perturbation_accuracy,
    margin_limit,
)

NORMS: list[dict[str, Any]] = [{"norm": "l2"}, {"norm": "linf"}, {"norm": "l0", "pixels": 7}]


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm["norm"])
def test_against_a_loop(norm: dict[str, Any]) -> None:
    multipliers, q = normal(6, seed=0).abs(), normal(20, seed=1)
    targets, sources, z = torch.tensor([1, -1] * 3), normal(6, 20, seed=2), normal(5, 20, seed=3)
    found = boundary_terms(multipliers, targets, sources, q, z, epsilon=0.4, **norm)
    if norm["norm"] == "l2":
        direction = q / q.norm()
    elif norm["norm"] == "linf":
        direction = q.sign()
    else:
        kept = q.abs().argsort(descending=True)[:7]
        direction = torch.zeros_like(q)
        direction[kept] = q[kept]
        direction = direction / direction.norm()
    for m in range(5):
        first = sum(float(multipliers[n]) * int(targets[n]) * float(sources[n] @ z[m]) for n in range(6))
        second = 0.4 * float(multipliers.sum()) * float(direction @ z[m])
        assert float(found.sources[m]) == pytest.approx(first, abs=1e-12)
        assert float(found.perturbations[m]) == pytest.approx(second, abs=1e-12)
        assert bool(found.dominated[m]) == (abs(second) > abs(first))
    assert torch.equal(found.total, found.sources + found.perturbations)
    assert found.dominated_share == pytest.approx(float(found.dominated.double().mean()))


@pytest.mark.parametrize("method", ["linear", "two_direction"])
@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm["norm"])
def test_the_sum_is_the_boundary_learned_from_the_perturbed_set(norm: dict[str, Any], method: Any) -> None:
    x, y = noise(30, 600, 0)
    sources, targets = noise(40, 600, 1)
    z = normal(200, 600, seed=2)
    standard = margin_limit(x, y, slope=0.1, method=method)
    epsilon = 0.1 if norm["norm"] == "linf" else 1.0
    perturbed = sources + geometry_inspired(standard.normal, targets, epsilon=epsilon, **norm)
    learned = margin_limit(perturbed, targets, slope=0.1, method=method)
    terms = boundary_terms(learned.boundary_multipliers, targets, sources, standard.normal, z, epsilon=epsilon, **norm)
    assert torch.equal(terms.total.sign(), learned.classifier.outputs(z).sign())
    # The length of q does not matter.
    other = boundary_terms(
        learned.boundary_multipliers, targets, sources, 7 * standard.normal, z, epsilon=epsilon, **norm
    )
    assert torch.allclose(other.perturbations, terms.perturbations)
    if norm["norm"] == "l2":  # P is the standard boundary
        assert torch.equal(terms.perturbations.sign(), standard.classifier.outputs(z).sign())


def test_deterministic_targets_on_natural_samples_turn_g_around_at_a_threshold() -> None:
    x, y = noise(100, 4000, 0)
    x = x * math.sqrt(3)  # the threshold is about R / sqrt(N) = sqrt(d / N) = 6.3 here
    standard = margin_limit(x, y, slope=0.3)
    threshold = float(standard.normal.norm()) / float(standard.boundary_multipliers.sum())
    scale = float((standard.boundary_multipliers * y @ x).norm()) / float(standard.normal.norm())
    threshold *= scale
    accuracies = []
    for epsilon in (0.8 * threshold, 1.25 * threshold):
        perturbed = x + geometry_inspired(standard.normal, -y, norm="l2", epsilon=epsilon)
        learned = margin_limit(perturbed, -y, slope=0.3)
        accuracies.append(float((learned.classifier.outputs(x) * y > 0).double().mean()))
    assert accuracies[0] < 0.1
    assert accuracies[1] > 0.9


@pytest.mark.parametrize(("n_sources", "epsilon"), [(100, 0.5), (100, 1.0), (300, 0.5)])
def test_the_size_law(n_sources: int, epsilon: float) -> None:
    found = []
    for seed in range(6):
        x, y = noise(100, 4000, seed)
        sources, targets = noise(n_sources, 4000, 100 + seed)
        standard = margin_limit(x, y, slope=0.1)
        perturbed = sources + geometry_inspired(standard.normal, targets, norm="l2", epsilon=epsilon)
        learned = margin_limit(perturbed, targets, slope=0.1)
        found.append(float((learned.classifier.outputs(x) * y > 0).double().mean()))
    law = expected_perturbation_accuracy(
        epsilon=epsilon, n_sources=n_sources, n_samples=100, input_dim=4000, data="uniform"
    )
    # Standard error of 6 seeds x 100 samples, and what the law leaves out at N / d = 0.025 to 0.075: a few percent.
    assert statistics.fmean(found) == pytest.approx(law, abs=3 * math.sqrt(law * (1 - law) / 600) + 0.05)


def test_the_pattern_s_share() -> None:
    for slope in (0.01, 0.05, 0.1, 0.2):
        shares = []
        for seed in range(6):
            x, y = noise(100, 1000, seed)
            shares.append(margin_limit(x, y, slope=slope, method="linear").pattern_share)
        expected = expected_pattern_share(slope=slope, n_samples=100, input_dim=1000)
        # 600 samples: a standard error of 0.02; at N / d = 0.1 the formula itself is 0.02 high.
        assert statistics.fmean(shares) == pytest.approx(expected, abs=0.08)


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input() -> None:
    known: dict[str, Any] = {
        "multipliers": torch.ones(2), "targets": torch.tensor([1, -1]), "sources": torch.ones(2, 3),
        "normal": torch.ones(3), "z": torch.ones(4, 3), "epsilon": 0.1,
    }  # fmt: skip
    refused: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
        ({"targets": torch.tensor([1, 0])}, DataError, "targets holds the label 0"),
        ({"multipliers": torch.ones(3)}, DataError, r"multipliers has shape \(3,\) for 2 targets"),
        ({"normal": torch.ones(4)}, DataError, "x has 3 columns and normal has 4"),
        ({"z": torch.ones(4, 2)}, DataError, "sources has 3 columns and z has 2"),
        ({"norm": "l1"}, ConfigError, "attack.norm = 'l1'"),
        ({"norm": "l0"}, ConfigError, "attack.pixels = None"),
    )
    for changed, error, words in refused:
        with pytest.raises(error, match=words):
            boundary_terms(**{**known, **changed})
    with pytest.raises(ConfigError, match="data = 'mnist', but the size law is known for uniform and gauss"):
        expected_perturbation_accuracy(epsilon=1.0, n_sources=1, n_samples=1, input_dim=1, data="mnist")
