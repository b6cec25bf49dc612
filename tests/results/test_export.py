from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from tests.report.conftest import TINY

from perturblearn import Classifier, Result, learn_from_perturbations, load_dataset
from perturblearn.config import resolve_config
from perturblearn.store import Artefact

FILES = {
    "config.toml",
    "result.json",
    "accuracies.png",
    "table.csv",
    "table.tex",
    "perturbations.png",
    "examples.safetensors",
    "report.html",
    "theory/comparison.json",
    "theory/drawn.safetensors",
    *(
        f"seed-{seed}/{part}.safetensors"
        for seed in (0, 1)
        for part in ("standard", "perturbation", "perturbed", "perturbed-heldout")
    ),
}


def folder_of(result: Result) -> Path:
    assert result.folder is not None
    return result.folder


def read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    with safe_open(path, "pt") as file:
        content = {key: json.loads(value) for key, value in file.metadata().items()}
        return content, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def read_classifier(path: Path) -> Classifier:
    return Classifier.load(Artefact(*read(path)))


def test_a_run_is_a_folder_of_these_files_and_nothing_else(tiny_result: Result) -> None:
    folder = folder_of(tiny_result)
    assert folder.name == f"tiny-{tiny_result.key[:10]}"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == FILES
    assert list((folder.parent / ".store" / "tmp").iterdir()) == []


def test_the_configuration_lies_beside_the_result(tiny_result: Result) -> None:
    assert resolve_config(folder_of(tiny_result) / "config.toml") == tiny_result.config
    assert tiny_result.config == resolve_config({}, TINY)


def test_the_picture_is_a_picture(tiny_result: Result) -> None:
    with Image.open(folder_of(tiny_result) / "perturbations.png") as picture:
        picture.load()
        assert min(picture.size) > 300


def test_images_are_drawn_as_images(tmp_path: Path) -> None:
    keys = {"seeds": 1, "standard.epochs": 2, "perturbation.epochs": 2, "controls.draws": 0}
    folder = folder_of(learn_from_perturbations(None, overrides=keys, out=tmp_path))
    with Image.open(folder / "perturbations.png") as picture:
        picture.load()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_perturbed_set_says_how_it_was_made(tiny_result: Result, seed: int) -> None:
    place = folder_of(tiny_result) / f"seed-{seed}"
    content, tensors = read(place / "perturbed.safetensors")
    assert (content["norm"], content["epsilon"], content["source"]) == ("l2", 1.0, "natural")
    assert content["classifier_hash"] == read_classifier(place / "standard.safetensors").hash
    assert content["classifier_hash"] == read(place / "standard.safetensors")[0]["hash"]
    assert content["versions"]["torch"]
    # A second way to the perturbations: x' - x, x by its index. Each of 10 coordinates below 5 is rounded to float32,
    # by at most 5 * 2**-24 = 3e-7 each in x' and in the step: below 10**0.5 * 6e-7 < 2e-6 in the norm.
    data = load_dataset(tiny_result.config.data, seed=seed)
    sizes = (tensors["inputs"] - data.inputs[tensors["source_index"]]).norm(dim=1)
    assert data.inputs.abs().max() < 4
    assert ((sizes - 1).abs() < 2e-6).sum() == 40 - content["zero_gradients"]
    assert (sizes == 0).sum() == content["zero_gradients"]
    assert torch.equal(tensors["true_labels"], data.labels[tensors["source_index"]])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_weights_give_the_measures_of_the_result(tiny_result: Result, seed: int) -> None:
    place = folder_of(tiny_result) / f"seed-{seed}"
    data = load_dataset(tiny_result.config.data, seed=seed)
    measured = next(found for found in tiny_result.seeds if found.seed == seed)
    signs = {}
    for name in ("standard", "perturbation"):
        classifier = read_classifier(place / f"{name}.safetensors")
        assert classifier.training["lr"] == getattr(measured, f"{name}_lr")
        signs[name] = classifier.outputs(data.heldout_inputs).sign()
        share = (signs[name] == data.heldout_labels).double().mean().item()
        assert share == measured.measures[f"{name}_accuracy_heldout"]
    assert (signs["standard"] == signs["perturbation"]).double().mean().item() == measured.measures["agreement"]


def test_noise_has_no_true_labels(tmp_path: Path, run_tiny: Callable[..., Result]) -> None:
    result = run_tiny(tmp_path, overrides={"attack.source": "gauss", "attack.n_sources": 25, "seeds": 1})
    content, tensors = read(folder_of(result) / "seed-0" / "perturbed.safetensors")
    assert content["source"] == "gauss"
    assert "true_labels" not in tensors
    assert len(tensors["inputs"]) == 25


def test_targets_may_be_the_labels_themselves(tmp_path: Path) -> None:
    drawn = load_dataset(resolve_config({}, TINY).data)
    data = replace(drawn, given_targets=drawn.labels)
    keys = {"attack.targets": "given", "seeds": 1, "standard.epochs": 2, "perturbation.epochs": 2, "controls.draws": 0}
    result = learn_from_perturbations({}, data=data, overrides=keys, out=tmp_path)
    _, tensors = read(folder_of(result) / "seed-0" / "perturbed.safetensors")
    assert torch.equal(tensors["target_labels"], tensors["true_labels"])


@pytest.mark.usefixtures("undrawn_pictures")
def test_force_replaces_what_lies_in_the_folder(tmp_path: Path, run_tiny: Callable[..., Result]) -> None:
    folder = folder_of(run_tiny(tmp_path))
    (folder / "notes.txt").touch()
    shutil.rmtree(folder / "seed-1")
    assert not (folder_of(run_tiny(tmp_path)) / "seed-1").exists()  # the result is there: nothing is done
    result = run_tiny(tmp_path, force=True)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == FILES
    assert Result.load(folder) == result


@pytest.mark.usefixtures("undrawn_pictures")
def test_a_folder_may_be_moved(tmp_path: Path, run_tiny: Callable[..., Result]) -> None:
    first = run_tiny(tmp_path / "runs")
    (tmp_path / "runs").rename(tmp_path / "moved")
    again = run_tiny(tmp_path / "moved")
    assert again == replace(first, folder=tmp_path / "moved" / folder_of(first).name)
