"""Networks, weights and attacks that cannot be used: one sentence each, exit code 2, nothing executed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.cli.commands import refuse, say, words

SMALL = words(
    "--seeds 1 --data.name digits --data.classes 0,1,2 --data.n_samples 60 --controls.draws 0 "
    "--standard.model.name mlp --standard.epochs 1 --perturbation.model.name mlp --perturbation.epochs 1 "
    "--attack.name pgd --attack.steps 1"
)
OWN = """
import torch


class Broken(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs):
        return self.scale * torch.full((len(inputs), 3), float("nan"))


def wide():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 7))


def needs(depth):
    return wide()


def lazy(model, inputs, targets):
    return inputs[:1]


def far(model, inputs, targets):
    return inputs + 0.5


number = 3
"""


class Opener:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the user's own code, which is the current one."""
    (tmp_path / "own_broken.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_broken", None)


def changed(**keys: str) -> list[str]:
    """The small run with other values; a key's dots are written as underscores doubled."""
    options = dict(zip(SMALL[::2], SMALL[1::2], strict=True))
    options |= {f"--{name.replace('__', '.')}": value for name, value in keys.items()}
    return [word for pair in options.items() for word in pair if pair[1]]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("keys", "part"),
    [
        (
            {"standard__model__name": "own_broken:wide"},
            "the network own_broken:wide returns outputs of shape (2, 7) for n = 2 inputs of 3 classes",
        ),
        ({"standard__model__name": "own_broken:needs"}, "own_broken:needs needs the arguments depth"),
        ({"standard__model__name": "own_broken:number"}, "own_broken:number is of type int"),
        ({"standard__model__name": "own_broken:nothing"}, "names nothing, which the module own_broken"),
        ({"standard__model__name": "no_such_module:net"}, "but there is no module no_such_module"),
        (
            {"standard__model__name": "own_broken:Broken"},
            "standard classifier, own_broken:Broken, lr 0.01, seed 0: ",
        ),
        (
            {"standard__model__name": "own_broken:Broken", "standard__training": "none", "standard__epochs": ""},
            "NaN",
        ),
        ({"attack__name": "own_broken:lazy"}, "the attack lazy returned shape (1, 64) for inputs of shape"),
        ({"attack__name": "own_broken:far", "attack__epsilon": "0.1"}, "the attack far returned"),
        ({"attack__name": "own_broken:number"}, "own_broken:number is of type int; give a function attack"),
        ({"attack__name": "foolbox:L7PGD", "data__centre": "false"}, "foolbox.attacks has no attack 'L7PGD'; choose"),
        (
            {"attack__name": "radial_pgd", "attack__norm": "l0", "attack__pixels": "65", "attack__steps": ""},
            "attack.pixels = 65, but inputs have 64 coordinates; choose between 1 and that number",
        ),
        (
            {"attack__name": "radial_pgd", "attack__norm": "l0", "attack__pixel_share": "0.01", "attack__steps": ""},
            "attack.pixel_share = 0.01 of 64 coordinates is less than one of them; choose at least 0.016",
        ),
        ({"attack__source": "gauss"}, "outside the data's range"),
        ({"standard__model__checkpoint": "nothing.pt"}, "the checkpoint nothing.pt does not exist"),
        (
            {"data__name": "gauss", "data__classes": "", "standard__model__name": "convnet"},
            "model.name = 'convnet' takes images, but inputs have the shape (100,); choose mlp, or data of images",
        ),
        ({"standard__loss": "identity"}, "standard.loss = 'identity' is a loss on the margin of two classes"),
        ({"standard__lr": "1e30", "standard__epochs": "5"}, "choose a smaller learning rate"),
    ],
    ids=str,
)
def test_one_sentence(capsys: pytest.CaptureFixture[str], keys: dict[str, str], part: str) -> None:
    steps = {} if keys.get("attack__name", "pgd") == "pgd" or "attack__steps" in keys else {"attack__steps": ""}
    assert part in refuse(capsys, "run", *changed(**{**steps, **keys}), "--out", "runs")


@pytest.mark.usefixtures("own")
def test_a_checkpoint_of_another_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": torch.zeros(3, 64), "bias": torch.zeros(3)}, "other.pt")
    sentence = refuse(capsys, "run", *changed(standard__model__checkpoint="other.pt"), "--out", "runs")
    assert "the checkpoint other.pt contains the weights of another network" in sentence


def test_a_malicious_pickle_is_refused_and_not_executed(capsys: pytest.CaptureFixture[str], own: Path) -> None:
    trace = own / "executed"
    torch.save({"weight": torch.zeros(3), "more": Opener(str(trace))}, "evil.pt")
    sentence = refuse(capsys, "run", *changed(standard__model__checkpoint="evil.pt"), "--out", "runs")
    assert "the checkpoint evil.pt contains more than tensors, and loading it could run code" in sentence
    assert not trace.exists()
    assert not os.path.exists("runs") or not list(Path("runs").glob("digits-*"))


@pytest.mark.usefixtures("own")
def test_epsilon_0_is_allowed_and_said_to_be_a_control(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "run", *changed(attack__epsilon="0", controls__draws="1"), "--out", "runs", "--quiet", "--json")
    assert said.code == 0
    assert "nothing was perturbed, so this is a control itself" in said.json["conclusion"]
    assert said.json["summary"]["perturbation_size"]["mean"] == 0
