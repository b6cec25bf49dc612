"""The command learn as users meet it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.commands import DEEP, nothing_looks_finished, records, refuse, run_folders, say, words
from tests.cli.sets import LOST, SHARD, G, emptied, flipped

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_learning_from_a_set_is_the_second_half_of_a_run(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    run = say(capsys, "run", *DEEP, "--json", "--out", "whole").json
    said = say(capsys, "learn", of_digits, "--json")
    assert (said.code, said.err, said.out.count("\n")) == (0, "", 1)
    for key in ("seeds", "summary", "conclusion", "config"):
        assert said.json[key] == run[key], key
    assert said.json == json.loads((Path(said.json["folder"]) / "result.json").read_text())


def test_learn_prints_a_table_and_repeats_nothing(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    first = say(capsys, "learn", of_digits)
    (folder,) = run_folders(Path("runs"))
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("digits: digits 0 vs 1 vs 2, f mlp, g mlp, L2 ε = 1, natural sources")
    assert first.out.endswith(f"\nResults: {folder}\nReport: {folder / 'report.html'}\n")
    assert [record.state for record in records(Path("runs"))] == ["finished"]
    assert "nothing had to run" in say(capsys, "learn", of_digits).out
    quiet = say(capsys, "learn", of_digits, "--quiet", "--force")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_learn_with_two_seeds_trains_two_g_on_one_set(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    first, second = say(capsys, "learn", of_digits, "--seeds", 2, "--json").json["seeds"]
    assert (first["seed"], second["seed"]) == (0, 1)
    for measure in ("standard_accuracy", "standard_accuracy_heldout", "attack_success", "perturbation_size"):
        assert first["measures"][measure] == second["measures"][measure]
    assert first["measures"]["perturbed_loss"] != second["measures"]["perturbed_loss"]


def test_learn_with_another_network(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    network = words("--perturbation.model.name convnet --perturbation.model.depth 1 --perturbation.model.width 0.1")
    found = say(capsys, "learn", of_digits, *network, "--json").json["config"]["perturbation"]
    assert found["model"] == {"name": "convnet", "depth": 1, "width": 0.1, "normalise": True}
    assert found["epochs"] == 2  # as the set's configuration has it


def test_learn_with_a_deep_network_where_the_set_had_none_in_mind(
    capsys: pytest.CaptureFixture[str], of_a_file: Path
) -> None:
    found = say(capsys, "learn", of_a_file, *G, "--perturbation.model.name", "mlp", "--json").json["config"]
    section = found["perturbation"]
    assert (section["model"]["name"], section["training"], section["epochs"]) == ("mlp", "sgd", 2)
    plain = say(capsys, "learn", of_a_file, *G, "--json").json["config"]["perturbation"]
    assert (plain["model"]["name"], plain["training"], plain["epochs"]) == ("two_layer", "descent", 2)


def test_a_plan_of_learning_has_no_f_to_train(
    capsys: pytest.CaptureFixture[str], of_digits: Path, tmp_path: Path
) -> None:
    said = say(capsys, "learn", of_digits, "--plan")
    assert (said.code, said.err) == (0, "")
    assert re.search(r"on demand +\S+ +standard classifier of the set", said.out)
    assert re.search(r"run +\S+ +perturbation classifier", said.out)
    assert "standard classifier, mlp" not in said.out
    assert list(tmp_path.iterdir()) == []
    planned = say(capsys, "learn", of_digits, "--plan", "--json").json
    assert "perturbation classifier, mlp, lr 0.01" in {stage["label"] for stage in planned["stages"]}


REPAIR = "'perturblearn verify set --repair'"


@pytest.mark.parametrize(
    ("file", "damage"), [(SHARD, Path.unlink), (SHARD, flipped), ("standard.safetensors", emptied)]
)
def test_learning_from_a_damaged_set(
    capsys: pytest.CaptureFixture[str], own_set: Path, file: str, damage: Callable[[Path], None]
) -> None:
    damage(own_set / file)
    said = refuse(capsys, "learn", own_set, *G)
    assert said == (LOST if file.startswith("standard") else f"{file} of set is damaged; repair it with {REPAIR}")
    assert nothing_looks_finished(Path("runs"), said)


OR_ANOTHER = "; leave the key out, or write another set with 'perturblearn perturb'"
LEARN = [
    ("--attack.epsilon 2", f"the set set already settles the key attack.epsilon{OR_ANOTHER}"),
    ("--standard.epochs 3", f"the set set already settles the key standard.epochs{OR_ANOTHER}"),
    ("--data.n_samples 10", f"the set set already settles the key data.n_samples{OR_ANOTHER}"),
    ("--dtype float64", "the set set already settles the key dtype; leave the key out"),
    ("file.toml", "file.toml is one argument too many; the set has its own configuration, so name only the set"),
    ("--data npz:absent.npz", "absent.npz, which data.name = npz:absent.npz names, does not exist; check the path"),
    ("--data npz:a.npz --data.name npz:b.npz", "--data npz:a.npz and --data.name npz:b.npz set the same key"),
    ("--seeds 0", "seeds = 0: at least one seed is needed: give a positive number or a list of seeds"),
    ("--perturbation.epochs few", "perturbation.epochs = 'few', but it must be a whole number"),
    ("--perturbation.epochz 3", "there is no key perturbation.epochz; did you mean perturbation.epochs?"),
]  # fmt: skip


@pytest.mark.parametrize("plan", [[], ["--plan"]], ids=["learn", "plan"])
@pytest.mark.parametrize(("keys", "sentence"), LEARN, ids=[keys for keys, _ in LEARN])
def test_keys_that_learning_cannot_take(
    capsys: pytest.CaptureFixture[str], own_set: Path, tmp_path: Path, keys: str, sentence: str, plan: list[str]
) -> None:
    assert refuse(capsys, "learn", own_set, *words(keys), *plan).startswith(sentence)
    assert list(tmp_path.iterdir()) == [tmp_path / "set"]
