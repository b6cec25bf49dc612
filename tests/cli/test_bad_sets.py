"""What learn and verify say when a folder is no set or a set's data are elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.commands import file_bytes, refuse, say
from tests.cli.sets import SHARD, G

from perturblearn.perturbed.manifest import manifest_text, sealed

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


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
            "gone.npz, which data.name = npz:gone.npz names, does not exist; check the path, or give the path of the "
            "data of set with --data"
        )
        said = refuse(capsys, *command, "--data", f"npz:{where}/others.npz")
        assert said == (
            "these are not the data that set was made from (npz:gone.npz); give the path of the same data with --data"
        )
        assert not Path("runs").exists()
    assert say(capsys, "verify", own_set, "--repair", "--data", f"npz:{where}/images.npz").code == 0
    assert say(capsys, "learn", own_set, *G, "--data", f"npz:{where}/images.npz", "--quiet").code == 0


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
            "set/manifest.json is damaged or is not the manifest of a perturbed set; restore it from a copy, or move "
            "set away and write the set again with 'perturblearn perturb'",
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


@pytest.mark.parametrize("command", ["learn", "verify"])
def test_a_set_has_to_be_named(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert refuse(capsys, command) == (
        f"Command \"{command}\" parameter SET requires an argument; see 'perturblearn {command} --help'"
    )
