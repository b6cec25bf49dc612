"""The command export as users meet it, and as users of Ilyas et al.'s data sets load what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.cli.commands import say
from tests.cli.sets import SHARD, flipped
from torch.utils.data import TensorDataset

from perturblearn import StoredSet

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_the_files_are_loaded_as_published(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    said = say(capsys, "export", of_digits, "--out", "drand/CIFAR10")
    assert (said.code, said.err) == (0, "")
    assert said.out == "drand/CIFAR10/CIFAR_ims: inputs\ndrand/CIFAR10/CIFAR_lab: target classes\n"
    images = torch.cat(torch.load("drand/CIFAR10/CIFAR_ims"))
    labels = torch.cat(torch.load("drand/CIFAR10/CIFAR_lab"))
    stored = StoredSet(of_digits)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert images.shape == (len(stored), 1, 8, 8)
    assert len(labels) == len(stored)
    for position in range(len(stored)):
        image, label = TensorDataset(images, labels)[position]
        expected, target = stored[position]
        assert torch.equal(image, expected)
        assert int(label) == target
    assert sorted(path.name for path in Path("drand/CIFAR10").iterdir()) == ["CIFAR_ims", "CIFAR_lab"]


def test_names_and_json(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    found = say(capsys, "export", of_digits, "--prefix", "digits", "--json")
    names = {"inputs": "tensors/digits_ims", "labels": "tensors/digits_lab"}
    assert found.json == {"kind": "exported set", "folder": str(of_digits), **names}
    assert Path("tensors/digits_ims").is_file()
    assert say(capsys, "export", of_digits, "--quiet").out == ""


def test_what_cannot_be_exported_is_one_sentence(capsys: pytest.CaptureFixture[str], own_set: Path) -> None:
    def refusal(*words: str | Path) -> str:
        said = say(capsys, "export", *words)
        assert (said.code, said.out) == (2, "")
        return said.err

    assert refusal(own_set, "--prefix", "a/b") == (
        "perturblearn: prefix = 'a/b' is no beginning of a file's name; write letters and digits, as in CIFAR\n"
    )
    Path("file").touch()
    assert "cannot write" in refusal(own_set, "--out", "file")
    assert "choose another folder with --out" in refusal(own_set, "--out", "file")
    assert "there is no folder nowhere" in refusal("nowhere")
    flipped(own_set / SHARD)
    assert "repair it with 'perturblearn verify set --repair'" in refusal(own_set)
    assert not Path("tensors").exists()
