"""What the commands hold in memory while they write a set that is larger than they may hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.cli.commands import run_folders
from tests.cli.perturb_program import command
from tests.experiment.large_set import STATUS
from tests.store.killing import printed_by

D = 28 * 28


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux says how much memory a program has held")
@pytest.mark.parametrize("n", [80_000, pytest.param(200_000, marks=pytest.mark.long)])
def test_memory_of_writing_a_large_set(tmp_path: Path, n: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", inputs=images, labels=np.arange(200) % 2)

    def peak_and_size(n_sources: int) -> tuple[int, int]:
        words = command("one_step", str(tmp_path / "images.npz"), n_sources, str(tmp_path / "sets"))
        peak = int(printed_by("tests.cli.perturb_program", "peak", *words))
        (folder,) = run_folders(tmp_path / "sets")
        written = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
        shutil.rmtree(tmp_path / "sets")
        return peak, written

    few, size_of_few = peak_and_size(20_000)
    peak, size = peak_and_size(n)
    assert size - size_of_few > 4 * D * (n - 20_000)
    # Three shards, 10 or 25, a few are in memory at a time, so the larger set asks for no more: within 20 MB, where the
    # sets differ by 190 or 570 MB, and twice that with the noise that they start from.
    assert peak - few < 20e6
    assert peak < 1.5 * 2**30
