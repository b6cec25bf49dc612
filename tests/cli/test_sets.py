"""The commands perturb, learn and verify as users meet them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cli.commands import DEEP, file_bytes, nothing_looks_finished, records, refuse, run_folders, say, words

from perturblearn.cli import main
from perturblearn.perturbed import StoredSet
from perturblearn.perturbed.manifest import manifest_text, sealed

F = words(
    "--seeds 1 --attack.name pgd --attack.steps 2 --standard.model.name mlp --standard.model.hidden_dim 8 "
    "--standard.epochs 2"
)
G = words("--controls.draws 1 --perturbation.epochs 2")
SHARD, HELDOUT = "training/shard-00000.safetensors", "heldout/shard-00000.safetensors"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERTURBLEARN_DATA", raising=False)


@pytest.fixture(scope="module")
def of_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of the digits, only to be read."""
    out = tmp_path_factory.mktemp("digits")
    assert main(["perturb", *DEEP, "--out", str(out), "--quiet"]) == 0
    return run_folders(out)[0]


@pytest.fixture(scope="module")
def of_a_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of random images in ``images.npz`` beside it, whose g would be a two-layer network; only to be read."""
    out = tmp_path_factory.mktemp("file")
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 8, 8)).astype(np.uint8), np.arange(60) % 2
    np.savez(out / "images.npz", inputs=images, labels=labels)
    np.savez(out / "others.npz", inputs=255 - images, labels=labels)
    assert main(["perturb", *F, "--data.name", f"npz:{out}/images.npz", "--out", str(out / "sets"), "--quiet"]) == 0
    return run_folders(out / "sets")[0]


@pytest.fixture
def own_set(of_a_file: Path, tmp_path: Path) -> Path:
    """A copy of that set, called set, to be damaged."""
    shutil.copytree(of_a_file, tmp_path / "set")
    return Path("set")


def test_perturb_names_each_set_and_how_to_learn_from_one(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "perturb", *DEEP[2:], "--seeds", 2)
    assert (said.code, said.err) == (0, "")
    folders = run_folders(Path("sets"))
    *sets, hint = said.out.splitlines()
    assert sets == [f"{folder}: {StoredSet(folder)}" for folder in folders]
    assert [StoredSet(folder).seed for folder in folders] == [0, 1]
    assert hint == f"Learn from one with: perturblearn learn {folders[0]}"


def test_perturb_as_json_tells_what_the_manifests_tell(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "perturb", *DEEP, "--json")
    assert (said.code, said.err, said.out.count("\n")) == (0, "", 1)
    (told,) = said.json["sets"]
    (folder,) = run_folders(Path("sets"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert said.json["kind"] == "perturbed sets"
    assert (told["folder"], told["sha256"]) == (str(folder), manifest["sha256"])
    assert told["parts"]["training"]["n_samples"] == 60
    assert told["standard"]["accuracy"].keys() == {"standard_accuracy", "standard_accuracy_heldout"}


def test_perturb_quietly_says_nothing_and_writes_all(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    said = say(capsys, "perturb", *DEEP, "--quiet")
    assert (said.code, said.out, said.err) == (0, "", "")
    (folder,) = run_folders(Path("sets"))
    # Wherever it is written, and whoever trains g, it is the same set to the byte.
    assert folder.name == of_digits.name
    assert file_bytes(folder) == file_bytes(of_digits)


def test_a_plan_of_a_set_writes_nothing_and_names_no_g(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = say(capsys, "perturb", *DEEP, "--plan")
    assert (said.code, said.err) == (0, "")
    assert "standard classifier" in said.out
    assert "perturbed held-out set" in said.out
    assert "perturbation classifier" not in said.out
    assert list(tmp_path.iterdir()) == []
    planned = say(capsys, "perturb", *DEEP, "--plan", "--json").json["stages"]
    assert [stage["state"] for stage in planned].count("run") == 4  # f, its measures, the set and the held-out one
    say(capsys, "perturb", *DEEP)
    assert "4 finished" in say(capsys, "perturb", *DEEP, "--plan").out


def test_perturb_again_does_nothing_even_without_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    first = say(capsys, "perturb", *DEEP)
    (folder,) = run_folders(Path("sets"))
    shutil.rmtree("sets/.store")
    before = {path: path.stat().st_mtime_ns for path in Path("sets").rglob("*")}
    again = say(capsys, "perturb", *DEEP)
    assert (again.code, again.out) == (0, first.out)
    assert {path: path.stat().st_mtime_ns for path in Path("sets").rglob("*")} == before
    assert run_folders(Path("sets")) == [folder]


def test_perturb_by_force_writes_the_same_bytes_into_new_files(capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "perturb", *DEEP)
    (folder,) = run_folders(Path("sets"))
    content, manifest = file_bytes(folder), (folder / "manifest.json").stat().st_ino
    kept = (folder / "manifest.json").open()  # so that its number is not given to the new file
    assert say(capsys, "perturb", *DEEP, "--force", "--quiet").code == 0
    assert run_folders(Path("sets")) == [folder]
    assert file_bytes(folder) == content
    assert (folder / "manifest.json").stat().st_ino != manifest
    kept.close()


def test_perturb_finishes_a_set_without_its_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "perturb", *DEEP)
    (folder,) = run_folders(Path("sets"))
    content = file_bytes(folder)
    (folder / "manifest.json").unlink()
    assert say(capsys, "perturb", *DEEP, "--quiet").code == 0
    assert file_bytes(folder) == content


def test_perturb_of_a_second_seed_leaves_the_first_set_alone(capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "perturb", *DEEP)
    (first,) = run_folders(Path("sets"))
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    say(capsys, "perturb", *DEEP[2:], "--seeds", 2)
    assert len(run_folders(Path("sets"))) == 2
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before


def test_perturb_keeps_its_stages_in_the_cache(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    assert say(capsys, "perturb", *DEEP, "--cache-dir", "cache", "--quiet").code == 0
    (folder,) = run_folders(Path("sets"))
    assert file_bytes(folder) == file_bytes(of_digits)
    assert len(list(Path("cache/artefacts").glob("*/*"))) == 4
    assert not Path("sets/.store/artefacts").exists()
    # A file that the set shares with the cache stays what it is when the cache goes.
    shutil.rmtree("cache")
    assert say(capsys, "verify", folder).code == 0


def test_perturb_of_several_learning_rates_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for more in ([], ["--plan"]):
        said = refuse(capsys, "perturb", *DEEP, "--standard.lr", "0.1,0.2", *more)
        assert said == (
            "standard.lr has 2 values, but a perturbed set is that of one f; choose one, for example --standard.lr 0.1"
        )
        assert list(tmp_path.iterdir()) == []


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
    assert first.out.startswith("digits: digits 0 vs 1 vs 2, f mlp, g mlp, l2 epsilon 1, natural sources")
    assert first.out.endswith(f"\nResults: {folder}\n")
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
    assert found["model"] == {"name": "convnet", "depth": 1, "width": 0.1, "hidden_dim": 100, "slope": 0.0}
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


def name_data(folder: Path, name: str) -> None:
    """Make a set say that its data were elsewhere, as if they had been moved since."""
    body = json.loads((folder / "manifest.json").read_text())
    del body["sha256"]
    body["config"]["data"]["name"] = name
    (folder / "manifest.json").write_text(manifest_text(sealed(body)))


def test_data_that_have_moved_are_named_and_found(
    capsys: pytest.CaptureFixture[str], of_a_file: Path, own_set: Path
) -> None:
    name_data(own_set, "npz:gone.npz")
    where = of_a_file.parent.parent
    for command in (["learn", own_set, *G], ["verify", own_set, "--repair"]):
        (own_set / SHARD).unlink(missing_ok=True)
        said = refuse(capsys, *command)
        assert said == (
            "there is no gone.npz, which data.name = npz:gone.npz names; check the path, or say with --data where the "
            "data of set are now"
        )
        said = refuse(capsys, *command, "--data", f"npz:{where}/others.npz")
        assert said == (
            "the data are not those that set was made from (npz:gone.npz); name the same ones, wherever they are now, "
            "with --data"
        )
        assert not Path("runs").exists()
    assert say(capsys, "verify", own_set, "--repair", "--data", f"npz:{where}/images.npz").code == 0
    assert say(capsys, "learn", own_set, *G, "--data", f"npz:{where}/images.npz", "--quiet").code == 0


def test_verify_of_a_whole_set(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    for repair in ([], ["--repair"]):
        said = say(capsys, "verify", of_digits, *repair)
        assert (said.code, said.out, said.err) == (0, f"{of_digits} is whole.\n", "")
        found = say(capsys, "verify", of_digits, *repair, "--json")
        assert found.code == 0
        assert found.json == {"kind": "verification", "folder": str(of_digits), "damages": [], "repaired": False}
        quiet = say(capsys, "verify", of_digits, *repair, "--quiet")
        assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def one_line(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text())))


DAMAGES: list[tuple[str, Callable[[Path], None], str]] = [
    (SHARD, Path.unlink, "is missing"),
    (SHARD, flipped, "does not have the checksum that the manifest gives"),
    (HELDOUT, emptied, r"has 0 bytes instead of \d+"),
    ("manifest.json", one_line, "is not written as it was"),
]


@pytest.mark.parametrize(("file", "damage", "reason"), DAMAGES, ids=[reason for *_, reason in DAMAGES])
def test_verify_names_what_is_damaged_and_repairs_it(
    capsys: pytest.CaptureFixture[str], own_set: Path, file: str, damage: Callable[[Path], None], reason: str
) -> None:
    whole = file_bytes(own_set)
    damage(own_set / file)
    sentence = f"set is damaged ({file}); repair it with 'perturblearn verify set --repair'"
    said = say(capsys, "verify", own_set)
    assert (said.code, said.err) == (2, f"perturblearn: {sentence}\n")
    assert re.fullmatch(rf"{file} {reason}\n", said.out)
    quiet = say(capsys, "verify", own_set, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (2, "", f"perturblearn: {sentence}\n")
    found = say(capsys, "verify", own_set, "--json")
    assert found.code == 2
    assert not found.json["repaired"]
    assert [(each["file"], each["is_extra"]) for each in found.json["damages"]] == [(file, False)]

    repaired = say(capsys, "verify", own_set, "--repair")
    assert (repaired.code, repaired.err) == (0, "")
    assert re.fullmatch(rf"{file} {reason}; it was made again\nset is whole again\.\n", repaired.out)
    assert file_bytes(own_set) == whole
    assert say(capsys, "verify", own_set).out == "set is whole.\n"


def test_repair_as_json_says_that_it_repaired(capsys: pytest.CaptureFixture[str], own_set: Path) -> None:
    (own_set / SHARD).unlink()
    found = say(capsys, "verify", own_set, "--repair", "--json")
    assert (found.code, found.err, found.json["repaired"]) == (0, "", True)
    assert [each["reason"] for each in found.json["damages"]] == ["is missing"]
    assert say(capsys, "verify", own_set, "--json").json["damages"] == []


def test_many_damages_are_counted_in_the_sentence(capsys: pytest.CaptureFixture[str], own_set: Path) -> None:
    for file in (SHARD, HELDOUT):
        (own_set / file).unlink()
    one_line(own_set / "manifest.json")
    said = say(capsys, "verify", own_set)
    assert said.out.count("\n") == 3
    named = f"manifest.json, {SHARD}, {HELDOUT}"
    assert said.err == f"perturblearn: set is damaged ({named}); repair it with 'perturblearn verify set --repair'\n"


def test_a_file_that_is_not_the_set_s_does_no_harm(capsys: pytest.CaptureFixture[str], own_set: Path) -> None:
    (own_set / "notes.txt").write_text("mine")
    for repair in ([], ["--repair"]):
        said = say(capsys, "verify", own_set, *repair)
        assert (said.code, said.out, said.err) == (0, "notes.txt is not of this set\nset is whole.\n", "")
    assert (own_set / "notes.txt").read_text() == "mine"


REPAIR = "'perturblearn verify set --repair'"
LOST = (
    "standard.safetensors of set is damaged, and the perturbed samples do not tell the standard classifier; bring it "
    "back from a copy, or move the set away and write it again with 'perturblearn perturb'"
)


@pytest.mark.parametrize("repair", [[], ["--repair"]])
def test_a_lost_f_cannot_be_made_again(capsys: pytest.CaptureFixture[str], own_set: Path, repair: list[str]) -> None:
    (own_set / "standard.safetensors").unlink()
    said = say(capsys, "verify", own_set, *repair)
    assert (said.code, said.err) == (2, f"perturblearn: {LOST}\n")


# What a user finds or makes of a set's folder.
def no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def a_file_instead(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("mine")


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def cut_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:-20])


def edited_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


def newer_manifest(folder: Path) -> None:
    body = json.loads((folder / "manifest.json").read_text())
    del body["sha256"]
    (folder / "manifest.json").write_text(manifest_text(sealed({**body, "schema": 2})))


NO_SETS: list[tuple[Callable[[Path], None], str]] = [
    (no_folder, "there is no folder set; name a set that 'perturblearn perturb' wrote"),
    (a_file_instead, "there is no folder set; name a set that 'perturblearn perturb' wrote"),
    (
        no_manifest,
        "set holds no perturbed set, which is a folder with manifest.json and shards of samples; name one, or if "
        "'perturblearn perturb' was interrupted, run the same command again to continue it",
    ),
    *(
        (
            damage,
            "set/manifest.json is damaged or is no manifest of a perturbed set; bring it back from a copy, or move set "
            "away and write the set again with 'perturblearn perturb'",
        )
        for damage in (cut_manifest, edited_manifest)
    ),
    (newer_manifest, "set was written by a newer version of perturblearn; update it"),
]


@pytest.mark.parametrize("command", [["learn"], ["learn", "--plan"], ["verify"], ["verify", "--repair"]], ids=" ".join)
@pytest.mark.parametrize(("damage", "sentence"), NO_SETS, ids=[damage.__name__ for damage, _ in NO_SETS])
def test_what_is_no_set(
    capsys: pytest.CaptureFixture[str],
    own_set: Path,
    tmp_path: Path,
    command: list[str],
    damage: Callable[[Path], None],
    sentence: str,
) -> None:
    damage(own_set)
    before = file_bytes(tmp_path)
    name, *options = command
    assert refuse(capsys, name, own_set, *options) == sentence
    assert file_bytes(tmp_path) == before


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


SETTLED = (
    "belongs to the set set, which is there already; leave it out, or write another set with 'perturblearn perturb'"
)
LEARN = [
    ("--attack.epsilon 2", f"the key attack.epsilon {SETTLED}"),
    ("--standard.epochs 3", f"the key standard.epochs {SETTLED}"),
    ("--data.n_samples 10", f"the key data.n_samples {SETTLED}"),
    ("--dtype float64", "the set set has settled the key dtype; leave it out"),
    ("file.toml", "file.toml is one word too many; a set's configuration is in its manifest, name a set alone"),
    ("--data npz:absent.npz", "there is no absent.npz, which data.name = npz:absent.npz names; check the path"),
    ("--data npz:a.npz --data.name npz:b.npz", "--data npz:a.npz and --data.name npz:b.npz say the same; give one"),
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


@pytest.mark.parametrize("command", ["learn", "verify"])
def test_a_set_has_to_be_named(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert refuse(capsys, command) == (
        f"Command \"{command}\" parameter SET requires an argument; 'perturblearn {command} --help' shows what there is"
    )
