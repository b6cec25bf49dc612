"""Training with a kernel that stands still, against its closed form, a plain loop, and networks."""

from __future__ import annotations

import pytest
import torch
from tests.theory.reference import normal
from torch import Tensor, nn

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory import empirical_kernel, kernel_training
from perturblearn.training import LOSSES

Y = torch.tensor([1, -1, 1, 1, -1, -1])


def kernel_of(seed: int = 0) -> Tensor:
    x = normal(6, 9, seed=seed)
    return x @ x.T


def by_small_steps(kernel: Tensor, y: Tensor, initial: Tensor, time: float, loss: str, steps: int) -> Tensor:
    learned = torch.zeros(len(y), dtype=torch.float64)
    for _ in range(steps):
        margins = y * (initial + kernel @ learned)
        learned -= time / steps * y * LOSSES[loss].derivative(margins) / len(y)
    return learned


def test_the_identity_loss_is_one_straight_line() -> None:
    found = kernel_training(kernel_of(), Y, torch.zeros(6), time=3.5, derivative=LOSSES["identity"].derivative)
    assert torch.allclose(found, 3.5 * Y.double() / 6, rtol=1e-14)


@pytest.mark.parametrize("loss", ["logistic", "exponential"])
@pytest.mark.parametrize("time", [0.3, 20.0])
def test_flow_is_the_limit_of_small_steps(loss: str, time: float) -> None:
    kernel, initial = kernel_of(), normal(6, seed=3)
    derivative = LOSSES[loss].derivative
    found = kernel_training(kernel, Y, initial, time=time, derivative=derivative, tolerance=1e-6)
    # Euler's error is one over its steps, but for terms of one over their square: extrapolation takes it away.
    coarse, fine = (by_small_steps(kernel, Y, initial, time, loss, steps) for steps in (1000, 2000))
    distance = (found - (2 * fine - coarse)).abs().max()
    assert distance < 0.1 * (fine - coarse).abs().max() < 0.01 * found.abs().max()
    rough = kernel_training(kernel, Y, initial, time=time, derivative=derivative)
    assert (kernel @ (rough - found)).abs().max() < 0.02 * (kernel @ found).abs().max()


def test_a_stiff_kernel_stays_stable() -> None:
    kernel, initial = 1e4 * kernel_of(), torch.zeros(6)
    found = kernel_training(kernel, Y, initial, time=1.0, derivative=LOSSES["logistic"].derivative)
    margins = Y * (kernel @ found)
    assert margins.min() > 0
    # Margins obey s' = K/n sigmoid(-s): after times as long as these they grow as a logarithm.
    assert margins.max() < 20


def test_a_network_that_is_linear_in_its_parameters_is_its_own_kernel() -> None:
    torch.manual_seed(0)
    module, x, z = nn.Linear(4, 1).double(), normal(6, 4, seed=0), normal(5, 4, seed=1)
    kernel, cross = empirical_kernel(module, x), empirical_kernel(module, z, x)
    with torch.no_grad():
        start, before = module(x).flatten(), module(z).flatten()
    multipliers = kernel_training(kernel, Y, start, time=2.0, derivative=LOSSES["logistic"].derivative, tolerance=1e-6)
    optimiser = torch.optim.SGD(module.parameters(), lr=4e-3)
    for _ in range(500):
        optimiser.zero_grad()
        LOSSES["logistic"](Y * module(x).flatten()).mean().backward()
        optimiser.step()
    trained = module(z).detach().flatten()
    # 500 steps of Euler: relative error of the order of 1/500.
    assert (before + cross @ multipliers - trained).norm() < 5e-3 * (trained - before).norm()


def test_no_time_no_change() -> None:
    found = kernel_training(kernel_of(), Y, torch.zeros(6), time=0.0, derivative=LOSSES["logistic"].derivative)
    assert torch.equal(found, torch.zeros(6, dtype=torch.float64))


def test_bad_input() -> None:
    derivative = LOSSES["logistic"].derivative
    with pytest.raises(ConfigError, match=r"time = -1.0, but training goes forward; give a time of 0 or more"):
        kernel_training(kernel_of(), Y, torch.zeros(6), time=-1.0, derivative=derivative)
    with pytest.raises(DataError, match=r"initial outputs \(5,\) for 6 labels; give \(n, n\) and \(n,\)"):
        kernel_training(kernel_of(), Y, torch.zeros(5), time=1.0, derivative=derivative)
    with pytest.raises(DataError, match="labels must be"):
        kernel_training(kernel_of(), 2 * Y, torch.zeros(6), time=1.0, derivative=derivative)
    with pytest.raises(DataError, match="the loss's derivative holds NaN or infinite values"):
        kernel_training(kernel_of(), Y, -1e4 * Y, time=1.0, derivative=LOSSES["exponential"].derivative)
    with pytest.raises(DataError, match="kernel holds NaN"):
        kernel_training(kernel_of() / 0 * 0, Y, torch.zeros(6), time=1.0, derivative=derivative)
