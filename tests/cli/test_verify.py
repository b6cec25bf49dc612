"""The command verify as users meet it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.commands import file_bytes, say, words
from tests.cli.sets import HELDOUT, LOST, SHARD, G, emptied, flipped

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def test_verify_of_a_whole_set(capsys: pytest.CaptureFixture[str], of_digits: Path) -> None:
    for repair in ([], ["--repair"]):
        said = say(capsys, "verify", of_digits, *repair)
        assert (said.code, said.out, said.err) == (0, f"{of_digits} is intact.\n", "")
        found = say(capsys, "verify", of_digits, *repair, "--json")
        assert found.code == 0
        assert found.json == {"kind": "verification", "folder": str(of_digits), "damages": [], "repaired": False}
        quiet = say(capsys, "verify", of_digits, *repair, "--quiet")
        assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def one_line(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text())))


DAMAGES: list[tuple[str, Callable[[Path], None], str]] = [
    (SHARD, Path.unlink, "is missing"),
    (SHARD, flipped, "does not have the checksum that the manifest gives"),
    (HELDOUT, emptied, r"has 0 bytes instead of \d+"),
    ("manifest.json", one_line, "differs from what was written"),
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
    assert re.fullmatch(rf"{file} {reason}; repaired\nset is repaired\.\n", repaired.out)
    assert file_bytes(own_set) == whole
    assert say(capsys, "verify", own_set).out == "set is intact.\n"


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
        assert (said.code, said.out, said.err) == (0, "notes.txt does not belong to this set\nset is intact.\n", "")
    assert (own_set / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("repair", [[], ["--repair"]])
def test_a_lost_f_cannot_be_made_again(capsys: pytest.CaptureFixture[str], own_set: Path, repair: list[str]) -> None:
    (own_set / "standard.safetensors").unlink()
    said = say(capsys, "verify", own_set, *repair)
    assert (said.code, said.err) == (2, f"perturblearn: {LOST}\n")


def test_a_set_that_left_other_networks_alone_is_learned_from_but_not_repaired(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No set holds these networks, so nothing can search with them again."""
    keys = "--seeds 1 --standard.epochs 2 --attack.name pgd --attack.steps 2 --attack.keep_others 1 --out"
    assert say(capsys, "perturb", *words(keys), "sets").code == 0
    (of_others,) = (tmp_path / "sets").glob("digits-seed-0-*")
    learned = say(capsys, "learn", of_others, *G, "--json")
    assert 0 <= learned.json["summary"]["kept_share"]["mean"] <= 1
    (of_others / SHARD).unlink()
    said = say(capsys, "verify", of_others, "--repair")
    assert (said.code, said.err) == (
        2,
        f"perturblearn: the set {of_others} cannot be repaired: attack.keep_others = 1 was searched with networks that "
        "no set holds; write it again with 'perturblearn perturb'\n",
    )
