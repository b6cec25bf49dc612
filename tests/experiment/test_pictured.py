"""Features as pictures where it is known along which f, the perturbations and g go."""

from __future__ import annotations

import pytest
import torch
from tests.experiment.test_robust_linear import DATA, RANDOM, ROBUST, SEES_BRITTLE, SEES_ROBUST, perturbed
from torch import Tensor

from perturblearn.classifiers import Classifier, Network, make_network
from perturblearn.config import ModelConfig, NetworkConfig
from perturblearn.data import Signature
from perturblearn.experiment.pictured import FeatureStage, signal_gradients
from perturblearn.experiment.robust_linear import measure_robust_linear


def test_each_party_has_the_features_that_it_looks_at_or_moves() -> None:
    made = measure_robust_linear(DATA, SEES_ROBUST, perturbed(ROBUST, RANDOM, 0.4), SEES_BRITTLE, epsilon=0.5, seed=0)
    shown = made.pictured
    # By variance: the robust feature, what says nothing, the brittle one.
    assert shown.names[0] == "component 0, robust"
    assert set(shown.names[1:]) == {"component 1, not robust", "component 2, not robust"}
    brittle = shown.names.index("component 2, not robust")
    assert [shown.shares[party][0] for party in ("f", "perturbations", "g")] == pytest.approx([1, 1, 0], abs=1e-6)
    assert [shown.shares[party][brittle] for party in ("f", "perturbations", "g")] == pytest.approx([0, 0, 1], abs=1e-6)
    assert shown.patterns[0].abs().tolist() == pytest.approx([1, 0, 0], abs=1e-6)


def test_what_a_stage_has_measured_survives_its_file() -> None:
    made = measure_robust_linear(DATA, SEES_ROBUST, perturbed(ROBUST, RANDOM, 0.4), SEES_BRITTLE, epsilon=0.5, seed=0)
    back = FeatureStage.load(FeatureStage.dump(made))
    assert back.numbers == made.numbers
    assert (back.pictured.names, back.pictured.shares) == (made.pictured.names, made.pictured.shares)
    assert torch.equal(back.pictured.patterns, made.pictured.patterns)


def test_the_gradient_of_logits_is_that_of_the_true_one_above_the_mean_of_the_others() -> None:
    config = ModelConfig.model_validate({"name": "mlp", "hidden_dim": 5})
    assert isinstance(config, NetworkConfig)
    network = make_network(config, Signature((4,), 3, 0.0, (0.0,), (1.0,)), seed=0, role="f")
    inputs, labels = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
    found = signal_gradients(Classifier[Network](network), inputs, labels)
    assert found is not None
    network.eval()
    for row, (sample, label) in enumerate(zip(inputs, labels.tolist(), strict=True)):
        jacobian: Tensor = torch.func.jacrev(lambda x: network(x[None])[0])(sample)
        others = [each for each in range(3) if each != label]
        assert torch.allclose(found[row], jacobian[label] - jacobian[others].mean(dim=0), atol=1e-6)
