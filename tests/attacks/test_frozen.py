from __future__ import annotations

import pytest
import torch
from torch import nn

from perturblearn.attacks import frozen


def test_inside_everything_is_fixed_and_outside_as_before() -> None:
    norm, last = nn.BatchNorm1d(4), nn.Linear(4, 1)
    inner = nn.Sequential(nn.Dropout(), norm).eval()
    norm.train()
    last.weight.requires_grad_(False)
    module = nn.Sequential(nn.Linear(3, 4), inner, last)
    flags = [part.training for part in module.modules()]
    learning = [parameter.requires_grad for parameter in module.parameters()]

    def fail() -> None:
        with frozen(module):
            assert not module(torch.ones(2, 3)).requires_grad
            with frozen(module):
                pass
            assert not any(part.training for part in module.modules())
            assert not any(parameter.requires_grad for parameter in module.parameters())
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert [part.training for part in module.modules()] == flags == [True, True, False, False, True, True]
    assert [parameter.requires_grad for parameter in module.parameters()] == learning
    assert learning.count(False) == 1


def test_a_module_that_refuses_evaluation_mode_is_left_alone() -> None:
    class Stubborn(nn.Linear):
        def train(self, mode: bool = True) -> Stubborn:
            if not mode:
                raise NotImplementedError("only training")
            return super().train(mode)

    module = nn.Sequential(nn.Dropout(), Stubborn(2, 2))
    with pytest.raises(NotImplementedError, match="only training"), frozen(module):
        pass
    assert all(part.training for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())
