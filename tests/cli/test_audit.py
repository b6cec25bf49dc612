from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.commands import nothing_looks_finished, records, refuse, run_folders, say, words

from perturblearn.config import resolve_config, value_of
from perturblearn.experiment import ROUTES

DATA = words("--seeds 1 --data digits --data.classes 0,1,2 --data.n_samples 60")
MLP = words("--learner mlp --mlp.model.hidden_dim 8 --mlp.epochs 1")
TRAINED = words("--model mlp --train --standard.model.hidden_dim 8 --standard.epochs 2")
TINY_AUDIT = [*DATA, *TRAINED, *MLP, "--attack.steps", "2"]
OWN = """
import torch


def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))


taught = make()
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current folder, with the user's own networks."""
    (tmp_path / "own_nets.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("own_nets", None)


def combinations(content: dict[str, object]) -> list[tuple[str, str, float]]:
    cells: object = content["cells"]
    assert isinstance(cells, list)
    return [(cell["learner"], cell["norm"], cell["epsilon"]) for cell in cells]


def test_an_audit_is_a_table_a_verdict_and_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "audit", *TINY_AUDIT, "--epsilons", "l2:0.5,linf:0.1,l0:3")
    assert (said.code, said.err) == (0, "")
    (folder,) = run_folders(Path("runs"))
    assert folder.name.startswith("audit-")
    first, _, header, _, *rows = said.out.splitlines()
    assert first == (
        "audit: perturbations of mlp, digits 0, 1, 2, pgd and radial_pgd, natural sources, targets other, 1 seed; "
        "N = 60, d = 64, 107 held-out inputs"
    )
    assert header.split()[:3] == ["learner", "norm", "epsilon"]
    assert [row.split()[:3] for row in rows[:3]] == [["mlp", "l2", "0.5"], ["mlp", "linf", "0.1"], ["mlp", "l0", "3"]]
    assert said.out.endswith(f"\nResults: {folder}\nReport: perturblearn report {folder}\n")
    content = json.loads((folder / "audit.json").read_text())
    assert content["verdict"] in said.out
    assert content["verdict"].startswith(("Yes, ", "Probably, ", "No, ")), "the answer comes first"
    assert (folder / "audit.png").stat().st_size > 0
    with (folder / "table.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    assert len(list((folder / "cells").iterdir())) == 3
    assert [(record.state, record.folder) for record in records(Path("runs"))] == [("finished", folder.name)]


def test_an_audit_as_json_is_what_its_folder_holds(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "audit", *TINY_AUDIT, "--epsilons", "l2:0.5,l2:1", "--json")
    assert (said.code, said.err, said.out.count("\n")) == (0, "", 1)
    assert said.json == json.loads((Path(said.json["folder"]) / "audit.json").read_text())
    assert combinations(said.json) == [("mlp", "l2", 0.5), ("mlp", "l2", 1.0)]
    assert (said.json["kind"], said.json["model"]) == ("audit", "mlp")


def test_an_audit_again_repeats_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    first = say(capsys, "audit", *TINY_AUDIT, "--epsilons", "l2:1", "--json").json
    again = say(capsys, "audit", *TINY_AUDIT, "--epsilons", "l2:1")
    assert "All stages were already finished; nothing had to run." in again.out
    forced = say(capsys, "audit", *TINY_AUDIT, "--epsilons", "l2:1", "--force", "--json").json
    assert {**forced, "seconds": 0} == {**first, "seconds": 0}
    quiet = say(capsys, "audit", *TINY_AUDIT, "--epsilons", "l2:1", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_a_plan_of_an_audit_trains_f_once_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = say(capsys, "audit", *TINY_AUDIT, "--epsilons", "l2:0.5,linf:0.1", "--plan")
    assert (said.code, said.err) == (0, "")
    assert said.out.count("standard classifier, mlp, lr 0.05") == 2  # once with its stage, once with its cost
    assert "\nCost:\n" in said.out
    planned = say(capsys, "audit", *TINY_AUDIT, "--epsilons", "l2:0.5,linf:0.1", "--plan", "--json").json["stages"]
    to_run = [stage["label"] for stage in planned if stage["state"] == "run"]
    assert to_run.count("standard classifier, mlp, lr 0.05") == 1
    assert to_run.count("perturbation classifier, mlp, lr 0.05") == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "own_nets.py"]


@pytest.mark.parametrize(
    ("keys", "norms"),
    [
        ("", ["l2", "linf"]),
        ("--attack.norm linf", ["linf"]),
        ("--attack.epsilon 0.5", ["l2"]),
        ("--attack.norm linf --attack.epsilon 0.5", ["linf"]),
    ],
)
def test_sizes_that_nobody_named(capsys: pytest.CaptureFixture[str], keys: str, norms: list[str]) -> None:
    found = combinations(say(capsys, "audit", *TINY_AUDIT, *words(keys), "--json").json)
    assert [norm for _, norm, _ in found] == norms
    assert all(size == 0.5 for *_, size in found) == ("epsilon" in keys)


def test_why_g_learned_is_a_table_of_routes(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "audit", *TINY_AUDIT, "--epsilons", "l2:1", "--why")
    assert (said.code, said.err) == (0, "")
    assert "\nWhy did g learn?\n" in said.out
    assert (
        "- f's answers to other data: not run, as no other data set was named; name one with --foreign.\n" in said.out
    )
    (folder,) = run_folders(Path("runs"))
    with (folder / "why.csv").open() as file:
        assert [line["route"] for line in csv.DictReader(file)] == list(ROUTES)
    assert " --why " in f"{json.loads((folder / 'audit.json').read_text())['command']} "
    assert say(capsys, "report", folder).code == 0
    assert "Why did g learn?" in (folder / "report.html").read_text()


def test_other_data_need_the_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert refuse(capsys, "audit", *TINY_AUDIT, "--foreign", "mnist") == (
        "--foreign mnist names data for one of the routes of --why, which is not asked for; add --why, or leave it out"
    )


def test_two_learners_with_keys_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    learners = words(
        "--learner mlp,convnet,own_nets:make --mlp.epochs 3 --mlp.model.hidden_dim 8 --convnet.model.depth 1 "
        "--convnet.model.width 0.1 --perturbation.epochs 1"
    )
    said = say(capsys, "audit", *DATA, *TRAINED, *learners, "--attack.steps", 2, "--epsilons", "l2:1", "--json")
    assert said.code == 0
    assert [learner for learner, *_ in combinations(said.json)] == ["mlp", "convnet", "own_nets:make"]
    files = sorted((Path(said.json["folder"]) / "cells").iterdir())
    sections = [resolve_config(file).perturbation for file in files]
    assert [value_of(section, "epochs") for section in sections] == [3, 1, 1]
    assert [value_of(section, "model.hidden_dim") for section in sections] == [8, None, None]
    assert [value_of(section, "model.depth") for section in sections] == [2, 1, None]


def test_the_user_s_own_model_is_taken_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["audit", *DATA, *MLP, "--model", "own_nets:taught", "--attack.steps", 2, "--epsilons", "l2:1"]
    planned = say(capsys, *command, "--plan")
    assert "standard classifier, own_nets:taught, as it is" in planned.out
    assert "--train" not in planned.out
    said = say(capsys, *command, "--json")
    assert (said.code, said.json["model"]) == (0, "own_nets:taught")
    assert said.json["config"]["standard"]["training"] == "none"
    trained = say(capsys, *command, "--train", "--standard.epochs", 1, "--json")
    assert (trained.code, trained.json["config"]["standard"]["training"]) == (0, "sgd")
    assert trained.json["key"] != said.json["key"]


def test_weights_from_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    first = say(capsys, "audit", *TINY_AUDIT, "--epsilons", "l2:1", "--json").json
    cell = next((Path(first["folder"]) / "cells").iterdir())
    run = say(capsys, "run", cell, "--json").json
    weights = Path(run["folder"]) / "seed-0" / "standard.safetensors"
    model = words("--model mlp --standard.model.hidden_dim 8 --checkpoint")
    said = say(capsys, "audit", *DATA, *MLP, *model, weights, "--attack.steps", 2, "--epsilons", "l2:1", "--json")
    assert (said.code, said.err) == (0, "")
    accuracy = [content["cells"][0]["summary"]["standard_accuracy"]["mean"] for content in (first, said.json)]
    assert accuracy[0] == accuracy[1]


def test_a_file_says_what_the_command_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    Path("audit.toml").write_text(
        "name = 'mine'\nseeds = 2\n[data]\nname = 'digits'\nclasses = [0, 1, 2]\nn_samples = 60\n"
        "[attack]\nname = 'pgd'\nsteps = 1\nnorm = 'linf'\nepsilon = 0.1\n"
        "[standard]\nepochs = 1\n[standard.model]\nname = 'convnet'\n[perturbation]\nepochs = 1\n"
    )
    said = say(capsys, "audit", "audit.toml", *TRAINED[:3], *MLP, "--seeds", 1, "--json")
    assert (said.code, said.err) == (0, "")
    assert (said.json["name"], said.json["model"], said.json["config"]["seeds"]) == ("mine", "mlp", [0])
    assert combinations(said.json) == [("mlp", "linf", 0.1)]
    several = say(capsys, "audit", "audit.toml", *TRAINED[:3], *MLP, "--epsilons", "l2:1,l2:2", "--json")
    assert combinations(several.json) == [("mlp", "l2", 1.0), ("mlp", "l2", 2.0)]
    assert several.json["config"]["seeds"] == [0, 1]


def test_a_file_names_the_learner(capsys: pytest.CaptureFixture[str]) -> None:
    Path("audit.toml").write_text("[perturbation.model]\nname = 'resnet18'\nwidth = 0.25\n")
    planned = say(capsys, "audit", "audit.toml", *DATA, *TRAINED, "--plan", "--json").json["stages"]
    labels = {stage["label"] for stage in planned if stage["label"].startswith("perturbation classifier")}
    assert len(labels) == 1
    assert "resnet18" in labels.pop()


EPSILONS = [
    ("l3:1", "the norm 'l3' is not known; choose l2, linf, l0"),
    ("L2:1", "the norm 'L2' is not known; choose l2, linf, l0"),
    *(
        (f"{before}{part}", f"--epsilons has {part!r}, but it must be norm:size, such as l2:0.5,linf:0.1")
        for before, part in (("", "l2:x"), ("", "l2"), ("", "0.5"), ("", ""), ("l2:1,", ""), ("l2:1,", "linf:"))
    ),
    *(
        (part, f"--epsilons has {part!r}, but a size must be a finite number of at least 0; correct it")
        for part in ("l2:-1", "l2:nan", "linf:inf", "l0:-3")
    ),
    ("l0:0.5", "l0:0.5 is no number of coordinates; give a whole number, such as l0:20"),
    ("l0:0", "l0:0 is no number of coordinates; give a whole number, such as l0:20"),
    ("l2:1,l2:1.0", "--epsilons names l2:1.0 twice; name each size once"),
    ("l2:1 --attack.epsilon 2", "--epsilons settles the key attack.epsilon; leave the key out and use --epsilons"),
    ("l2:1 --attack.norm linf", "--epsilons settles the key attack.norm; leave the key out and use --epsilons"),
]


@pytest.mark.parametrize(("epsilons", "sentence"), EPSILONS, ids=[epsilons or "none" for epsilons, _ in EPSILONS])
def test_epsilons_that_cannot_be_meant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, epsilons: str, sentence: str
) -> None:
    assert refuse(capsys, "audit", *TINY_AUDIT, *f"--epsilons={epsilons}".split(" ")) == sentence
    assert list(tmp_path.iterdir()) == [tmp_path / "own_nets.py"]


def test_more_coordinates_than_there_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refuse(capsys, "audit", *TINY_AUDIT, "--epsilons", "l0:65")
    assert said == "attack.pixels = 65, but inputs have 64 coordinates; choose between 1 and that number"
    assert nothing_looks_finished(tmp_path / "runs", said)


KNOWN = (
    "choose two_layer, one_hidden, limit, mlp, convnet, wide_resnet, resnet18, resnet9, knn, logistic_regression, "
    "gradient_boosting, or name your own as "
)
LEARNERS = [
    ("--learner mlpp", f"perturbation.model.name = 'mlpp': there is no such network; {KNOWN}package.module:factory"),
    ("--learner mlp,mlp", "the network mlp is named twice; name each network once"),
    ("--learner mlp,", "'mlp,' has an empty name; write the names of networks with commas between them"),
    (
        "--learner absent_nets:make",
        "absent_nets:make names the module absent_nets, but there is no module absent_nets; correct the name, or run "
        "from the folder that contains it",
    ),
    (
        "--learner own_nets:make,other_nets:make --make.epochs 3",
        "the key make.epochs could belong to own_nets:make or to other_nets:make; rename one of the functions",
    ),
    (
        "--learner mlp --convnet.epochs 3",
        "--convnet.epochs is a key of the network convnet, which is not used; add the network to --learner, or leave "
        "the key out",
    ),
    (
        "--convnet.epochs 3",
        "--convnet.epochs is a key of the network convnet, which is not used; add the network to --learner, or leave "
        "the key out",
    ),
    ("--learner mlp --make.epochs 3", "there is no key make; 'perturblearn init' writes a file with all keys"),
    ("--learner mlp --mlp.epochz 3", "there is no key perturbation.epochz; did you mean perturbation.epochs?"),
    ("--learner mlp --mlp.epochs few", "perturbation.epochs = 'few', but it must be a whole number"),
    (
        "--perturbation.model.name mlp",
        "--learner settles the key perturbation.model.name; leave the key out and use --learner",
    ),
]


@pytest.mark.parametrize(("keys", "sentence"), LEARNERS, ids=[keys for keys, _ in LEARNERS])
def test_learners_that_cannot_be_meant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, keys: str, sentence: str
) -> None:
    shutil.copyfile("own_nets.py", "other_nets.py")
    before = sorted(tmp_path.iterdir())
    assert refuse(capsys, "audit", *DATA, *TRAINED, *words(keys)) == sentence
    assert sorted(tmp_path.iterdir()) == before


def test_a_learner_that_images_are_too_small_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refuse(capsys, "audit", *DATA, *TRAINED, *words("--learner convnet --attack.steps 1 --epsilons l2:1"))
    assert said.endswith("a convnet of depth 2 is too deep for images of 8 x 8 pixels; set model.depth to 1")
    assert nothing_looks_finished(tmp_path / "runs", said)
