"""The command perturb, killed at random moments while it trains, attacks, and writes the set."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cli.commands import run_folders
from tests.store.killing import survives

from perturblearn.perturbed import StoredSet

SHARD = 8192
N_SOURCES = {"one_step": 200_000, "search": 20_000}


@pytest.mark.parametrize("attack", N_SOURCES)
def test_killed_perturbing_ends_with_the_same_bytes(
    tmp_path: Path, attack: str, stress_count: Callable[..., int]
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 14, 14)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", inputs=images, labels=np.arange(200) % 2)
    n_sources = max(20_000, stress_count(N_SOURCES[attack]))  # three shards at least

    def lives(out: Path, kill_after: float | None) -> bool:
        arguments = (attack, tmp_path / "images.npz", n_sources, out)
        return survives("tests.cli.perturb_program", *arguments, kill_after=kill_after)

    started = time.monotonic()
    assert lives(tmp_path / "undisturbed", None)
    length = time.monotonic() - started
    (undisturbed,) = run_folders(tmp_path / "undisturbed")
    assert len(list((undisturbed / "training").iterdir())) == -(-n_sources // SHARD)
    assert len(StoredSet(undisturbed)) == n_sources

    moments = random.Random(0)
    left, attempt, went_on, reach = stress_count(20), 0, 0, length
    while left > 0 or not went_on:  # one blow at least shall fall when something is there to go on from
        out = tmp_path / str(attempt)
        attempt += 1
        while True:
            # A life may be too short for anything; the next one goes on from whatever the last one left.
            if lives(out, moments.uniform(0, reach) if left > 0 or not went_on else None):
                break
            left -= 1
            went_on += any((out / ".store" / "artefacts").glob("*/*"))
            reach *= 1 if went_on else 1.5  # a life may take longer than the first did, and be killed too early always
            assert run_folders(out) in ([], [out / undisturbed.name])
        (folder,) = run_folders(out)
        assert folder.name == undisturbed.name
        assert equal_files(folder, undisturbed)
        assert list((out / ".store" / "tmp").iterdir()) == []
        shutil.rmtree(out)
    shutil.rmtree(tmp_path / "undisturbed")


def equal_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, one file in memory at a time."""
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (one, other)]
    files = [name for name in names[0] if (one / name).is_file()]
    return names[0] == names[1] and all((one / name).read_bytes() == (other / name).read_bytes() for name in files)
