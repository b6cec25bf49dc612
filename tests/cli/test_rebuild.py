"""Sets rebuilt from features as users of the commands meet them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.cli.commands import DEEP, run_folders, say

from perturblearn import StoredSet
from perturblearn.results import ShownFeatures

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")
REBUILD = [word.replace("pgd", "rebuild") for word in DEEP]


def test_a_rebuilt_set_is_written_verified_learned_and_exported(capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "perturb", *REBUILD, "--quiet").code == 0
    (folder,) = run_folders(Path("sets"))
    stored = StoredSet(folder)
    assert (stored.manifest["epsilon"], stored.manifest["source"], stored.manifest["targets"]) == (
        None, "another", "original",
    )  # fmt: skip
    assert "source another, rebuilt, success" in repr(stored)
    assert say(capsys, "verify", folder).code == 0
    learned = say(capsys, "learn", folder, "--controls.draws", "2")
    assert (
        "Trained on inputs rebuilt from f's features, with the labels of the inputs whose features they" in learned.out
    )
    assert "so g does not learn from wrong labels here" in learned.out
    say(capsys, "export", folder, "--out", "dnr", "--prefix", "DNR")
    labels = torch.cat(torch.load("dnr/DNR_lab"))
    assert labels.tolist() == [stored[position][1] for position in range(len(stored))]


def test_a_damaged_shard_of_a_rebuilt_set_is_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "perturb", *REBUILD, "--quiet").code == 0
    (folder,) = run_folders(Path("sets"))
    shard = folder / "training" / "shard-00000.safetensors"
    content = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(content[:-1])
    assert say(capsys, "verify", folder, "--repair").code == 0
    assert shard.read_bytes() == content


def test_a_layer_that_is_not_there_is_refused_before_anything_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "run", *REBUILD, "--attack.layer", "layers.9")
    assert said.code == 2
    assert "the network mlp has no layer 'layers.9'; name one of its layers, such as the last ones:" in said.err
    assert said.progress == ""


def test_a_run_tells_what_leaked_of_robust_linear_features(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "run", *DEEP, "--measures.robust_leakage", "0.05")
    assert "has only linear features robust at L2 ε = 0.05 classifies" in said.out
    assert "robust_linear_permuted_best_heldout" in said.out
    (folder,) = run_folders(Path("runs"))
    page = (folder / "report.html").read_text()
    assert "of the perturbations&#39; squared length lies in these features" in page
    assert '<h2 id="features">Linear features</h2>' in page
    assert (folder / "linear-features.png").is_file()


def test_a_run_tells_which_units_bear_noise(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "run", *DEEP, "--measures.bottleneck", "0.1")
    assert "Where a nat that passes a layer of f costs 0.1, f still classifies" in said.out
    assert "bottleneck_non_robust_agreement" in said.out
    refused = say(capsys, "run", *DEEP, "--measures.bottleneck", "0.1", "--measures.bottleneck_layer", "layers.9")
    assert refused.code == 2
    assert "the network mlp has no layer 'layers.9'" in refused.err


@pytest.mark.parametrize("command", [["transfer", "--networks", "mlp,convnet"], ["theory", "RUN"]])
def test_what_is_about_wrong_labels_refuses_rebuilt_inputs(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    if command[0] == "transfer":
        assert "shows g inputs with their true labels" in say(capsys, *command, "--attack.name", "rebuild").err
        return
    two_layer = ["--attack.name", "rebuild", "--attack.steps", "2", "--seeds", "1", "--controls.draws", "0"]
    say(capsys, "run", *two_layer, "--standard.epochs", "2", "--perturbation.epochs", "2", "--quiet")
    (folder,) = run_folders(Path("runs"))
    assert "trains g on inputs rebuilt from f's features" in say(capsys, "theory", folder).err


def test_neighbours_have_no_gradient_to_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--measures.robust_leakage", "0.5", "--controls.draws", "0", "--seeds", "1", "--no-report"]
    assert say(capsys, "run", "--perturbation.model.name", "knn", *words, "--standard.epochs", "2").code == 0
    (folder,) = run_folders(Path("runs"))
    assert list(ShownFeatures.load(folder / "linear-features.safetensors").shares) == ["f", "perturbations"]
