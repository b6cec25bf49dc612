"""From a result to its networks and sets, and whatever lies in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.report import project
from tests.report.project import put
from torch import nn

from perturblearn import Classifier, Dataset, PerturbedSet, Result, StoreError, load_dataset
from perturblearn.results import Finished, load
from perturblearn.training import LOSSES


@pytest.mark.parametrize("seed", [0, 1])
def test_networks_give_the_measures_of_the_result(tiny_result: Result, seed: int) -> None:
    data = load_dataset(tiny_result.config.data, seed=seed)
    f, g = tiny_result.standard(seed), tiny_result.perturbation(seed)
    assert isinstance(f, nn.Module)
    with torch.no_grad():
        said = [network(data.heldout_inputs).sign() for network in (f, g)]
    measured = tiny_result.seeds[seed].measures
    accuracies = [(labels == data.heldout_labels).double().mean().item() for labels in said]
    assert accuracies == [measured[f"{name}_accuracy_heldout"] for name in ("standard", "perturbation")]
    assert (said[0] == said[1]).double().mean().item() == measured["agreement"]


def test_the_first_seed_is_the_default(tiny_result: Result) -> None:
    first, second = tiny_result.perturbed_set(0), tiny_result.perturbed_set(1)
    assert torch.equal(tiny_result.perturbed_set().inputs, first.inputs)
    assert not torch.equal(first.inputs, second.inputs)


def test_samples_are_asked_for_by_index(tiny_result: Result) -> None:
    perturbed, heldout = tiny_result.perturbed_set(1), tiny_result.perturbed_set(1, heldout=True)
    assert (len(perturbed), len(heldout)) == (40, 30)
    x, label = perturbed[7]
    assert torch.equal(x, perturbed.inputs[7])
    assert label == int(perturbed.target_labels[7])
    # What chose g's learning rate: the mean loss over the held-out set.
    with torch.no_grad():
        margins = heldout.target_labels * tiny_result.perturbation(1)(heldout.inputs).double()
    loss = LOSSES[tiny_result.config.perturbation.loss](margins).mean().item()
    assert loss == pytest.approx(tiny_result.seeds[1].measures["perturbed_loss_heldout"], rel=1e-6)
    assert sum(1 for _ in perturbed) == 40


def test_what_is_not_there_is_one_sentence(tiny_result: Result, tmp_path: Path) -> None:
    in_memory = replace(tiny_result, folder=None)
    with pytest.raises(StoreError, match="this result is in memory, without its networks and sets; run the experiment"):
        in_memory.standard()
    with pytest.raises(ValueError, match="seed 7 is not one of this run's seeds, which are 0, 1"):
        tiny_result.perturbed_set(7)
    moved = tiny_result.in_folder(tmp_path)
    with pytest.raises(StoreError, match=r"there is no .*seed-0/perturbed-heldout\.safetensors; run the experiment"):
        moved.perturbed_set(heldout=True)
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0" / "standard.safetensors").write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"standard\.safetensors is damaged .*run the experiment again with --force"):
        moved.standard()


def test_a_file_alone_is_read_by_its_path(tiny_result: Result) -> None:
    assert tiny_result.folder is not None
    place = tiny_result.folder / "seed-1"
    inputs = torch.randn(5, 10)
    for role in ("standard", "perturbation"):
        loaded = Classifier.load(str(place / f"{role}.safetensors"))
        assert torch.equal(loaded.module(inputs), getattr(tiny_result, role)(1)(inputs))
    found = PerturbedSet.load(place / "perturbed.safetensors")
    assert torch.equal(found.inputs, tiny_result.perturbed_set(1).inputs)


@pytest.mark.parametrize("kind", [Classifier, PerturbedSet, Dataset])
def test_what_is_no_such_file_is_one_sentence(kind: Any, tiny_result: Result, tmp_path: Path) -> None:
    assert tiny_result.folder is not None
    (tmp_path / "text.safetensors").write_text("something else")
    other = "standard" if kind is PerturbedSet else "perturbed"
    for path, sentence in (
        (tmp_path / "absent", "there is no .*absent; "),
        (tmp_path, "is a folder; "),
        (tmp_path / "text.safetensors", "is damaged or no file of perturblearn"),
        (tiny_result.folder / "examples.safetensors", "holds no "),
        (tiny_result.folder / "seed-0" / f"{other}.safetensors", "holds no "),
    ):
        with pytest.raises(StoreError, match=sentence) as found:
            kind.load(path)
        assert "name a file that perturblearn wrote" in str(found.value)


def test_files_have_the_mode_of_the_umask(tmp_path: Path, run_tiny: Callable[..., Result]) -> None:
    before = os.umask(0o027)
    try:
        run_tiny(tmp_path, overrides={"seeds": 1})
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == {path.name: "0o640" for path in files}


MADE = {
    "result.json": project.run,
    "sweep.json": project.sweep,
    "audit.json": project.audit,
    "transfer.json": project.transfer,
}


@pytest.mark.parametrize("file", MADE)
def test_whatever_lies_in_a_folder_is_loaded(tmp_path: Path, file: str) -> None:
    made: Finished = MADE[file]()
    folder = put(tmp_path / "one", file, made.to_dict())
    found = load(folder)
    assert type(found) is type(made)
    assert found.folder == folder
    assert {**found.to_dict(), "folder": None} == json.loads(json.dumps(made.to_dict()))


def test_a_figure_is_told_from_a_run(tmp_path: Path) -> None:
    found = load(put(tmp_path / "one", "result.json", project.figure().to_dict()))
    assert type(found) is type(project.figure())


def test_what_is_no_result_is_one_sentence(tmp_path: Path) -> None:
    put(tmp_path / "demo-0123", "audit.json", project.audit().to_dict())
    with pytest.raises(StoreError, match=r"has no results; name the folder of .*; did you mean .*demo-0123\?$"):
        load(tmp_path / "demo")
    put(tmp_path / "other", "result.json", {"kind": "poem"})
    with pytest.raises(StoreError, match=r"result\.json is not a result of perturblearn; name the folder of"):
        load(tmp_path / "other")
    put(tmp_path / "torn", "audit.json", {"schema": 1})
    with pytest.raises(StoreError, match="is damaged"):
        load(tmp_path / "torn")


def test_a_repr_is_one_short_line(tiny_result: Result) -> None:
    made = [tiny_result, project.run(), project.sweep(), project.figure(), project.audit(), project.transfer()]
    for result in made:
        text = repr(result)
        assert text.startswith(f"{type(result).__name__}(")
        assert "\n" not in text
        assert len(text) < 200
    assert repr(project.run(name="demo")) == "Result('demo', 2 seeds, accuracy of g 0.850)"


def test_results_are_read_without_words_and_pictures(tmp_path: Path) -> None:
    folder = put(tmp_path / "one", "result.json", project.run().to_dict())
    code = (
        "import sys; from perturblearn.results import load; result = load(sys.argv[1]); "
        "sys.exit('perturblearn.report' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == 0
