"""Networks as their libraries have them are audited without a wrapper: hooks, attention, programs, named outputs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.commands import say, words

AUDIT = words(
    "--seeds 1 --data digits --data.classes 0,1,2 --data.n_samples 60 --epsilons l2:1 --attack.steps 2 "
    "--controls.draws 1 --learner mlp --mlp.model.hidden_dim 8 --mlp.epochs 1"
)
NETWORKS = """
import torch
from torch import nn


class Output:
    def __init__(self, logits):
        self.loss, self.logits = None, logits


class Attentive(nn.Module):
    def __init__(self, wrap=lambda logits: logits):
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 3)
        self.wrap = wrap

    def forward(self, images):
        rows = images[:, 0]
        return self.wrap(self.last(rows + self.attend(rows, rows, rows)[0]).mean(dim=1))


def attention():
    return Attentive()


attention_module = Attentive()


def named():
    return Attentive(Output)


def several():
    return Attentive(lambda logits: (logits, logits.sum()))


def normed():
    network = nn.Sequential(nn.Flatten(), nn.utils.spectral_norm(nn.Linear(64, 16)), nn.ReLU(), nn.Linear(16, 3))
    network(torch.ones(2, 1, 8, 8))
    return network


def program():
    return torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))


def vit():
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            image_size=8, patch_size=4, num_channels=1, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16, num_labels=3,
        )
    )
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "usual_nets.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("usual_nets", None)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("default:.* is taken as its outputs:UserWarning")
@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("attention", ["--train", "--standard.epochs", "1"], ""),
        ("attention_module", ["--train", "--standard.epochs", "1"], ""),
        ("normed", ["--train", "--standard.epochs", "1"], ""),
        ("normed", [], ""),
        ("program", [], ""),
        ("named", [], "(Output): the attribute logits is taken as its outputs"),
        ("several", [], "(tuple): the first entry is taken as its outputs"),
        pytest.param(
            "vit",
            [],
            "(ImageClassifierOutput): the attribute logits is taken as its outputs",
            marks=pytest.mark.skipif(
                importlib.util.find_spec("transformers") is None, reason="transformers is not installed"
            ),
        ),
    ],
)
def test_a_usual_network(capsys: pytest.CaptureFixture[str], name: str, options: list[str], told: str) -> None:
    said = say(capsys, "audit", "--model", f"usual_nets:{name}", *options, *AUDIT)
    assert said.code == 0, said.err
    assert told in said.err
    assert "of clean held-out inputs correctly (1 seed" in said.out


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_program_cannot_be_trained(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "audit", "--model", "usual_nets:program", "--train", *AUDIT)
    assert said.code == 2
    assert "usual_nets:program is a TorchScript program or contains one, which can be used as it is but not" in said.err
    assert "Traceback" not in said.err
