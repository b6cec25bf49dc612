"""A perturbed set on disk: what is written, read, noticed and repaired."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor
from torch.utils.data import DataLoader

from perturblearn.classifiers import Classifier, initialise
from perturblearn.config import ExperimentConfig, ModelConfig, config_tree, resolve_config
from perturblearn.errors import StoreError
from perturblearn.perturbed import PerturbedSet
from perturblearn.perturbed.disk_tensor import disk_tensor
from perturblearn.perturbed.manifest import manifest_text, sealed
from perturblearn.perturbed.set_files import shard_bytes
from perturblearn.perturbed.stored_set import MOST_OPEN, StoredSet
from perturblearn.perturbed.verify import Damage, repair, verify
from perturblearn.perturbed.write_set import ShardSource, write_set
from perturblearn.store import Artefact, separate, versions

ROOT = Path(__file__).parents[2]
CONFIG = resolve_config(None, {"seeds": [4]})
DIM = 6
STANDARD = Classifier(initialise(ModelConfig(hidden_dim=4), DIM, seed=0, role="f"))
SHARD = "training/shard-00001.safetensors"
ALL_FILES = (
    "manifest.json", "standard.safetensors", "training/shard-00000.safetensors", SHARD,
    "training/shard-00002.safetensors", "heldout/shard-00000.safetensors",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """What a set for the tests is like."""

    shape: tuple[int, ...] = (DIM,)
    image_shape: tuple[int, int, int] | None = None
    n_classes: int = 2
    dtype: torch.dtype = torch.float32
    has_labels: bool = True
    has_sizes: bool = True

    @property
    def label_values(self) -> list[int]:
        return [1, -1] if self.n_classes == 2 else list(range(self.n_classes))


KINDS = {
    "flat images": Kind(image_shape=(1, 2, 3)),
    "images": Kind(shape=(1, 2, 3), image_shape=(1, 2, 3), n_classes=5),
    "vectors of noise": Kind(has_labels=False, has_sizes=False, dtype=torch.float64),
}


def made(kind: Kind, n: int, seed: int = 0) -> PerturbedSet:
    generator = torch.Generator().manual_seed(seed)
    values = torch.tensor(kind.label_values)
    draw = lambda: torch.randint(2, (n,), generator=generator).bool()  # noqa: E731
    return PerturbedSet(
        inputs=torch.randn((n, *kind.shape), generator=generator, dtype=kind.dtype),
        target_labels=values[torch.randint(len(values), (n,), generator=generator)],
        true_labels=values[torch.randint(len(values), (n,), generator=generator)] if kind.has_labels else None,
        source_index=torch.arange(n),
        success=draw(),
        redirected=draw(),
        source="natural" if kind.has_labels else "gauss",
        norm="l2",
        epsilon=0.1,
        classifier_hash=STANDARD.hash,
        zero_gradients=0,
        sizes=torch.rand(n, generator=generator) if kind.has_sizes else None,
    )


def cut(whole: PerturbedSet, rows: range) -> PerturbedSet:
    cut_fields = {
        field.name: value[rows.start : rows.stop]
        for field in fields(whole)
        if isinstance(value := getattr(whole, field.name), Tensor)
    }
    return replace(whole, **cut_fields, zero_gradients=rows.start % 3)


def about(kind: Kind) -> dict[str, Any]:
    return {
        "name": "tiny",
        "key": "0123456789" * 6 + "abcd",
        "seed": 4,
        "attack": config_tree(CONFIG)["attack"],
        "norm": "l2",
        "epsilon": 0.1,
        "source": "natural" if kind.has_labels else "gauss",
        "targets": "uniform",
        "dtype": str(kind.dtype).removeprefix("torch."),
        "input_shape": kind.shape,
        "image_shape": kind.image_shape,
        "value_range": [-1.0, None],
        "offset": 0.3,
        "class_names": [f"Ä{position}" for position in range(kind.n_classes)],
        "label_values": kind.label_values,
        "signature": {"input_shape": list(kind.shape)},
        "data": {"name": "digits", "fingerprint": "ab" * 32},
        "config": config_tree(CONFIG),
    }


def source(whole: PerturbedSet, rows: range) -> ShardSource:
    artefact = cut(whole, rows).dump()
    return ShardSource(rows, artefact.content, lambda path: save_file(separate(artefact.tensors), path))


def write(folder: Path, kind: Kind = KINDS["flat images"], n: int = 20, step: int = 8, **changes: Any) -> Path:
    """A set of n training samples in shards of so many, and of 3 held-out ones."""
    folder.mkdir()
    training, heldout = made(kind, n, seed=0), made(kind, 3, seed=1)
    shards = [range(start, min(start + step, n)) for start in range(0, n, step)]
    said = {**about(kind), **changes}
    write_set(
        folder,
        # In the order of a set of names, which is another one in every process.
        about={name: said[name] for name in set(said)},
        parts={
            "training": (source(training, rows) for rows in shards),
            "heldout": [source(heldout, range(3))],
        },
        standard=STANDARD.dump(),
        accuracy={"heldout": 0.75},
    )
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "set")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write another manifest with the right checksum."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest["sha256"]
    change(manifest)
    (folder / "manifest.json").write_text(manifest_text(sealed(manifest)), encoding="utf-8")


def put_shard(folder: Path, content: bytes) -> None:
    """Put another file in the place of a shard, as if it had been written."""
    (folder / SHARD).write_bytes(content)
    checksum = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    change_manifest(folder, lambda manifest: manifest["parts"]["training"]["shards"][1].update(checksum))


# Writing


def test_the_folder_holds_what_it_should(folder: Path) -> None:
    assert sorted(files_of(folder)) == sorted(ALL_FILES)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, value in about(KINDS["flat images"]).items():
        assert manifest[name] == json.loads(json.dumps(value)), name
    assert (manifest["schema"], manifest["kind"], manifest["versions"]) == (1, "perturbed set", versions())
    assert manifest["standard"]["hash"] == STANDARD.hash
    assert manifest["standard"]["accuracy"] == {"heldout": 0.75}
    training = manifest["parts"]["training"]
    assert training["n_samples"] == 20
    assert [shard["rows"] for shard in training["shards"]] == [[0, 8], [8, 16], [16, 20]]
    listed = [manifest["standard"], *training["shards"], *manifest["parts"]["heldout"]["shards"]]
    for entry in listed:
        content = (folder / entry["file"]).read_bytes()
        assert (entry["sha256"], entry["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))


def test_equal_sets_are_equal_files_in_every_process(tmp_path: Path) -> None:
    first = files_of(write(tmp_path / "first"))
    for seed in ("1", "2"):
        code = (
            "import sys; from pathlib import Path; from tests.perturbed.test_stored_set import write; "
            "write(Path(sys.argv[1]))"
        )
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        place = tmp_path / f"elsewhere {seed}"
        subprocess.run([sys.executable, "-c", code, str(place)], check=True, cwd=ROOT, env=environment)
        assert files_of(place) == first


def test_a_shard_made_again_is_the_file_of_the_artefact_store(tmp_path: Path) -> None:
    part = made(KINDS["images"], 5)
    save_file(separate(part.dump().tensors), tmp_path / "shard")
    assert shard_bytes(part) == (tmp_path / "shard").read_bytes()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_statistics_against_the_whole_set(tmp_path: Path, kind: Kind) -> None:
    whole = made(kind, 20)
    found = StoredSet(write(tmp_path / "set", kind)).statistics
    assert found["success_rate"] == whole.success_rate
    assert found["redirected_share"] == int(whole.redirected.sum()) / 20
    assert found["zero_gradients"] == 0 % 3 + 8 % 3 + 16 % 3
    if whole.sizes is None:
        assert found["mean_size"] is found["largest_size"] is None
    else:
        # Sums of 20 numbers below 1 in float64.
        assert found["mean_size"] == pytest.approx(float(whole.sizes.double().mean()), abs=20 * 2**-53)
        assert found["largest_size"] == float(whole.sizes.max())
    for label, entry in zip(kind.label_values, found["targets"], strict=True):
        chosen = whole.target_labels == label
        rates = whole.success[chosen & whole.redirected].double()
        assert entry["n_samples"] == int(chosen.sum())
        assert entry["success_rate"] == (int(rates.sum()) / len(rates) if len(rates) else None)


def test_without_redirected_samples_there_is_no_success(tmp_path: Path) -> None:
    kind = Kind()
    part = replace(made(kind, 4), redirected=torch.zeros(4, dtype=torch.bool)).dump()
    place = ShardSource(range(4), part.content, lambda path: save_file(separate(part.tensors), path))
    (tmp_path / "set").mkdir()
    write_set(tmp_path / "set", about=about(kind), parts={"training": [place]}, standard=STANDARD.dump(), accuracy={})
    stored = StoredSet(tmp_path / "set")
    assert stored.statistics["success_rate"] is None
    assert "no target differs from its label" in repr(stored)
    with pytest.raises(StoreError, match=r"set has no part 'heldout'; choose training$"):
        StoredSet(tmp_path / "set", "heldout")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nothing", "is no safetensors file"),
        (shard_bytes(made(KINDS["flat images"], 7)), r"holds .* of shape \[7(, 6)?\] instead of \[8(, 6)?\]"),
    ],
)
def test_a_damaged_file_is_not_made_part_of_a_set(tmp_path: Path, content: bytes, reason: str) -> None:
    kind = KINDS["flat images"]
    whole = made(kind, 16)
    shards = [source(whole, range(8)), replace(source(whole, range(8, 16)), place=lambda path: put(path, content))]
    with pytest.raises(StoreError, match=rf"samples 8 to 15 of the training part .* a file that {reason}; remove"):
        write_set(tmp_path, about=about(kind), parts={"training": shards}, standard=STANDARD.dump(), accuracy={})
    assert not (tmp_path / "manifest.json").exists()


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


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


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
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
    with pytest.raises(StoreError, match=r"manifest.json is damaged or is no manifest of a perturbed set; bring it"):
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
    with pytest.raises(StoreError, match=r"manifest.json is damaged or is no manifest of a perturbed set; bring it"):
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


def test_half_of_the_memory_is_left_to_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(
        "perturblearn.perturbed.disk_tensor.disk_tensor", lambda *options: calls.append(options) or torch.empty(20, 6)
    )
    for available, count in ((None, 0), (2 * 480, 0), (2 * 480 - 1, 1)):  # 20 inputs of 6 numbers of 4 bytes
        monkeypatch.setattr("perturblearn.perturbed.disk_tensor.available_memory", lambda: available)  # noqa: B023
        StoredSet(folder).load()
        assert len(calls) == count


@pytest.mark.parametrize("has_fallocate", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tensor_on_the_disk_is_an_ordinary_one(
    tmp_path: Path, dtype: torch.dtype, has_fallocate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_fallocate:
        monkeypatch.delattr("os.posix_fallocate", raising=False)
        monkeypatch.setattr("perturblearn.perturbed.disk_tensor._CHUNK", 100)
    tensor = disk_tensor([50, 2, 3], dtype, tmp_path)
    assert torch.equal(tensor, torch.zeros(50, 2, 3, dtype=dtype))
    values = torch.randn(50, 2, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    tensor.copy_(values)
    assert torch.equal(tensor, values)
    assert torch.equal(torch.stack([tensor[3], tensor[40]]), values[[3, 40]])
    assert list(tmp_path.iterdir()) == []


MEASURE = """
import sys
from pathlib import Path
from perturblearn.perturbed.stored_set import StoredSet

def taken():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))

stored = StoredSet(sys.argv[1])
before = taken()
loaded = stored.load(0, Path(sys.argv[2]))
print(loaded.inputs.nbytes, taken() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what memory is in use")
def test_a_set_larger_than_memory_takes_the_memory_of_a_few_shards(tmp_path: Path) -> None:
    place = write(tmp_path / "set", Kind(shape=(500,)), n=40 * 2048, step=2048)
    words = [sys.executable, "-c", MEASURE, str(place), str(tmp_path)]
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    size, taken = map(int, printed.split())
    # A shard is there as a file and as tensors while the one before goes: four of 40, and as much again that the
    # allocator keeps. Small columns, 30 bytes of a sample of 2030, are less than one shard.
    assert taken < 10 * size / 40


def test_no_room_on_the_disk(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"cannot lay 480 bytes .* a file in .*nowhere \(No such file"):
        StoredSet(folder).load(0, tmp_path / "nowhere")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", no_space, raising=False)
    with pytest.raises(StoreError, match=r"cannot lay 480 bytes .*No space left on device\); free some space"):
        StoredSet(folder).load(0)


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
    with pytest.raises(StoreError, match=r"^standard.safetensors of .* is damaged; repair it with"):
        stored.standard()


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
    assert damages == [*missing, Damage("training", "is not of this set", is_extra=True)]


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
    assert verify(StoredSet(folder)) == [Damage("manifest.json", "is not written as it was")]
    path.unlink()
    assert verify(stored) == [Damage("manifest.json", "is missing")]


def test_other_files_are_reported_and_do_no_harm(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    shutil.copy(folder / SHARD, folder / "training/shard-00003.safetensors")
    (folder / "empty").mkdir()
    stored = StoredSet(folder)
    damages = verify(stored)
    assert damages == [
        Damage(file, "is not of this set", is_extra=True) for file in ("notes.txt", "training/shard-00003.safetensors")
    ]
    before = files_of(folder)
    assert repair(stored, damages, never, standard=never) == []
    assert files_of(folder) == before


def shard_with(**changes: Tensor | None) -> bytes:
    tensors = {**cut(made(KINDS["flat images"], 20), range(8, 16)).dump().tensors, **changes}
    return save({name: tensor for name, tensor in tensors.items() if tensor is not None})


ZEROS = torch.zeros(8, dtype=torch.int64)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nothing", "is no safetensors file"),
        (shard_bytes(made(KINDS["flat images"], 7)), " instead of [8"),
        (shard_with(inputs=torch.zeros(8, 2, 3)), "holds inputs of shape [8, 2, 3] instead of [8, 6]"),
        (shard_with(inputs=torch.zeros(8, 6).double()), "inputs (float64)"),
        (shard_with(target_labels=ZEROS), "holds target_labels that are no labels of the classes"),
        (shard_with(true_labels=ZEROS + 2), "holds true_labels that are no labels of the classes"),
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
    return Classifier(initialise(ModelConfig(hidden_dim=4), DIM, seed=1, role="f")).dump()


@pytest.mark.parametrize("file", [SHARD, "standard.safetensors"])
def test_what_comes_out_differently_is_not_taken(folder: Path, file: str) -> None:
    flipped(folder / file)
    change_manifest(folder, lambda manifest: manifest["versions"].update(torch="0.1"))
    before = files_of(folder)
    stored = StoredSet(folder)
    with pytest.raises(
        StoreError,
        match=rf"^{file} of .*set was made again but differs .* nothing was changed; the set was made with .*torch 0\.1"
        rf".* and this is .*torch {torch.__version__.partition('+')[0]}.*: repair it there, or write a new set",
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
        with pytest.raises(StoreError, match=rf"cannot write .*{SHARD} \(No space left on device\); make its folder"):
            repair(stored, damages, recompute, standard=never)
    assert files_of(folder) == before
