"""A perturbed set on disk: its samples one by one, the whole of it, and what is no set."""

from __future__ import annotations

import itertools
import json
import pickle
import random
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors.torch import load_file, save_file
from tests.perturbed.sets import ALL_FILES, CONFIG, KINDS, SHARD, STANDARD, Kind, change_manifest, made, write
from torch import Tensor
from torch.utils.data import DataLoader

from perturblearn.classifiers import Classifier
from perturblearn.config import ExperimentConfig
from perturblearn.errors import StoreError
from perturblearn.perturbed import PerturbedSet
from perturblearn.perturbed.disk_tensor import disk_tensor
from perturblearn.perturbed.stored_set import MOST_OPEN, StoredSet

# Reading


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("part", ["training", "heldout"])
def test_samples_are_those_that_were_written(tmp_path: Path, kind: Kind, part: str) -> None:
    whole = made(kind, 20, seed=0) if part == "training" else made(kind, 3, seed=1)
    stored = StoredSet(write(tmp_path / "set", kind), part)
    assert len(stored) == stored.n_samples == len(whole)
    for position in range(len(whole)):
        inputs, target = stored[position]
        original = (whole.inputs[position].double() + 0.3).float()
        assert inputs.shape == (kind.image_shape or kind.shape)
        assert torch.equal(inputs.flatten(), original.flatten())
        assert kind.label_values[target] == int(whole.target_labels[position])
        assert isinstance(target, int)
        again, same = stored[position - len(whole)]
        assert torch.equal(again, inputs)
        assert same == target


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_reader_without_this_package_finds_the_same_samples(tmp_path: Path, kind: Kind) -> None:
    folder = write(tmp_path / "set", kind)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    position = itertools.count()
    stored = StoredSet(folder)
    for shard in manifest["parts"]["training"]["shards"]:
        columns = safetensors.numpy.load_file(folder / shard["file"])
        for inputs, label in zip(columns["inputs"], columns["target_labels"], strict=True):
            pixels = (inputs.astype(np.float64) + manifest["offset"]).astype(np.float32)
            values, target = stored[next(position)]
            assert np.array_equal(values.numpy(), pixels.reshape(manifest["image_shape"] or manifest["input_shape"]))
            assert manifest["label_values"].index(label) == target
    assert next(position) == len(stored)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_batches_are_the_samples_shard_by_shard(tmp_path: Path, kind: Kind) -> None:
    stored = StoredSet(write(tmp_path / "set", kind))
    inputs, targets = zip(*stored.batches(), strict=True)
    assert len(inputs) == 3
    assert torch.equal(torch.cat(inputs), torch.stack([values for values, _ in stored]))
    assert torch.cat(targets).tolist() == [target for _, target in stored]
    assert {part.dtype for part in targets} == {torch.int64}


@pytest.mark.parametrize("index", [20, -21, 10**9])
def test_there_are_no_other_samples(folder: Path, index: int) -> None:
    with pytest.raises(IndexError, match=f"sample {index} of 20"):
        StoredSet(folder)[index]


def test_what_a_set_says_of_itself_needs_the_manifest_alone(folder: Path) -> None:
    for name in ALL_FILES[1:]:
        (folder / name).unlink()
    stored = StoredSet(folder)
    assert (stored.key, stored.seed) == ("0123456789" * 6 + "abcd", 4)
    assert stored.class_names == ("Ä0", "Ä1")
    assert isinstance(stored.config, ExperimentConfig)
    assert stored.config == CONFIG
    success = stored.statistics["success_rate"]
    assert repr(stored) == (
        "StoredSet(tiny seed 4, training: 20 inputs of 1 x 2 x 3 in 3 shards, 2 classes, source natural, "
        f"l2 epsilon 0.1, success {success:.3f}, key 0123456789)"
    )


def test_few_shards_are_open_at_a_time(tmp_path: Path) -> None:
    stored = StoredSet(write(tmp_path / "set", n=3 * MOST_OPEN, step=1))
    inputs = made(KINDS["flat images"], 3 * MOST_OPEN).inputs
    order = list(range(len(stored))) * 2
    random.Random(0).shuffle(order)
    for position in order:
        assert torch.equal(stored[position][0].flatten(), (inputs[position].double() + 0.3).float())
        assert len(stored._open) <= MOST_OPEN
    assert len(stored._open) == MOST_OPEN
    stored.close()
    assert stored._open == {}


def test_a_copy_for_another_process_opens_files_of_its_own(folder: Path) -> None:
    stored = StoredSet(folder)
    values, target = stored[11]
    copy = pickle.loads(pickle.dumps(stored))
    assert copy._open == {}
    assert torch.equal(copy[11][0], values)
    assert copy[11][1] == target
    assert repr(copy) == repr(stored)


@pytest.mark.parametrize("workers", [0, 1, pytest.param(2, marks=pytest.mark.long)])
def test_in_a_data_loader(folder: Path, workers: int) -> None:
    stored = StoredSet(folder)
    _ = stored[0]  # files that are open already do not travel
    loader = DataLoader(stored, batch_size=7, num_workers=workers, multiprocessing_context="spawn" if workers else None)
    inputs, targets = (torch.cat(column) for column in zip(*loader, strict=True))
    assert torch.equal(inputs, torch.stack([values for values, _ in stored]))
    assert targets.tolist() == [target for _, target in stored]
    assert targets.dtype == torch.int64


@pytest.mark.parametrize("content", [None, b"", b"short"])
def test_samples_of_a_damaged_shard(folder: Path, content: bytes | None) -> None:
    if content is None:
        (folder / SHARD).unlink()
    else:
        (folder / SHARD).write_bytes(content)
    stored = StoredSet(folder)
    _ = stored[7], stored[16]
    with pytest.raises(StoreError, match=rf"{SHARD} of .*set is damaged; .*'perturblearn verify .*set --repair'$"):
        _ = stored[8]


def test_a_label_of_no_class_is_damage(folder: Path) -> None:
    tensors = load_file(folder / SHARD)
    tensors["target_labels"][2] = 7
    save_file(tensors, folder / SHARD)
    with pytest.raises(StoreError, match=f"{SHARD} of .* is damaged"):
        _ = StoredSet(folder)[10]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^there is no folder .*nowhere; name a set that"):
        StoredSet(tmp_path / "nowhere")


def test_a_folder_without_a_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(StoreError, match=r"holds no perturbed set, .*interrupted, run the same command again"):
        StoredSet(folder)


def test_a_manifest_that_cannot_be_read(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    with pytest.raises(StoreError, match=r"^cannot read .*manifest.json \(.*\); make it readable$"):
        StoredSet(folder)


def test_a_newer_version_is_told_from_damage(folder: Path) -> None:
    change_manifest(folder, lambda manifest: (manifest.update(schema=2), manifest.pop("parts")))
    with pytest.raises(StoreError, match=r"^.*set was written by a newer version of perturblearn; update it$"):
        StoredSet(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"sha256": "0"}', "\udcff", "[" * 100_000, "NaN"])
def test_a_manifest_of_another_form(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(
        StoreError, match=r"manifest.json is damaged or is not the manifest of a perturbed set; restore"
    ):
        StoredSet(folder)


def shards(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return manifest["parts"]["training"]["shards"]


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(kind="run"),
        lambda manifest: manifest.pop("offset"),
        lambda manifest: manifest.pop("standard"),
        lambda manifest: manifest["standard"].update(file="../elsewhere"),
        lambda manifest: manifest["parts"].update({"..": manifest["parts"]["heldout"]}),
        lambda manifest: shards(manifest)[0].update(file="../../elsewhere"),
        lambda manifest: shards(manifest)[0].update(rows=[0, 9]),
        lambda manifest: shards(manifest)[0].update(rows=3),
        lambda manifest: shards(manifest).pop(),
        lambda manifest: shards(manifest).reverse(),
        lambda manifest: shards(manifest)[2].update(rows=[16, 16]),
    ],
)
def test_a_manifest_that_nobody_wrote(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    change_manifest(folder, change)
    with pytest.raises(
        StoreError, match=r"manifest.json is damaged or is not the manifest of a perturbed set; restore"
    ):
        StoredSet(folder)


def test_a_part_that_is_not_there(folder: Path) -> None:
    with pytest.raises(StoreError, match=r"set has no part 'test'; choose training or heldout$"):
        StoredSet(folder, "test")


# Loading


def equal(one: PerturbedSet, other: PerturbedSet) -> bool:
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)]
    return all(isinstance(b, Tensor) and torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("memory", [None, 0, "just enough", "one byte less"])
def test_the_loaded_set_is_the_one_that_was_written(
    tmp_path: Path, kind: Kind, memory: int | str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replace(made(kind, 20), zero_gradients=0 % 3 + 8 % 3 + 16 % 3)
    size = whole.inputs.nbytes
    limit = {"just enough": size, "one byte less": size - 1}[memory] if isinstance(memory, str) else memory
    on_disk: list[Tensor] = []

    def recorded(*arguments: Any) -> Tensor:
        on_disk.append(disk_tensor(*arguments))
        return on_disk[-1]

    monkeypatch.setattr("perturblearn.perturbed.disk_tensor.disk_tensor", recorded)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = StoredSet(write(tmp_path / "set", kind)).load(limit, scratch)
    assert equal(found, whole)
    assert [tensor.data_ptr() for tensor in on_disk] == (
        [found.inputs.data_ptr()] if memory in (0, "one byte less") else []
    )
    assert list(scratch.iterdir()) == []


def test_damage_is_noticed_before_anything_is_trained(folder: Path) -> None:
    content = bytearray((folder / SHARD).read_bytes())
    content[-1] ^= 1
    (folder / SHARD).write_bytes(content)
    with pytest.raises(StoreError, match=rf"^{SHARD} of .*set is damaged; repair it with 'perturblearn verify .*set"):
        StoredSet(folder).load()
    assert len(StoredSet(folder, "heldout").load()) == 3


def test_the_standard_classifier_comes_back(folder: Path) -> None:
    stored = StoredSet(folder)
    assert Classifier.load(stored.standard()).hash == STANDARD.hash == stored.manifest["standard"]["hash"]
    (folder / "standard.safetensors").write_bytes(b"")
    with pytest.raises(StoreError, match=r"^standard.safetensors of .* is damaged, and the standard classifier cannot"):
        stored.standard()
