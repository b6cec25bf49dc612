"""A model or data that cannot be audited or run: one sentence each, exit code 2, nothing half-written."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.cli.commands import Said, nothing_looks_finished, refuse, run_folders, say, words
from tests.data.writers import png_bytes, write_files

from perturblearn.cli import main
from perturblearn.data import load
from perturblearn.data.decoded import DecodedCache

AUDIT = words("audit --seeds 1 --attack.steps 1 --epsilons l2:1 --learner mlp --mlp.model.hidden_dim 8 --mlp.epochs 1")
RUN = words(
    "run --seeds 1 --attack.name pgd --attack.steps 1 --perturbation.model.name mlp --perturbation.model.hidden_dim 8 "
    "--perturbation.epochs 1 --controls.draws 0"
)
PERTURB = words("perturb --seeds 1 --attack.name pgd --attack.steps 1")
DIGITS = {
    "audit": words("--data digits --data.classes 0,1,2 --data.n_samples 60"),
    "run": words("--data.name digits --data.classes 0,1,2 --data.n_samples 60"),
}
MLP = words("--standard.model.hidden_dim 8 --standard.epochs 1")
NETS = """
import torch


def flat(inputs, outputs):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs, outputs))


def larger_images():
    return flat(784, 3)


def seven_classes():
    return flat(64, 7)


def three_classes():
    return flat(64, 3)


def sized(inputs, outputs):
    return flat(inputs, outputs)


def text():
    return "a network"


def without_weights():
    raise FileNotFoundError("weights.pt")


number = 3
"""
ATTACKS = """
def four(model, inputs, targets, eps):
    return inputs


def unfinished(model, inputs, targets):
    return nothing


number = 3
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current folder, with the user's modules."""
    (tmp_path / "bad_nets.py").write_text(NETS)
    (tmp_path / "bad_attacks.py").write_text(ATTACKS)
    (tmp_path / "bad_module.py").write_text("import torch\n\nnet = torch.nn.Linear(64, classes)\n")
    monkeypatch.chdir(tmp_path)
    yield
    for name in ("bad_nets", "bad_attacks", "bad_module"):
        sys.modules.pop(name, None)


def asked_for(command: str, model: str) -> list[str]:
    """A command that takes a model on the digits as it stands."""
    if command == "audit":
        return [*AUDIT, *DIGITS["audit"], "--model", model]
    return [*RUN, *DIGITS["run"], "--standard.model.name", model, "--standard.training", "none"]


KNOWN = (
    "choose two_layer, one_hidden, limit, mlp, convnet, wide_resnet, resnet18, resnet9, knn, logistic_regression, "
    "gradient_boosting, or name your own as package.module:"
)
# What is wrong with the name or the code: told before anything is begun.
NAMES = [
    (
        "absent_module:net",
        "absent_module:net names the module absent_module, but there is no module absent_module; correct the name, "
        "or run from the folder that contains it",
    ),
    (
        "bad_nets:absent",
        "bad_nets:absent names absent, which the module bad_nets ({folder}/bad_nets.py) does not have; "
        "correct the name",
    ),
    (
        "bad_nets:number",
        "bad_nets:number is of type int; give a torch module, or a class or function that returns one",
    ),
    (
        "bad_nets:sized",
        "bad_nets:sized needs the arguments inputs, outputs, but a factory is called without any; write a function "
        "that supplies them",
    ),
    ("bad_nets:text", "bad_nets:text returns a str; it must return a torch.nn.Module"),
    (
        "bad_nets:without_weights",
        "bad_nets:without_weights fails when it is called (FileNotFoundError: weights.pt); fix it",
    ),
    (
        "bad_module:net",
        "bad_module:net cannot be used, because importing bad_module fails (NameError: name 'classes' is not "
        "defined); fix it",
    ),
    *(
        (name, f"standard.model.name = '{name}': there is no such network; {KNOWN}factory")
        for name in ("bad_nets", "bad_nets.text", "resnet")
    ),
]


@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["", "plan"])
@pytest.mark.parametrize("command", ["audit", "run"])
@pytest.mark.parametrize(("model", "sentence"), NAMES, ids=[model for model, _ in NAMES])
def test_a_model_that_is_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, model: str, sentence: str, plan: list[str]
) -> None:
    assert refuse(capsys, *asked_for(command, model), *plan) == sentence.format(folder=tmp_path)
    assert not Path("runs").exists()


# What shows when data meet it.
MISFITS = [
    (
        "bad_nets:larger_images",
        r"the network bad_nets:larger_images fails on inputs of shape \(2, 1, 8, 8\) \(RuntimeError: .*2x64 and "
        r"784x3.*\); it must accept such inputs",
    ),
    (
        "bad_nets:seven_classes",
        r"the network bad_nets:seven_classes returns outputs of shape \(2, 7\) for n = 2 inputs of 3 classes, but "
        r"\(n, 3\) is needed; change its last layer, or name those of the classes with data\.model_classes",
    ),
]


@pytest.mark.parametrize("command", ["audit", "run"])
@pytest.mark.parametrize(("model", "sentence"), MISFITS, ids=[model for model, _ in MISFITS])
def test_a_model_that_does_not_fit_the_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, model: str, sentence: str
) -> None:
    said = refuse(capsys, *asked_for(command, model))
    assert re.fullmatch(rf"standard classifier, {model}, as it is, seed 0: {sentence}", said), said
    assert nothing_looks_finished(tmp_path / "runs", said)


SEVEN = ["{0 = 6, 1 = 2, 2 = [0, 1]}", "{0 = 7, 1 = 2, 2 = 0}"]


def test_outputs_that_the_user_s_model_has_and_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*asked_for("run", "bad_nets:seven_classes"), "--no-report", "--data.model_classes"]
    assert main([*asked, SEVEN[0]]) == 0
    capsys.readouterr()
    assert "model_classes names the output 7 (counted from 0); correct the indices" in refuse(capsys, *asked, SEVEN[1])
    flat = [*asked_for("run", "bad_nets:three_classes"), "--data.model_classes", SEVEN[1]]
    assert refuse(capsys, *flat).endswith(
        "model_classes names the output 7 (counted from 0), which the network bad_nets:three_classes does not have; "
        "correct the indices, or leave model_classes out if it has one output per class"
    )


@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["", "plan"])
def test_outputs_of_a_network_that_is_not_the_user_s(capsys: pytest.CaptureFixture[str], plan: list[str]) -> None:
    asked = [*RUN, *DIGITS["run"], "--standard.model.name", "mlp", "--data.model_classes", SEVEN[0], *plan]
    assert refuse(capsys, *asked) == (
        "model_classes names outputs of your own network, but no network here is your own; remove it, or name one with "
        "--model or standard.model.name"
    )


@pytest.mark.parametrize("command", ["audit", "run"])
def test_a_learner_that_does_not_fit_the_data(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str) -> None:
    words_of = {
        "audit": "audit --epsilons l2:1 --model mlp --train --learner bad_nets:seven_classes",
        "run": "run --standard.model.name mlp --perturbation.model.name bad_nets:seven_classes",
    }
    said = refuse(capsys, *words(words_of[command]), *DIGITS[command], *MLP, "--seeds", 1)
    assert said.startswith("perturbation classifier, bad_nets:seven_classes, ")
    assert "(2, 7) for n = 2 inputs of 3 classes, but (n, 3) is needed; change its last layer, or name" in said
    assert nothing_looks_finished(tmp_path / "runs", said)


@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["", "plan"])
@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (
            "four",
            r"the attack four\(model, inputs, targets, eps\) cannot be called .* \(missing .*'eps'\); give other .*",
        ),
        (
            "number",
            r"bad_attacks:number is of type int; give a function attack\(model, inputs, targets\) that returns .*",
        ),
        ("absent", r"bad_attacks:absent names absent, which the module bad_attacks .* does not have; correct the name"),
    ],
)
def test_an_attack_that_is_none(
    capsys: pytest.CaptureFixture[str], attack: str, sentence: str, plan: list[str]
) -> None:
    said = refuse(capsys, *words("run --seeds 1"), "--attack.name", f"bad_attacks:{attack}", *plan)
    assert re.fullmatch(sentence, said), said
    assert not Path("runs").exists()


def test_an_attack_that_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = words("run --seeds 1 --standard.epochs 1 --controls.draws 0 --attack.name bad_attacks:unfinished")
    said = refuse(capsys, *run)
    assert said == "the attack unfinished fails (NameError: name 'nothing' is not defined); fix it"
    assert nothing_looks_finished(tmp_path / "runs", said)


WEIGHTLESS = [
    (
        "--model mlp",
        "mlp comes without weights; name a file of weights with --checkpoint, or train it first with --train",
    ),
    (
        "--model resnet18",
        "resnet18 comes without weights; name a file of weights with --checkpoint, or train it first with --train",
    ),
    ("--model mlp --checkpoint absent.pt", "the checkpoint absent.pt does not exist; give a file of weights"),
    (
        "--model two_layer --train",
        "two_layer is a network of the theory; audit a deep network, or use 'perturblearn run'",
    ),
    ("", "Command \"audit\" parameter --model requires an argument; see 'perturblearn audit --help'"),
    (
        "--model mlp --train --standard.model.name convnet",
        "--model settles the key standard.model.name; leave the key out and use --model",
    ),
]


@pytest.mark.parametrize(("model", "sentence"), WEIGHTLESS, ids=[model or "none" for model, _ in WEIGHTLESS])
def test_an_audit_of_nothing_that_has_learned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: str, sentence: str
) -> None:
    assert refuse(capsys, *AUDIT, *DIGITS["audit"], *words(model)) == sentence
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def data(tmp_path: Path) -> None:
    """Folders and files of 8 x 8 images that have something wrong with them."""
    rng = np.random.default_rng(0)

    def images(*names: str) -> dict[str, bytes]:
        return {name: png_bytes(rng.integers(0, 256, (8, 8)).astype(np.uint8)) for name in names}

    kinds = ("ant", "bee", "cat")
    write_files(tmp_path / "one_each", images(*(f"{kind}/0.png" for kind in kinds)), "folder")
    write_files(tmp_path / "unlabelled", images(*(f"{number}.png" for number in range(6))), "folder")
    many = images(*(f"{kind}/{number:02}.png" for kind in kinds for number in range(12)))
    write_files(tmp_path / "stray", {**many, **images("stray.png")}, "folder")
    many["bee/03.png"] = many["bee/03.png"][:40]
    write_files(tmp_path / "unreadable", many, "folder")
    np.savez(tmp_path / "unlabelled.npz", inputs=rng.random((30, 8, 8)))


DATA = [
    (
        "folder:one_each",
        "every class has a single sample, so none can be held out; give at least two samples of a class, or a "
        "held-out part",
    ),
    (
        "folder:unlabelled",
        "0.png and 5 more in unlabelled are not in a class folder, so they have no label; put the images of each "
        "class into a folder named after it",
    ),
    ("folder:stray", "stray.png in stray is not in a class folder; move it into one or remove it"),
    ("npz:unlabelled.npz", "unlabelled.npz has no array labels or y but inputs; rename the array or add it"),
    (
        "folder:unreadable",
        "bee/03.png in unreadable is not a readable image; replace or remove it, or skip unreadable images with "
        "--data.skip_bad true",
    ),
    ("folder:absent", "absent, which data.name = folder:absent names, does not exist; check the path"),
    ("npz:absent.npz", "absent.npz, which data.name = npz:absent.npz names, does not exist; check the path"),
    (
        "absent",
        "data.name = 'absent': there is no such data; choose digits, mnist, fashion_mnist, cifar10, folder:PATH, "
        "npz:PATH, gauss, shifted_gauss, correlated, uniform",
    ),
]


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("command", ["audit", "run", "perturb", "transfer"])
@pytest.mark.parametrize(("name", "sentence"), DATA, ids=[name for name, _ in DATA])
def test_data_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, name: str, sentence: str
) -> None:
    words_of = {
        "audit": [*AUDIT, "--model", "mlp", "--train", *MLP, "--data", name],
        "run": [*RUN, "--standard.model.name", "mlp", *MLP, "--data.name", name],
        "perturb": [*PERTURB, "--standard.model.name", "mlp", *MLP, "--data.name", name],
        "transfer": ["transfer", "--networks", "mlp,resnet18", "--seeds", "1", "--data", name],
    }
    said = refuse(capsys, *words_of[command])
    assert said == sentence
    assert nothing_looks_finished(tmp_path / "runs", said)
    assert nothing_looks_finished(tmp_path / "sets", said)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("command", ["audit", "run", "perturb"])
def test_unreadable_images_are_left_out_when_asked_and_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    words_of = {
        "audit": [*AUDIT, "--model", "mlp", "--train", *MLP, "--data", "folder:unreadable"],
        "run": [*RUN, "--standard.model.name", "mlp", *MLP, "--data.name", "folder:unreadable"],
        "perturb": [*PERTURB, "--standard.model.name", "mlp", *MLP, "--data.name", "folder:unreadable"],
    }

    def said_afresh(*arguments: object) -> Said:
        """What a process of its own would say: this one keeps what it has decoded last, and warns once."""
        monkeypatch.setattr(load, "_last_decoded", DecodedCache())
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            return say(capsys, *arguments)

    said = said_afresh(*words_of[command], "--skip-bad")
    assert said.code == 0
    assert said.err == "perturblearn: warning: skipped 1 unreadable image in unreadable: bee/03.png\n"
    (folder,) = run_folders(Path("sets" if command == "perturb" else "runs"))
    if command == "perturb":
        # What is learned from the set is learned without them too, and says so.
        more = said_afresh("learn", folder, *words("--perturbation.model.name mlp --controls.draws 0"))
        assert (more.code, more.err) == (0, said.err)
