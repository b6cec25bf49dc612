"""Training on outputs of another network, against plain loops."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.experiment.tiny import blobs
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div

from perturblearn.classifiers import Network, make_network
from perturblearn.config import NetworkConfig
from perturblearn.data import Signature
from perturblearn.errors import ConfigError
from perturblearn.training import MinibatchDescent, SoftLoss


def test_the_cross_entropy_s_gradient_is_that_of_the_divergence_at_the_temperature() -> None:
    outputs, wanted = torch.randn(7, 4, dtype=torch.float64, requires_grad=True), torch.randn(7, 4, dtype=torch.float64)
    plain = kl_div((outputs / 3).log_softmax(1), (wanted / 3).softmax(1), reduction="none").sum(1)
    (expected,) = torch.autograd.grad(plain.sum(), outputs)
    (found,) = torch.autograd.grad(SoftLoss(temperature=3.0)(outputs, wanted).sum(), outputs)
    assert torch.allclose(found, expected)


def test_of_two_classes_a_probability_is_the_sigmoid() -> None:
    outputs, wanted = torch.randn(9, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    expected = binary_cross_entropy_with_logits(outputs / 2, (wanted / 2).sigmoid(), reduction="none")
    assert torch.allclose(SoftLoss(temperature=2.0)(outputs, wanted), expected)


def test_the_squared_loss_is_the_mean_over_outputs() -> None:
    outputs, wanted = torch.randn(5, 3), torch.randn(5, 3)
    assert torch.allclose(SoftLoss("squared")(outputs, wanted), ((outputs - wanted) ** 2).mean(1))


@pytest.mark.parametrize("auxiliary", [False, True])
def test_a_step_is_that_of_a_plain_loop(auxiliary: bool) -> None:
    data = blobs()
    config = NetworkConfig.model_validate({"name": "mlp", "hidden_dim": 8, "auxiliary": 5 if auxiliary else None})
    network = make_network(config, Signature.of(data), seed=0, role="g").double()
    network.reads_auxiliary = auxiliary
    inputs = data.inputs.double()
    wanted = torch.randn(len(inputs), 5 if auxiliary else 3, dtype=torch.float64)
    descent = MinibatchDescent("logistic", 0.1, 2, 90, 0.0, 0.0, "constant", soft=SoftLoss("squared"))
    trained = descent.train(network, inputs, wanted, seed=0)
    plain = copy.deepcopy(network).train()
    for _ in range(2):  # the whole set is one batch, whose order plays no part
        loss = (plain(inputs) - wanted).square().mean()
        gradients = torch.autograd.grad(loss, list(plain.parameters()), materialize_grads=True)
        with torch.no_grad():
            for parameter, gradient in zip(plain.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
    for found, expected in zip(trained.module.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-12)


def test_auxiliary_outputs_stand_after_those_of_the_classes() -> None:
    data = blobs()
    config = NetworkConfig.model_validate({"name": "mlp", "hidden_dim": 8, "auxiliary": 5})
    network = make_network(config, Signature.of(data), seed=0, role="g")

    def read(network: Network, *, auxiliary: bool) -> Tensor:
        network.reads_auxiliary = auxiliary
        return network(data.inputs)

    both = network.returned(data.inputs)
    assert both.shape == (len(data.inputs), 8)
    assert torch.equal(read(network, auxiliary=False), both[:, :3])
    assert torch.equal(read(network, auxiliary=True), both[:, 3:])


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ConfigError, match="soft loss = 'hinge' is not known; choose cross_entropy, squared"):
        MinibatchDescent("logistic", 0.1, 1, soft=SoftLoss("hinge"))
