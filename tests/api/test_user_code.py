"""The user's attacks and networks in whole experiments: what is kept of them, and what does not move the numbers."""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.experiment.tiny import DIM, blobs
from torch import Tensor, nn

from perturblearn import audit, learn_from_perturbations, perturb, plan
from perturblearn.results import Result
from perturblearn.seeding import reproducible

KEYS: dict[str, Any] = {
    "seeds": 1, "attack.norm": "linf", "attack.epsilon": 0.2, "attack.targets": "other", "controls.draws": 1,
    **{f"{role}.model.name": "mlp" for role in ("standard", "perturbation")},
    **{f"{role}.model.hidden_dim": 8 for role in ("standard", "perturbation")},
    **{f"{role}.epochs": 2 for role in ("standard", "perturbation")},
}  # fmt: skip
DATA = blobs()


def towards(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The direction in which the targets become likelier."""
    inputs = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(inputs), targets, reduction="sum"), inputs)
    return -gradient.sign()


def step(model: nn.Module, inputs: Tensor, targets: Tensor, *, epsilon: float, value_range: Any) -> Tensor:
    return (inputs + epsilon * towards(model, inputs, targets)).clamp(*value_range)


def run(attack: Any, out: Path | None = None, /, **more: Any) -> Result:
    return learn_from_perturbations(data=DATA, attack=attack, overrides=KEYS | more, out=out, report=False)


def numbers(result: Result) -> dict[str, Any]:
    return {name: measured["mean"] for name, measured in result.summary.items()}


def test_epsilon_is_swept_with_an_own_attack() -> None:
    success: list[float] = []
    for size in (0.0, 0.1, 0.4):
        keys: dict[str, Any] = {"standard.epochs": 20, "standard.lr": 0.05, "attack.epsilon": size}
        success.append(numbers(run(step, **keys))["attack_success"])
    assert success[0] < success[1] < success[2]


def locked() -> tuple[Callable[..., Tensor], list[int]]:
    """An attack that nothing identifies, and its calls."""
    lock, calls = threading.Lock(), []

    def attack(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        with lock:
            calls.append(len(inputs))
            return inputs

    return attack, calls


SAID = r"nothing identifies lock \(_thread.lock\) of the attack attack, so results that depend on it are computed anew"


def test_what_nothing_identifies_is_computed_every_time(tmp_path: Path) -> None:
    attack, calls = locked()
    planned = plan(data=DATA, attack=attack, overrides=KEYS, out=tmp_path)
    assert f"N{SAID[1:]} every time." in planned.describe().replace("(", r"\(").replace(")", r"\)")
    assert len(planned.to_dict()["unidentified"]) == 1
    with pytest.warns(UserWarning, match=SAID):
        first = run(attack, tmp_path)
    assert first.folder is not None
    assert first.folder.is_dir()
    count = len(calls)
    assert count > 0
    again = plan(data=DATA, attack=attack, overrides=KEYS, out=tmp_path)
    # What does not depend on the attack is kept: f, its measures, and the control that sees no perturbed set.
    assert {stage.kind for stage in again.finished} == {"standard network", "standard measures", "control"}
    with pytest.warns(UserWarning, match=SAID):
        second = run(attack, tmp_path)
    assert len(calls) > count
    assert numbers(second) == numbers(first)


def test_sets_of_what_nothing_identifies_are_written_every_time(tmp_path: Path) -> None:
    attack, calls = locked()
    for _ in range(2):
        count = len(calls)
        with pytest.warns(UserWarning, match=SAID):
            (stored,) = perturb(data=DATA, attack=attack, overrides=KEYS, out=tmp_path)
        assert len(calls) > count
        assert torch.equal(stored.load().inputs, DATA.inputs)


def test_what_is_identified_is_kept(tmp_path: Path) -> None:
    run(step, tmp_path)
    assert not plan(data=DATA, attack=step, overrides=KEYS, out=tmp_path).to_run


class Noisy(nn.Module):
    """A network that draws in evaluation mode, from every generator that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(DIM, 16), nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = nn.functional.dropout(torch.relu(self.hidden(inputs.flatten(1))), 0.3)
        shift = random.random() + float(np.random.uniform())  # noqa: NPY002 - as a user's network may
        return self.out(hidden + 0.1 * shift * torch.rand_like(hidden))


def noisy() -> nn.Module:
    with reproducible(0):
        return Noisy()


def drawn_meanwhile() -> list[float]:
    return [float(torch.rand(1)), random.random(), float(np.random.rand())]  # noqa: NPY002


AUDIT: dict[str, Any] = {"seeds": 1, "controls.draws": 1, "perturbation.epochs": 1, "attack.steps": 2}


def audited(out: Path | None = None, **more: Any) -> dict[str, Any]:
    found = audit(noisy(), DATA, learners=["mlp"], epsilons={"l2": 0.5}, overrides=AUDIT | more, out=out)
    return {name: measured["mean"] for name, measured in found.cells[0].summary.items()}


def test_a_network_that_draws_gives_the_same_numbers_again(tmp_path: Path) -> None:
    first = audited()
    drawn_meanwhile()
    assert audited() == first
    # Neither whether results are read back, nor which of them are computed at all.
    audited(tmp_path, **{"attack.steps": 1})
    assert audited(tmp_path) == first
    assert audited(tmp_path) == first


def test_an_attack_that_draws_gives_the_same_numbers_again() -> None:
    def noise(model: nn.Module, inputs: Tensor, targets: Tensor, *, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(inputs.shape) * random.random() * torch.rand(inputs.shape, generator=generator)
        return (inputs + 0.2 * drawn).clamp(0, 1)

    first = numbers(run(noise))
    drawn_meanwhile()
    assert numbers(run(noise)) == first
    assert numbers(run(noise, seeds=[1])) != first


SETTINGS: list[Callable[[], Any]] = [
    lambda: torch.set_default_dtype(torch.float64),
    lambda: torch.set_grad_enabled(False),
    lambda: torch.set_autocast_enabled("cpu", True),
    lambda: torch.set_float32_matmul_precision("medium"),
    lambda: torch.set_default_device("meta"),
]


@pytest.mark.parametrize("two_layer", [False, True])
def test_a_program_s_settings_do_not_show(*, two_layer: bool) -> None:
    of_two = {"data.name": "gauss", "data.n_samples": 40, "data.n_heldout": 40, "data.input_dim": 10, "seeds": 1}
    of_two |= {"standard.epochs": 3, "perturbation.epochs": 3, "controls.draws": 1}

    def measured() -> dict[str, Any]:
        if two_layer:
            return numbers(learn_from_perturbations(overrides=of_two))
        return numbers(run(step))

    expected = measured()
    for setting in SETTINGS:
        with reproducible(0), warnings.catch_warnings():  # which undoes it
            setting()
            assert measured() == expected


def moved(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """A step, after everything that an attack should not do to f."""
    perturbed = (inputs + 0.2 * towards(model, inputs, targets)).clamp(0, 1)
    model.train()
    for parameter in model.parameters():
        parameter.data.zero_()
    torch.set_grad_enabled(False)
    torch.manual_seed(3)
    return perturbed


def test_what_an_attack_does_to_f_is_not_measured() -> None:
    def tidy(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return (inputs + 0.2 * towards(model, inputs, targets)).clamp(0, 1)

    assert numbers(run(moved)) == numbers(run(tidy))


def test_weights_that_are_trained_again_between_two_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "loaded.py").write_text(
        f"import torch\n\n\ndef load():\n    net = torch.nn.Linear({DIM}, 3)\n"
        f"    net.load_state_dict(torch.load({str(tmp_path / 'weights.pt')!r}))\n    return net\n"
    )
    accuracy: list[float] = []
    for sign in (1, -1):
        # Means of the classes as weights recognise them, and their negatives do not.
        means = torch.stack([DATA.inputs[DATA.labels == label].mean(dim=0) for label in range(3)])
        torch.save({"weight": sign * (means - means.mean(dim=0)), "bias": torch.zeros(3)}, tmp_path / "weights.pt")
        found = audit("loaded:load", DATA, learners=["mlp"], epsilons={"l2": 0.5}, overrides=AUDIT, out=tmp_path)
        accuracy.append(found.cells[0].summary["standard_accuracy_heldout"]["mean"])
    assert accuracy[0] > 0.5 > 0.3 > accuracy[1]
