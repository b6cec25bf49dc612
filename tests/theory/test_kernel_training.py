"""Training with a kernel that stands still, against its closed form, a plain loop, and networks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from tests.theory.reference import normal
from torch import Tensor, nn

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory import EmpiricalKernel, Kernel, kernel_training
from perturblearn.training import LOSSES

Y = torch.tensor([1, -1, 1, 1, -1, -1])
ZEROS = torch.zeros(6, dtype=torch.float64)


X = normal(6, 9, seed=0)


@dataclass(frozen=True)
class LinearKernel(Kernel):
    """The kernel of a linear model."""

    scale: float = 1.0

    def __call__(self, x: Tensor, z: Tensor | None = None, *, workspace: int | None = None) -> Tensor:
        return self.scale * x @ (x if z is None else z).T


LINEAR = LinearKernel()


def by_small_steps(kernel: Tensor, y: Tensor, initial: Tensor, time: float, loss: str, steps: int) -> Tensor:
    learned = torch.zeros(len(y), dtype=torch.float64)
    for _ in range(steps):
        margins = y * (initial + kernel @ learned)
        learned -= time / steps * y * LOSSES[loss].derivative(margins) / len(y)
    return learned


def test_the_identity_loss_is_one_straight_line() -> None:
    found = kernel_training(X, Y, ZEROS, kernel=LINEAR, time=3.5, derivative=LOSSES["identity"].derivative)
    assert torch.allclose(found, 3.5 * Y.double() / 6, rtol=1e-14)


@pytest.mark.parametrize("loss", ["logistic", "exponential"])
@pytest.mark.parametrize("time", [0.3, 20.0])
def test_flow_is_the_limit_of_small_steps(loss: str, time: float) -> None:
    kernel, initial = LINEAR(X), normal(6, seed=3)
    derivative = LOSSES[loss].derivative
    found = kernel_training(X, Y, initial, kernel=LINEAR, time=time, derivative=derivative, tolerance=1e-6)
    # Euler's error is one over its steps, but for terms of one over their square: extrapolation takes it away.
    coarse, fine = (by_small_steps(kernel, Y, initial, time, loss, steps) for steps in (1000, 2000))
    distance = (found - (2 * fine - coarse)).abs().max()
    assert distance < 0.1 * (fine - coarse).abs().max() < 0.01 * found.abs().max()
    rough = kernel_training(X, Y, initial, kernel=LINEAR, time=time, derivative=derivative)
    assert (kernel @ (rough - found)).abs().max() < 0.02 * (kernel @ found).abs().max()


def test_a_stiff_kernel_stays_stable() -> None:
    kernel = LinearKernel(1e4)
    found = kernel_training(X, Y, ZEROS, kernel=kernel, time=1.0, derivative=LOSSES["logistic"].derivative)
    margins = Y * (kernel(X) @ found)
    assert margins.min() > 0
    # Margins obey s' = K/n sigmoid(-s): after times as long as these they grow as a logarithm.
    assert margins.max() < 20


def test_a_network_that_is_linear_in_its_parameters_is_its_own_kernel() -> None:
    torch.manual_seed(0)
    module, x, z = nn.Linear(4, 1).double(), normal(6, 4, seed=0), normal(5, 4, seed=1)
    kernel = EmpiricalKernel(module)
    with torch.no_grad():
        start, before = module(x).flatten(), module(z).flatten()
    multipliers = kernel_training(
        x, Y, start, kernel=kernel, time=2.0, derivative=LOSSES["logistic"].derivative, tolerance=1e-6
    )
    optimiser = torch.optim.SGD(module.parameters(), lr=4e-3)
    for _ in range(500):
        optimiser.zero_grad()
        LOSSES["logistic"](Y * module(x).flatten()).mean().backward()
        optimiser.step()
    trained = module(z).detach().flatten()
    # 500 steps of Euler: relative error of the order of 1/500.
    assert (before + kernel.weighted_sum(z, x, multipliers) - trained).norm() < 5e-3 * (trained - before).norm()


def test_two_classes_are_the_logistic_loss() -> None:
    initial, derivative = normal(6, seed=3), LOSSES["logistic"].derivative
    binary = kernel_training(X, Y, initial, kernel=LINEAR, time=2.0, derivative=derivative, tolerance=1e-7)
    # u_0 - u_1 is the binary output, and moves twice as fast as either of them: so half the time.
    logits = torch.stack((initial / 2, -initial / 2), dim=1)
    found = kernel_training(X, (1 - Y) // 2, logits, kernel=LINEAR, time=1.0, tolerance=1e-7)
    assert torch.allclose(found[:, 0] - found[:, 1], binary, atol=1e-6)
    assert torch.allclose(found.sum(dim=1), ZEROS)


def test_several_classes_are_the_limit_of_small_steps() -> None:
    labels, initial = torch.tensor([0, 1, 2, 0, 1, 2]), normal(6, 3, seed=3)
    found = kernel_training(X, labels, initial, kernel=LINEAR, time=3.0, tolerance=1e-7)
    coarse, fine = torch.zeros_like(initial), torch.zeros_like(initial)
    for learned, steps in ((coarse, 1000), (fine, 2000)):
        for _ in range(steps):
            pulled = torch.eye(3)[labels] - (initial + LINEAR(X) @ learned).softmax(dim=1)
            learned += 3.0 / steps * pulled / 6
    assert (found - (2 * fine - coarse)).abs().max() < 0.1 * (fine - coarse).abs().max()


def test_no_time_no_change() -> None:
    found = kernel_training(X, Y, ZEROS, kernel=LINEAR, time=0.0, derivative=LOSSES["logistic"].derivative)
    assert torch.equal(found, torch.zeros(6, dtype=torch.float64))


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input() -> None:
    derivative = LOSSES["logistic"].derivative

    def train(y: Tensor = Y, initial: Tensor = ZEROS, scale: float = 1.0, time: float = 1.0, loss: str = "") -> None:
        used = LOSSES[loss].derivative if loss else derivative
        kernel_training(X, y, initial, kernel=LinearKernel(scale), time=time, derivative=used)

    with pytest.raises(ConfigError, match=r"time = -1.0, but training goes forward; give a time of 0 or more"):
        train(time=-1.0)
    with pytest.raises(DataError, match=r"initial outputs have shape \(5,\) for 6 samples; give one output per sample"):
        train(initial=ZEROS[:5])
    with pytest.raises(DataError, match="labels must be"):
        train(2 * Y)
    with pytest.raises(DataError, match=r"y holds the label -1, but 3 classes have the labels 0 .. 2; renumber"):
        kernel_training(X, Y, normal(6, 3, seed=0), kernel=LINEAR, time=1.0)
    with pytest.raises(DataError, match=r"shape \(6,\) for 6 samples; for the cross-entropy give a logit for each"):
        kernel_training(X, Y, ZEROS, kernel=LINEAR, time=1.0)
    with pytest.raises(DataError, match="the loss's derivative holds NaN or infinite values"):
        train(initial=-1e4 * Y.double(), loss="exponential")
    with pytest.raises(DataError, match="the kernel's matrix holds NaN"):
        train(scale=float("nan"))
