"""Writing a perturbed set: the files, their bytes and what the manifest says of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.perturbed.sets import ALL_FILES, KINDS, STANDARD, Kind, about, classes, files_of, made, source, write

from perturblearn.errors import StoreError
from perturblearn.perturbed.set_files import shard_bytes
from perturblearn.perturbed.stored_set import StoredSet
from perturblearn.perturbed.write_set import ShardSource, write_set
from perturblearn.store import separate, versions

ROOT = Path(__file__).parents[2]


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
    code = "import sys; from pathlib import Path; from tests.perturbed.sets import write; write(Path(sys.argv[1]))"
    # Another order of sets than here, unless by one chance in billions.
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    place = tmp_path / "elsewhere"
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
    place = ShardSource(range(4), 0, lambda path: save_file(separate(part.tensors), path))
    (tmp_path / "set").mkdir()
    write_set(
        tmp_path / "set",
        about=about(kind),
        classes=classes(kind),
        parts={"training": [place]},
        standard=STANDARD.dump(),
        accuracy={},
    )
    stored = StoredSet(tmp_path / "set")
    assert stored.statistics["success_rate"] is None
    assert "no target differs from its label" in repr(stored)
    with pytest.raises(StoreError, match=r"set has no part 'heldout'; choose training$"):
        StoredSet(tmp_path / "set", "heldout")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nothing", "is not a safetensors file"),
        (shard_bytes(made(KINDS["flat images"], 7)), r"holds .* of shape \[7(, 6)?\] instead of \[8(, 6)?\]"),
    ],
)
def test_a_damaged_file_is_not_made_part_of_a_set(tmp_path: Path, content: bytes, reason: str) -> None:
    kind = KINDS["flat images"]
    whole = made(kind, 16)
    shards = [source(whole, range(8)), replace(source(whole, range(8, 16)), place=lambda path: put(path, content))]
    with pytest.raises(StoreError, match=rf"samples 8 to 15 of the training part .* a file that {reason}; remove"):
        write_set(
            tmp_path,
            about=about(kind),
            classes=classes(kind),
            parts={"training": shards},
            standard=STANDARD.dump(),
            accuracy={},
        )
    assert not (tmp_path / "manifest.json").exists()


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)
