"""Losses and their derivatives, against autograd and their limits."""

from __future__ import annotations

import math

import pytest
import torch
from tests.training.reference import LOSSES as PLAIN

from perturblearn.training import LOSSES

MARGINS = [-800.0, -40.0, -1.5, -1e-9, 0.0, 1e-9, 0.3, 40.0, 800.0]


@pytest.mark.parametrize("name", ["identity", "logistic", "exponential"])
def test_value_and_derivative(name: str) -> None:
    margins = torch.tensor([s for s in MARGINS if name != "exponential" or s > -700], dtype=torch.float64)
    leaf = margins.clone().requires_grad_()
    expected = PLAIN[name](leaf)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    # A few roundings in each of two ways to compute the same function. Beyond 20, softplus is linear and drops
    # exp(-40) of 40, which is below one rounding.
    assert torch.allclose(LOSSES[name](margins), expected.detach(), rtol=8 * 2**-52, atol=1e-17)
    assert torch.allclose(LOSSES[name].derivative(margins), slope, rtol=8 * 2**-52, atol=1e-17)
    assert LOSSES[name].name == name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_logistic_loss_does_not_overflow(dtype: torch.dtype) -> None:
    margins = torch.tensor([-800.0, 800.0, -3e4], dtype=dtype)
    # log(1 + exp(s)) = s + log(1 + exp(-s)): exactly s in floating point, or 0.
    assert LOSSES["logistic"](margins).tolist() == [800.0, 0.0, 3e4]
    assert LOSSES["logistic"].derivative(margins).tolist() == [-1.0, -0.0, -1.0]


def test_known_values() -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    assert [float(LOSSES[name](zero)) for name in LOSSES] == pytest.approx([0, math.log(2), 1], rel=2**-52)
    assert [float(LOSSES[name].derivative(zero)) for name in LOSSES] == [-1, -0.5, -1]


@pytest.mark.parametrize("name", ["identity", "logistic", "exponential"])
def test_the_margins_are_not_overwritten(name: str) -> None:
    margins = torch.tensor([1.0, -2.0])
    for function in (LOSSES[name], LOSSES[name].derivative):
        function(margins)
    assert margins.tolist() == [1.0, -2.0]
