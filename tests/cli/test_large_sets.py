"""What the commands hold in memory while they write a set that is larger than they may hold."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.cli.commands import run_folders
from tests.cli.perturb_program import command
from tests.experiment.large_set import STATUS

N, D = 200_000, 28 * 28


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux says how much memory a program has held")
def test_memory_of_writing_a_large_set(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", inputs=images, labels=np.arange(200) % 2)
    words = command("one_step", str(tmp_path / "images.npz"), N, str(tmp_path / "sets"))
    program = [sys.executable, "-m", "tests.cli.perturb_program", "peak", *words]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    (folder,) = run_folders(tmp_path / "sets")
    written = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    shutil.rmtree(tmp_path / "sets")
    assert written > 4 * N * D
    # Python and PyTorch are some 300 MB of it, and a few shards of 26 MB; the whole set would be 630 MB more, and twice
    # that with the noise that it starts from.
    assert int(done.stdout) < 1.5 * 2**30
    assert int(done.stdout) < 300 * 2**20 + written / 2
