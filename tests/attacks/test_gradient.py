"""The gradient of f in its inputs, by autograd, in closed form and by differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import input_gradient
from perturblearn.classifiers import TwoLayer
from perturblearn.errors import ModelError


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(*, slope: float = 0.1, bias: bool = True) -> TwoLayer:
    return TwoLayer(draw(7, 12, seed=1), draw(7, seed=2), draw(7, seed=3) if bias else None, slope)


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("bias", [True, False])
def test_closed_form_and_differences(slope: float, bias: bool) -> None:
    """grad f(x) = sum_j a_j phi'(w_j . x + b_j) w_j."""
    module, inputs = network(slope=slope, bias=bias), draw(20, 12)
    found = input_gradient(module, inputs)
    hidden = inputs @ module.weight.detach().T + (0 if module.bias is None else module.bias.detach())
    gates = torch.where(hidden > 0, torch.ones_like(hidden), slope)
    # Sums of 7 products of numbers below 10.
    assert torch.allclose(found, (gates * module.readout) @ module.weight.detach(), rtol=0, atol=100 * 8 * 2**-53)
    # f is linear between flips: central differences over 1e-7 are exact but for rounding, 1e-15 * 100 / 1e-7; the
    # draws come no nearer to a flip than the step reaches.
    step = 1e-7
    assert float(hidden.abs().min()) > 20 * step
    for coordinate in range(12):
        moved = torch.zeros(12, dtype=torch.float64)
        moved[coordinate] = step
        with torch.no_grad():
            slope_found = (module(inputs + moved) - module(inputs - moved)) / (2 * step)
        assert torch.allclose(found[:, coordinate], slope_found, rtol=0, atol=1e-6)


@pytest.mark.parametrize("block", [1, 3, 19, 20, 21])
def test_block_and_shape(block: int) -> None:
    module, inputs = network(), draw(20, 3, 2, 2)
    found = input_gradient(module, inputs, block=block)
    assert found.shape == inputs.shape
    assert not found.requires_grad
    # As above: one product in another order.
    assert torch.allclose(found.flatten(1), input_gradient(module, inputs.flatten(1)), rtol=0, atol=100 * 8 * 2**-53)


def test_any_module_under_no_grad_and_nothing_left_behind() -> None:
    module, inputs = nn.Sequential(nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double(), draw(4, 12)
    with torch.no_grad():
        found = input_gradient(module, inputs)
    leaf = inputs.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(leaf).sum(), leaf)
    assert torch.equal(found, expected)
    assert not inputs.requires_grad
    assert all(parameter.grad is None for parameter in module.parameters())
    assert input_gradient(module, inputs[:0]).shape == (0, 12)


def logits_of(*, outputs: int) -> nn.Sequential:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Dropout(), nn.Linear(5, outputs)).double()
    for number, parameter in enumerate(module.parameters()):
        parameter.data = draw(*parameter.shape, seed=number)
    return module


def test_towards_targets_of_two_classes_it_is_the_gradient_with_their_sign() -> None:
    module, inputs = network(), draw(20, 12)
    targets = torch.where(torch.arange(20) % 3 == 0, 1, -1)
    assert torch.equal(input_gradient(module, inputs, targets), targets[:, None] * input_gradient(module, inputs))


@pytest.mark.parametrize("block", [None, 3])
def test_logits_by_the_jacobian(block: int | None) -> None:
    """Minus the cross-entropy's gradient is the target's row of the Jacobian less the mean row under the softmax."""
    module, inputs = logits_of(outputs=4).train(), draw(8, 12)
    targets = torch.arange(8) % 4
    found = input_gradient(module, inputs.view(8, 3, 4), targets, block=block)
    assert module.training
    module.eval()
    for row in range(8):
        jacobian = torch.autograd.functional.jacobian(module, inputs[row : row + 1])
        assert isinstance(jacobian, Tensor)
        jacobian = jacobian[0, :, 0]
        with torch.no_grad():
            shares = module(inputs[row : row + 1])[0].softmax(dim=0)
        # Sums of some 50 products of numbers below 10.
        expected = jacobian[targets[row]] - shares @ jacobian
        assert torch.allclose(found[row].flatten(), expected, rtol=0, atol=100 * 50 * 2**-53)


def test_two_logits_are_a_margin_by_halves() -> None:
    """Logits (-f/2, f/2) have the direction y' grad f, and the length of grad f times the other class's probability."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = network()

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.stack((-self.f(inputs) / 2, self.f(inputs) / 2), dim=1)

    inputs = 0.1 * draw(20, 12)
    classes = torch.arange(20) % 2
    targets = 2 * classes - 1
    with torch.no_grad():
        other = torch.sigmoid(-targets * network()(inputs))
    expected = other[:, None] * input_gradient(network(), inputs, targets)
    assert torch.allclose(input_gradient(Halves(), inputs, classes), expected, rtol=1e-10, atol=1e-14)


def test_targets_that_do_not_fit() -> None:
    with pytest.raises(ModelError, match="Sequential has 4 outputs per input, whose gradient depends on the target"):
        input_gradient(logits_of(outputs=4), draw(3, 12))
    with pytest.raises(ModelError, match="so targets must lie between 0 and 3, but they run from -1 to 1"):
        input_gradient(logits_of(outputs=4), draw(3, 12), torch.tensor([1, -1, 1]))
    with pytest.raises(ModelError, match=r"so targets must be \+1 or -1, but they run from 0 to 2"):
        input_gradient(logits_of(outputs=1), draw(3, 12), torch.tensor([0, 1, 2]))
