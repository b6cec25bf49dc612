from __future__ import annotations

import math

import pytest
import torch
from tests.theory.reference import normal

from perturblearn.attacks import input_gradient
from perturblearn.classifiers import initialise
from perturblearn.config import OneHiddenConfig, TwoLayerConfig
from perturblearn.errors import ConfigError
from perturblearn.theory import (
    GateKernel,
    cosine_similarity,
    expected_cosine,
    lazy_prediction,
    standard_prediction,
    training_time,
)
from perturblearn.training import Descent


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_time_is_what_a_constant_gradient_moves_weights_by(momentum: float) -> None:
    for epochs in (1, 2, 7, 100):
        weight = velocity = 0.0
        for _ in range(epochs):
            velocity = momentum * velocity - 1.0  # the gradient is -1
            weight -= 0.3 * velocity
        assert training_time(0.3, epochs, momentum) == pytest.approx(weight, rel=1e-12)


def test_the_closed_form_at_the_papers_momentum() -> None:
    for epochs in (1, 10, 1000):
        assert training_time(0.1, epochs) == pytest.approx(10 * 0.1 * (epochs - 9 * (1 - 0.9**epochs)), rel=1e-12)
    assert training_time([0.1, 0.1, 0.01], 3) == pytest.approx(0.1 + 0.1 * 1.9 + 0.01 * 2.71)
    with pytest.raises(ConfigError, match="2 learning rates for 3 epochs"):
        training_time([0.1, 0.1], 3)


def test_a_wide_network_trained_a_little_is_the_lazy_function() -> None:
    x, z = normal(20, 6, seed=0), normal(30, 6, seed=1)
    y = torch.tensor([1, -1] * 10)
    width, slope = 40_000, 0.2
    start = initialise(TwoLayerConfig(hidden_dim=width, slope=slope), 6, seed=0, role="standard").double()
    trained = Descent("identity", 0.05, 10).train(start, x, y)
    lazy = lazy_prediction(
        x, y, z, kernel=GateKernel(slope, trained_bias=True), time=training_time(0.05, 10), initial=start(z).detach()
    )
    learned = lazy - start(z).detach()
    # The kernel is a mean over m units, off by a few 1/sqrt(m) = 0.005; gates that flip add as much.
    assert float((trained.outputs(z) - lazy).norm() / learned.norm()) < 0.03
    assert torch.allclose(
        learned, training_time(0.05, 10) * standard_prediction(x, y, z, kernel=GateKernel(slope, trained_bias=True))
    )


def test_without_a_bias() -> None:
    x, z = normal(20, 6, seed=0), normal(30, 6, seed=1)
    y = torch.tensor([1, -1] * 10)
    start = initialise(OneHiddenConfig(hidden_dim=40_000, slope=0.2), 6, seed=0, role="f").double()
    trained = Descent("identity", 0.02, 10).train(start, x, y)
    lazy = lazy_prediction(
        x, y, z, kernel=GateKernel(0.2, bias=False), time=training_time(0.02, 10), initial=start(z).detach()
    )
    learned = lazy - start(z).detach()
    # Uniform weights in 6 dimensions are not Gaussian: angles between gates are a few percent off.
    assert float((trained.outputs(z) - lazy).norm() / learned.norm()) < 0.1


def test_perturbations_turn_as_expected() -> None:
    dim = 2000
    x = normal(60, dim, seed=0)
    y = torch.tensor([1, -1] * 30)
    start = initialise(TwoLayerConfig(hidden_dim=4000), dim, seed=0, role="standard").double()
    for epochs in (2, 4, 8):
        f = Descent("identity", 0.01, epochs).train(start, x, y)
        found = cosine_similarity(x, y, input_gradient(f.module, x), kernel=GateKernel(0.0)).abs().mean()
        expected = expected_cosine(x, y, kernel=GateKernel(0.0), time=training_time(0.01, epochs)).mean()
        # The initial gradient's component along t_n, 1/sqrt(d) = 0.02 of its length, and 1/sqrt(m) of the kernel.
        assert float(found) == pytest.approx(float(expected), abs=0.06)


def test_variance_of_the_initial_output() -> None:
    z = normal(3, 10, seed=0) * torch.tensor([[0.1], [1.0], [3.0]])
    outputs = torch.stack(
        [
            initialise(TwoLayerConfig(hidden_dim=50, slope=0.3), 10, seed=seed, role="f").double()(z)
            for seed in range(2000)
        ]
    ).detach()
    # Variance of a variance over n draws: sqrt(2/n) of it, more for the heavier tails of 50 units.
    expected = GateKernel(0.3).initial_covariance(z).diagonal()
    assert torch.allclose(outputs.var(dim=0), expected, rtol=5 * math.sqrt(2 / 2000))
