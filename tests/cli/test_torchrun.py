"""The same command started by torchrun: one experiment, trained by two processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.cli.commands import words

from perturblearn.cli import main

COMMAND = words(
    "run --quiet --no-report --seeds 1 --data.name digits --data.classes 0,1,2 --data.n_samples 256 --controls.draws 0 "
    "--standard.model.name mlp --standard.model.hidden_dim 16 --standard.epochs 3 --standard.lr 0.05 "
    "--perturbation.model.name mlp --perturbation.model.hidden_dim 16 "
    "--perturbation.epochs 3 --perturbation.batch_size 32 --attack.name pgd --attack.steps 3"
)


def run_by_two(out: Path, batch_size: int = 32) -> subprocess.CompletedProcess[str]:
    torchrun = words("-m torch.distributed.run --standalone --nproc-per-node 2 -m perturblearn")
    return subprocess.run(
        [sys.executable, *torchrun, *COMMAND, "--standard.batch_size", str(batch_size), "--out", str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.long  # tests/training/test_distributed.py trains with two processes in fewer seconds
def test_two_processes_reach_what_one_does(tmp_path: Path) -> None:
    said = run_by_two(tmp_path / "two")
    assert said.returncode == 0, said.stderr
    assert main([*COMMAND, "--standard.batch_size", "32", "--out", str(tmp_path / "one")]) == 0
    one, two = (
        load_file(next(tmp_path.glob(f"{out}/digits-*/seed-0/standard.safetensors")))["losses"]
        for out in ("one", "two")
    )
    assert len(one) == 3
    # Sums of 32 float32 terms in another order, over 24 steps at a rate of 0.05: some roundings of 6e-8 each.
    assert torch.allclose(one, two, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.long
def test_an_error_ends_all_processes_with_one_sentence(tmp_path: Path) -> None:
    said = run_by_two(tmp_path, batch_size=33)
    assert said.returncode != 0
    assert "perturblearn: standard classifier" in said.stderr
    assert "batch_size = 33 cannot be shared evenly by 2 processes; choose a multiple" in said.stderr
    assert "Traceback (most recent call last):\n  File" not in said.stderr.split("perturblearn: standard", 1)[0]
