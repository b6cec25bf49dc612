"""Outputs that say nothing are measured, and only then."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import perturblearn
from perturblearn.experiment import MEASURES, StandardMeasure
from perturblearn.experiment.measures import dead_share, taken


@pytest.mark.parametrize(
    ("outputs", "share"),
    [
        (torch.tensor([0.0, 1.0, -1.0, -0.0]), 0.5),
        (torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0], [-1.0, 1.0]]), 0.5),
        (torch.tensor([1e-30, -1e-30]), 0.0),
    ],
)
def test_exact_zeros_and_equal_logits(outputs: Tensor, share: float) -> None:
    assert dead_share(outputs) == share


class Dead(nn.Module):
    """A network whose output is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) * 0


def test_a_dead_network_is_called_so() -> None:
    keys = {"seeds": 1, "standard.training": "none", "perturbation.epochs": 2, "controls.draws": 1}
    data = perturblearn.dataset_from((torch.randn(60, 4), torch.arange(60) % 2))
    with pytest.warns(UserWarning, match="returns the same outputs for all of 32 inputs"):
        result = perturblearn.learn_from_perturbations(data=data, standard=Dead(), overrides=keys)
    assert result.summary["standard_dead_share"]["mean"] == 1
    assert any("f is dead for 1 of 1 seed (0)" in remark for remark in result.remarks)
    assert "perturbation_dead_share" not in result.summary
    assert "standard_dead_share" in str(result)


def test_stages_are_known_as_before() -> None:
    assert isinstance(MEASURES["standard_dead_share"], StandardMeasure)
    assert not any("dead" in name for name in taken(StandardMeasure))
