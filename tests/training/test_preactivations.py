"""Preactivations that move with the weights, against products."""

from __future__ import annotations

import pytest
import torch

from perturblearn.training.preactivations import Preactivations


@pytest.mark.parametrize("own_inputs", [False, True])
@pytest.mark.parametrize("with_biases", [False, True])
def test_preactivations_move_as_the_weights_do(own_inputs: bool, with_biases: bool) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = draw(2, 9, 5) if own_inputs else draw(9, 5)
    weights, velocity, gradient = draw(2, 3, 5), draw(2, 3, 5), draw(2, 3, 5)
    biases = (draw(2, 3), draw(2, 3), draw(2, 3)) if with_biases else None
    moving = Preactivations(inputs, weights, velocity, gradient, biases)
    rates = [0.1, 0.03]
    for epoch in range(30):
        if epoch == 10:  # one unit of the second network gets another gradient
            units = torch.tensor([2])
            gradient[1, units] = draw(1, 5)
            if biases is not None:
                biases[2][1, units] = draw(1)
            moving.change_gradient(1, units, gradient[1, units], None if biases is None else biases[2][1, units])
        moving.step(0.9, rates)
        for network, rate in enumerate(rates):
            velocity[network] = 0.9 * velocity[network] + gradient[network]
            weights[network] -= rate * velocity[network]
            if biases is not None:
                biases[1][network] = 0.9 * biases[1][network] + biases[2][network]
                biases[0][network] -= rate * biases[1][network]
    expected = weights @ inputs.mT + (0 if biases is None else biases[0][:, :, None])
    # 30 steps of float64 sums.
    assert torch.allclose(moving.values, expected, rtol=1e-12, atol=1e-12)
