"""Inputs of a set that lie on the disk because memory is too small for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.perturbed.sets import Kind, write

from perturblearn.errors import StoreError
from perturblearn.perturbed.disk_tensor import disk_tensor
from perturblearn.perturbed.stored_set import StoredSet


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
    with pytest.raises(StoreError, match=r"cannot store 480 bytes .* a file in .*nowhere \(No such file"):
        StoredSet(folder).load(0, tmp_path / "nowhere")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", no_space, raising=False)
    with pytest.raises(StoreError, match=r"cannot store 480 bytes .*No space left on device\); free some space"):
        StoredSet(folder).load(0)
