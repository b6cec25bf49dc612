"""Linear features where it is known by construction which are useful and which are robust."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perturblearn.data import Components
from perturblearn.errors import DataError
from perturblearn.theory import LinearFeatures

N, ROBUST, BRITTLE, NOISE = 4000, 3.0, 0.05, 1.0


def made() -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, labels, and the rotation that hides three directions: a robust feature, a brittle one, and noise.

    Both features are the label with noise of its size, with opposite signs: so they are not correlated.
    """
    generator = torch.Generator().manual_seed(0)
    labels = 2 * torch.randint(2, (N,), generator=generator) - 1
    noise = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    hidden = torch.stack(
        (ROBUST * (labels + noise[:, 0]), BRITTLE * (labels - noise[:, 0]), NOISE * noise[:, 2]), dim=1
    )
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
    return hidden @ rotation.T + 7, labels, rotation


def test_components_are_those_of_a_singular_value_decomposition() -> None:
    inputs, _, _ = made()
    found = Components.of(inputs.view(N, 1, 3).float())
    centred = inputs.float().double() - inputs.float().double().mean(dim=0)
    _, values, vectors = torch.linalg.svd(centred, full_matrices=False)
    assert torch.allclose(found.deviations, values / N**0.5, rtol=1e-6)
    # Signs are nobody's choice; the covariance's smallest eigenvalue is rounded at 1e-16 of its largest.
    assert torch.allclose((found.directions @ vectors.T).abs(), torch.eye(3).double(), atol=1e-8)


def test_directions_along_which_nothing_varies_are_left_out() -> None:
    inputs = torch.zeros(5, 4)
    inputs[:, 1] = torch.arange(5.0)
    found = Components.of(inputs)
    assert found.directions.abs().tolist() == [[0, 1, 0, 0]]
    assert found.of_range(0, 9).shape == (1, 4)


def test_inputs_that_are_too_large_are_refused() -> None:
    with pytest.raises(DataError, match="principal components of inputs with 20,001 coordinates"):
        Components.of(torch.zeros(2, 20_001))


def test_both_features_are_useful_and_one_of_them_is_robust() -> None:
    inputs, labels, rotation = made()
    features = LinearFeatures(Components.of(inputs))
    order = (features.components.directions @ rotation).abs().argmax(dim=1).tolist()
    assert order == [0, 2, 1]  # by variance: robust, noise, brittle
    values = features(inputs)
    assert torch.allclose(values.mean(dim=0), torch.zeros(3).double(), atol=1e-9)
    assert torch.allclose(values.std(dim=0, correction=0), torch.ones(3).double(), atol=1e-9)
    (useful,) = features.usefulness(inputs, labels, [1, -1])
    # E[y f] = signal / sqrt(signal^2 + noise^2), up to 5 standard errors 1/sqrt(N).
    expected = [0.5**0.5, 0.0, 0.5**0.5]
    assert useful.abs().tolist() == pytest.approx(expected, abs=5 / N**0.5)
    assert features.robust(useful[None], 0.5).tolist() == [[True, False, False]]
    # Against moves shorter than its signal the brittle one is robust too: |E[y f]| > eps / sigma is signal > eps.
    assert features.robust(useful[None], 0.8 * BRITTLE)[0, 2]
    assert not features.robust(useful[None], 1.2 * BRITTLE)[0, 2]


def test_of_three_classes_each_has_features_of_its_own() -> None:
    # Class k is at 5 along axis k: its own axis and, against it, the axes of the others.
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(3000) % 3
    inputs = 5 * torch.eye(3)[labels] + 0.1 * torch.randn(3000, 3, generator=generator)
    features = LinearFeatures(Components.of(inputs))
    useful = features.usefulness(inputs, labels, [0, 1, 2])
    assert useful.shape == (3, 3)
    signs = torch.where(labels == 1, 1.0, -1.0).double()
    assert torch.allclose(useful[1], (signs[:, None] * features(inputs)).mean(dim=0))
