from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.cli.commands import nothing_looks_finished, records, refuse, run_folders, say, words

from perturblearn.config import resolve_config, value_of

NETWORKS = words(
    "--networks mlp,convnet --mlp.model.hidden_dim 8 --mlp.epochs 2 --convnet.model.depth 1 --convnet.model.width 0.1 "
    "--convnet.epochs 1"
)
DATA = words("--seeds 1 --data digits --data.classes 0,1,2 --data.n_samples 60 --attack.steps 2")
PAIRS = {(source, learner) for source in ("mlp", "convnet") for learner in ("mlp", "convnet")}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_matrix_is_tables_a_figure_and_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "transfer", *NETWORKS, *DATA)
    assert (said.code, said.err) == (0, "")
    (folder,) = run_folders(Path("runs"))
    assert folder.name.startswith("transfer-")
    assert said.out.startswith("transfer: transfer of perturbations, digits 0, 1, 2, pgd, L2, ε = 0.75")
    assert said.out.endswith(f"\nResults: {folder}\nReport: perturblearn report {folder}\n")
    content = json.loads((folder / "transfer.json").read_text())
    assert {"transfer.json", "transfer.png"} <= {path.name for path in folder.iterdir()}
    assert len(list((folder / "cells").iterdir())) == 4
    assert content["kind"] == "transfer matrix"
    assert [(record.state, record.folder) for record in records(Path("runs"))] == [("finished", folder.name)]
    assert "nothing had to run" in say(capsys, "transfer", *NETWORKS, *DATA).out


def test_a_matrix_as_json_is_what_its_folder_holds(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "transfer", *NETWORKS, *DATA, "--json")
    assert (said.code, said.err, said.out.count("\n")) == (0, "", 1)
    assert said.json == json.loads((Path(said.json["folder"]) / "transfer.json").read_text())
    assert {(cell["standard"], cell["perturbation"]) for cell in said.json["cells"]} == PAIRS


def test_a_network_s_keys_hold_in_both_roles(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(say(capsys, "transfer", *NETWORKS, *DATA, "--json").json["folder"])
    epochs = {"mlp": 2, "convnet": 1}
    found = [resolve_config(file) for file in sorted((folder / "cells").iterdir())]
    assert {(each.standard.model.name, each.perturbation.model.name) for each in found} == PAIRS
    for section in (section for each in found for section in (each.standard, each.perturbation)):
        assert value_of(section, "epochs") == epochs[section.model.name]


def test_a_plan_trains_each_f_once_and_writes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = say(capsys, "transfer", *NETWORKS, *DATA, "--plan")
    assert (said.code, said.err) == (0, "")
    assert "\nCost:\n" in said.out
    planned = say(capsys, "transfer", *NETWORKS, *DATA, "--plan", "--json").json["stages"]
    to_run = Counter(stage["label"] for stage in planned if stage["state"] == "run")
    for network in ("mlp", "convnet"):
        assert to_run[f"standard classifier, {network}, lr 0.05"] == 1
        assert to_run[f"perturbation classifier, {network}, lr 0.05"] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_keys(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text("name = 'mine'\nseeds = 2\n[data]\nname = 'digits'\nclasses = [0, 1, 2]\n")
    said = say(capsys, "transfer", "mine.toml", *NETWORKS, "--seeds", 1, "--data.n_samples", 60, "--attack.steps", 1)
    assert (said.code, said.err) == (0, "")
    assert [folder.name.partition("-")[0] for folder in run_folders(Path("runs"))] == ["mine"]


KNOWN = (
    "choose two_layer, one_hidden, limit, mlp, convnet, wide_resnet, resnet18, resnet9, knn, logistic_regression, "
    "gradient_boosting, or name your own as package.module:"
)
REFUSED = [
    ("--networks mlp", "a transfer matrix needs at least two architectures, not only mlp; name another"),
    ("--networks mlp,mlp", "the network mlp is named twice; name each network once"),
    (
        "--networks mlp,,convnet",
        "'mlp,,convnet' has an empty name; write the names of networks with commas between them",
    ),
    ("--networks mlp,mlpp", f"perturbation.model.name = 'mlpp': there is no such network; {KNOWN}factory"),
    (
        "--networks mlp,absent_nets:make",
        "absent_nets:make names the module absent_nets, but there is no module absent_nets; correct the name, or run "
        "from the folder that contains it",
    ),
    (
        "--networks mlp,convnet --resnet18.model.width 0.1",
        "--resnet18.model.width is a key of the network resnet18, which is not used; add the network to --networks, "
        "or leave the key out",
    ),
    (
        "--networks mlp,convnet --standard.model.name mlp",
        "--networks settles the key standard.model.name; leave the key out and use --networks",
    ),
    (
        "--networks mlp,convnet --perturbation.lr 0.1,0.2",
        "perturbation.lr of mlp has several values, but a transfer matrix trains each network at one; choose one",
    ),
    (
        "--networks mlp,convnet --convnet.lr 0.1,0.2",
        "perturbation.lr of convnet has several values, but a transfer matrix trains each network at one; choose one",
    ),
    (
        "--networks mlp,convnet --mixing.perturbed_share 0.5",
        "mixing.perturbed_share = 0.5 also shows g clean samples with their true labels, so g would not learn from "
        "perturbations alone; leave it out, or use 'perturblearn run'",
    ),
    (
        "--networks mlp,convnet --data folder:absent",
        "absent, which data.name = folder:absent names, does not exist; check the path",
    ),
    (
        "",
        "Command \"transfer\" parameter --networks requires an argument; see 'perturblearn transfer --help'",
    ),
]


@pytest.mark.parametrize(("keys", "sentence"), REFUSED, ids=[keys or "nothing" for keys, _ in REFUSED])
def test_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path, keys: str, sentence: str) -> None:
    data = [] if "--data" in keys else ["--data", "digits"]
    assert refuse(capsys, "transfer", *words(keys), *data, "--seeds", 1) == sentence
    assert list(tmp_path.iterdir()) == []


def test_what_shows_only_on_the_way(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refuse(capsys, "transfer", *words("--networks mlp,convnet --mlp.epochs 1 --mlp.model.hidden_dim 8"), *DATA)
    assert said.endswith("a convnet of depth 2 is too deep for images of 8 x 8 pixels; set model.depth to 1")
    assert nothing_looks_finished(tmp_path / "runs", said)
