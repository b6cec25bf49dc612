from __future__ import annotations

import pytest
import torch
from torch import nn

from perturblearn.attacks import frozen


def test_inside_everything_is_fixed_and_outside_as_before() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(4)), nn.Linear(4, 1))
    module[1].eval()
    assert isinstance(module[1], nn.Sequential)
    module[1][1].train()
    module[2].weight.requires_grad_(False)
    flags = [part.training for part in module.modules()]
    learning = [parameter.requires_grad for parameter in module.parameters()]
    with pytest.raises(KeyError, match="inside"), frozen(module):
        assert not any(part.training for part in module.modules())
        assert not any(parameter.requires_grad for parameter in module.parameters())
        outputs = module(torch.ones(2, 3))
        assert not outputs.requires_grad
        with frozen(module):
            pass
        assert not any(part.training for part in module.modules())
        assert not any(parameter.requires_grad for parameter in module.parameters())
        raise KeyError("inside")
    assert [part.training for part in module.modules()] == flags == [True, True, False, False, True, True]
    assert [parameter.requires_grad for parameter in module.parameters()] == learning


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
