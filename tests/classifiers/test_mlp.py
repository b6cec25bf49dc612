"""Fully connected networks against their formula."""

from __future__ import annotations

import pytest
import torch
from tests.classifiers.reference import ROUNDING, draw, randomise

from perturblearn.classifiers import MLP, make_network
from perturblearn.config import NetworkConfig
from perturblearn.data import Signature
from perturblearn.theory import DeepKernel, empirical_kernel


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_against_the_formula(depth: int, slope: float) -> None:
    """max(u, slope u) after every linear layer but the last."""
    network = randomise(MLP(12, 3, hidden_dim=7, depth=depth, slope=slope))
    inputs = draw(4, 3, 2, 2, seed=9)
    weights = [tensor for tensor in network.state_dict().values() if tensor.ndim == 2]
    biases = [tensor for tensor in network.state_dict().values() if tensor.ndim == 1]
    assert [tuple(weight.shape) for weight in weights] == [(7, 12), *[(7, 7)] * (depth - 1), (3, 7)]
    hidden = inputs.reshape(4, 12)
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        hidden = hidden @ weight.T + bias
        if number < depth:
            hidden = torch.maximum(hidden, slope * hidden)
    assert torch.allclose(network(inputs), hidden, rtol=0, atol=ROUNDING)
    assert torch.equal(network(inputs), network(inputs.flatten(1)))


@pytest.mark.parametrize("depth", [1, 3])
def test_the_tangent_kernel_s_parametrisation(depth: int) -> None:
    """The kernel and the outputs of wide networks at their start are those at infinite width."""
    config = NetworkConfig.model_validate(
        {"name": "mlp", "depth": depth, "hidden_dim": 512, "slope": 0.1, "parametrization": "ntk", "normalise": False}
    )
    signature = Signature((6,), 2, 0.0, (0.0,), (1.0,))
    inputs = draw(4, 6, seed=9)
    networks = [make_network(config, signature, seed=seed, role="f").double() for seed in range(24)]
    limit = DeepKernel(depth, 0.1, sigma_b=0.1)
    kernels = torch.stack([empirical_kernel(network, inputs) for network in networks])
    error = kernels.std(dim=0) / 24**0.5
    assert bool(((kernels.mean(dim=0) - limit(inputs)).abs() < 5 * error).all())
    outputs = torch.stack([network(inputs).detach() for network in networks])
    products = outputs[:, :, None] * outputs[:, None, :]
    error = products.std(dim=0) / 24**0.5
    assert bool(((products.mean(dim=0) - limit.initial_covariance(inputs)).abs() < 5 * error).all())


def test_the_default_depth_and_slope() -> None:
    network = MLP(5, 1, hidden_dim=4)
    assert sum(parameter.numel() for parameter in network.parameters()) == 5 * 4 + 4 + 4 * 4 + 4 + 4 + 1
    assert [layer.negative_slope for layer in network.layers if isinstance(layer, torch.nn.LeakyReLU)] == [0.0, 0.0]
