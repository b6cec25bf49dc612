"""Networks of the user's own that cannot work: one sentence before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import perturblearn
from perturblearn.errors import ModelError

KEYS = {
    "seeds": 1,
    "controls.draws": 0,
    "attack.name": "pgd",
    "attack.steps": 1,
    "standard.epochs": 1,
    "perturbation.epochs": 1,
    "perturbation.model.name": "mlp",
}
UNTRAINED = {**KEYS, "standard.training": "none", "standard.epochs": None}
INPUTS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
DATA = perturblearn.dataset_from((INPUTS, torch.arange(40) % 3))
PAIR = perturblearn.dataset_from((INPUTS, torch.arange(40) % 2))


class Net(nn.Module):
    def __init__(self, last: Callable[[Tensor], Any], outputs: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(6, outputs)
        self.last = last

    def forward(self, inputs: Tensor) -> Any:
        return self.last(self.layer(inputs))


class Picky(Net):
    """Fails in training mode only."""

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            raise LookupError("no such batch")
        return super().forward(inputs)


def frozen() -> nn.Module:
    return Net(lambda logits: logits).requires_grad_(False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Picky(lambda logits: logits),
            r"cannot be trained on inputs .* \(LookupError: no such batch\)",
        ),
        (frozen, "has no parameter that can be trained"),
        (lambda: Net(Tensor.detach), "cannot be trained .* its outputs must depend on its parameters"),
        (lambda: Net(lambda logits: logits * float("nan")), "returns NaN for 31 of 31 inputs"),
        (lambda: Net(lambda logits: logits, outputs=4), r"returns outputs of shape \(2, 4\)"),
    ],
)
def test_a_learner_that_cannot_work_costs_no_training(
    make: Callable[[], nn.Module], message: str, tmp_path: Path
) -> None:
    keys = {key: value for key, value in KEYS.items() if key != "perturbation.model.name"}
    with pytest.raises(ModelError, match=f"^perturbation classifier, .*{message}"):
        perturblearn.learn_from_perturbations(
            data=DATA, perturbation=make, overrides={**keys, "standard.model.name": "mlp"}, out=tmp_path
        )
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("make", "data", "message"),
    [
        (lambda: Net(lambda logits: logits.softmax(dim=1)), DATA, "each row is between 0 and 1 and sums to 1"),
        (lambda: Net(lambda logits: (logits.softmax(dim=1),)), DATA, "each row is between 0 and 1 and sums to 1"),
        (lambda: Net(lambda logits: logits.softmax(dim=1), outputs=2), PAIR, "remove the softmax at its end"),
        (lambda: Net(torch.sigmoid, outputs=1), PAIR, "so all inputs get the first class; remove the sigmoid"),
    ],
)
@pytest.mark.filterwarnings("ignore:.* is taken as its outputs")
def test_probabilities_are_warned_of(make: Callable[[], nn.Module], data: Any, message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        perturblearn.learn_from_perturbations(data=data, standard=make(), overrides=UNTRAINED)


def test_logits_are_not_warned_of() -> None:
    with warnings.catch_warnings(action="error"):
        for last in (lambda logits: logits, lambda logits: logits.log_softmax(dim=1)):
            perturblearn.learn_from_perturbations(
                data=DATA,
                standard=Net(last),
                perturbation=lambda: Net(lambda logits: logits),
                overrides={key: value for key, value in UNTRAINED.items() if key != "perturbation.model.name"},
            )
