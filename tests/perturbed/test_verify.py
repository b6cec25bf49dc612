"""Damage to a perturbed set on disk: how it is found and repaired."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from tests.perturbed.sets import ALL_FILES, DIM, KINDS, SHARD, STANDARD, change_manifest, cut, files_of, made
from torch import Tensor

from perturblearn.classifiers import Classifier, initialise
from perturblearn.config import TwoLayerConfig
from perturblearn.errors import StoreError
from perturblearn.perturbed import PerturbedSet
from perturblearn.perturbed.set_files import shard_bytes
from perturblearn.perturbed.stored_set import StoredSet
from perturblearn.perturbed.verify import Damage, repair, verify
from perturblearn.store import Artefact

# Verifying


def reasons(folder: Path) -> dict[str, str]:
    damages = verify(StoredSet(folder))
    assert not any(damage.is_extra for damage in damages)
    return {damage.file: damage.reason for damage in damages}


def test_an_intact_set(folder: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    stored = StoredSet(folder, "heldout")
    assert verify(stored, report=lambda *call: calls.append(call)) == []
    assert calls == [(number, 6, file) for number, file in enumerate(ALL_FILES, start=1)]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthened(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 4
    path.write_bytes(content)


def made_a_folder(path: Path) -> None:
    size = path.stat().st_size
    path.unlink()
    path.mkdir()
    assert path.stat().st_size != size


@pytest.mark.parametrize("file", ALL_FILES[1:])
@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (Path.unlink, "is missing"),
        (cut_short, "bytes instead of"),
        (lengthened, "bytes instead of"),
        (flipped, "does not have the checksum that the manifest gives"),
        (made_a_folder, "bytes instead of"),
    ],
)
def test_every_damage_is_found(folder: Path, file: str, happens: Callable[[Path], None], reason: str) -> None:
    happens(folder / file)
    found = reasons(folder)
    assert list(found) == [file]
    assert reason in found[file]


def test_many_damages_are_found_together(folder: Path) -> None:
    shutil.rmtree(folder / "training")
    (folder / "training").write_text("a file in the place of the folder")
    (folder / "standard.safetensors").unlink()
    damages = verify(StoredSet(folder))
    missing = [Damage(file, "is missing") for file in ALL_FILES[1:5]]
    assert damages == [*missing, Damage("training", "does not belong to this set", is_extra=True)]


def test_a_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes
    stored = StoredSet(folder)

    def refuse(path: Path) -> bytes:
        if path.name in ("manifest.json", "shard-00001.safetensors"):
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    refused = "cannot be read (Permission denied)"
    assert verify(stored) == [Damage("manifest.json", refused), Damage(SHARD, refused)]


def test_a_manifest_that_goes_or_is_rewritten(folder: Path) -> None:
    stored = StoredSet(folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes())))
    assert verify(StoredSet(folder)) == [Damage("manifest.json", "differs from what was written")]
    path.unlink()
    assert verify(stored) == [Damage("manifest.json", "is missing")]


def test_other_files_are_reported_and_do_no_harm(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    shutil.copy(folder / SHARD, folder / "training/shard-00003.safetensors")
    (folder / "empty").mkdir()
    stored = StoredSet(folder)
    damages = verify(stored)
    assert damages == [
        Damage(file, "does not belong to this set", is_extra=True)
        for file in ("notes.txt", "training/shard-00003.safetensors")
    ]
    before = files_of(folder)
    assert repair(stored, damages, never, standard=never) == []
    assert files_of(folder) == before


def shard_with(**changes: Tensor | None) -> bytes:
    tensors = {**cut(made(KINDS["flat images"], 20), range(8, 16)).dump().tensors, **changes}
    return save({name: tensor for name, tensor in tensors.items() if tensor is not None})


def put_shard(folder: Path, content: bytes) -> None:
    """Put another file in the place of a shard, as if it had been written."""
    (folder / SHARD).write_bytes(content)
    checksum = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    change_manifest(folder, lambda manifest: manifest["parts"]["training"]["shards"][1].update(checksum))


ZEROS = torch.zeros(8, dtype=torch.int64)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nothing", "is not a safetensors file"),
        (shard_bytes(made(KINDS["flat images"], 7)), " instead of [8"),
        (shard_with(inputs=torch.zeros(8, 2, 3)), "holds inputs of shape [8, 2, 3] instead of [8, 6]"),
        (shard_with(inputs=torch.zeros(8, 6).double()), "inputs (float64)"),
        (shard_with(target_labels=ZEROS), "holds target_labels that are not labels of the classes"),
        (shard_with(true_labels=ZEROS + 2), "holds true_labels that are not labels of the classes"),
        (shard_with(target_labels=ZEROS[:, None] + 1), "holds target_labels of shape [8, 1] instead of [8]"),
        (shard_with(success=ZEROS), "success (int64)"),
        (shard_with(sizes=None), "holds the tensors inputs (float32), "),
        (shard_with(sources=torch.zeros(8, 6)), "sources (float32)"),
        (shard_with(sizes=torch.full((8,), torch.inf)), "holds sizes that are not finite"),
        (shard_with(inputs=torch.full((8, 6), torch.nan)), "holds inputs that are not finite"),
    ],
)
def test_content_that_does_not_fit_its_set(folder: Path, content: bytes, reason: str) -> None:
    put_shard(folder, content)
    found = reasons(folder)
    assert list(found) == [SHARD]
    assert reason in found[SHARD]
    with pytest.raises(StoreError, match=f"^{SHARD} of .* is damaged"):
        StoredSet(folder).load()


def test_weights_without_their_network(folder: Path) -> None:
    content = save({"weight": torch.zeros(3)})
    (folder / "standard.safetensors").write_bytes(content)
    checksum = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    change_manifest(folder, lambda manifest: manifest["standard"].update(checksum))
    assert reasons(folder) == {"standard.safetensors": "does not say which network its weights belong to"}


def test_no_flipped_bit_goes_unnoticed(folder: Path) -> None:
    draw = random.Random(0)
    for _ in range(400):
        file = draw.choice(ALL_FILES)
        path = folder / file
        intact = path.read_bytes()
        damaged = bytearray(intact)
        damaged[draw.randrange(len(damaged))] ^= draw.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            found = [damage.file for damage in verify(StoredSet(folder))]
        except StoreError:
            assert file == "manifest.json"
        else:
            assert found == [file]
        path.write_bytes(intact)
    assert verify(StoredSet(folder)) == []


# Repairing


def never(*_: object) -> Any:
    raise AssertionError("nothing of this kind is damaged")


def recompute(part: str, rows: range) -> PerturbedSet:
    kind = KINDS["flat images"]
    return cut(made(kind, 20, seed=0) if part == "training" else made(kind, 3, seed=1), rows)


@pytest.mark.parametrize("happens", [Path.unlink, cut_short, flipped])
def test_a_repaired_set_is_the_one_that_was_written(folder: Path, happens: Callable[[Path], None]) -> None:
    before = files_of(folder)
    calls: list[tuple[str, range]] = []

    def recorded(part: str, rows: range) -> PerturbedSet:
        calls.append((part, rows))
        return recompute(part, rows)

    for file in (SHARD, "heldout/shard-00000.safetensors", "standard.safetensors"):
        happens(folder / file)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes())))
    stored = StoredSet(folder)
    repaired = repair(stored, verify(stored), recorded, standard=STANDARD.dump)
    assert repaired == ["manifest.json", "standard.safetensors", SHARD, "heldout/shard-00000.safetensors"]
    assert calls == [("training", range(8, 16)), ("heldout", range(3))]
    assert files_of(folder) == before
    assert verify(stored) == []


def test_a_lost_folder_is_made_again(folder: Path) -> None:
    before = files_of(folder)
    shutil.rmtree(folder / "training")
    stored = StoredSet(folder)
    assert len(repair(stored, verify(stored), recompute, standard=never)) == 3
    assert files_of(folder) == before


def test_a_set_that_was_read_while_damaged_reads_what_was_repaired(folder: Path) -> None:
    stored = StoredSet(folder)
    values, _ = stored[8]
    content = bytearray((folder / SHARD).read_bytes())
    position = content.index(recompute("training", range(8, 16)).inputs.numpy().tobytes())
    content[position + 2] ^= 64
    (folder / SHARD).write_bytes(content)
    stored.close()
    assert not torch.equal(stored[8][0], values)
    repair(stored, verify(stored), recompute, standard=never)
    assert torch.equal(stored[8][0], values)


def test_a_file_shared_with_a_cache_is_left_as_it_is(tmp_path: Path, folder: Path) -> None:
    flipped(folder / SHARD)
    os.link(folder / SHARD, tmp_path / "cached")
    damaged = (tmp_path / "cached").read_bytes()
    stored = StoredSet(folder)
    repair(stored, verify(stored), recompute, standard=never)
    assert (tmp_path / "cached").read_bytes() == damaged
    assert verify(stored) == []


def others(part: str, rows: range) -> PerturbedSet:
    right = recompute(part, rows)
    inputs = right.inputs.clone()
    inputs[0, 0] = inputs[0, 0].nextafter(torch.tensor(torch.inf))
    return replace(right, inputs=inputs)


def other_standard() -> Artefact:
    return Classifier(initialise(TwoLayerConfig(hidden_dim=4), DIM, seed=1, role="f")).dump()


@pytest.mark.parametrize("file", [SHARD, "standard.safetensors"])
def test_what_comes_out_differently_is_not_taken(folder: Path, file: str) -> None:
    flipped(folder / file)
    change_manifest(folder, lambda manifest: manifest["versions"].update(torch="0.1"))
    before = files_of(folder)
    stored = StoredSet(folder)
    with pytest.raises(
        StoreError,
        match=rf"^{file} of .*set was recomputed but differs .* so it was not replaced; the set was made with .*"
        rf"torch 0\.1.* and this is .*torch {torch.__version__.partition('+')[0]}.*: repair it with those "
        "versions, or write",
    ):
        repair(stored, verify(stored), others, standard=other_standard)
    assert files_of(folder) == before


@pytest.mark.parametrize("step", [(os, "replace"), (Path, "write_bytes")], ids=["replace", "write"])
def test_a_disk_that_takes_nothing(folder: Path, step: tuple[object, str], monkeypatch: pytest.MonkeyPatch) -> None:
    flipped(folder / SHARD)
    stored = StoredSet(folder)
    damages, before = verify(stored), files_of(folder)

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*step, no_space)
        with pytest.raises(StoreError, match=rf"cannot write to .*{SHARD} \(No space left on device\); free some"):
            repair(stored, damages, recompute, standard=never)
    assert files_of(folder) == before
