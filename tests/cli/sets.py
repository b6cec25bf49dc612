"""Perturbed sets that the commands wrote, and what may happen to their files."""

from __future__ import annotations

from pathlib import Path

from tests.cli.commands import words

G = words("--controls.draws 1 --perturbation.epochs 2")
SHARD, HELDOUT = "training/shard-00000.safetensors", "heldout/shard-00000.safetensors"
LOST = (
    "standard.safetensors of set is damaged, and the standard classifier cannot be recovered from the samples; restore "
    "it from a copy, or move the set away and write it again with 'perturblearn perturb'"
)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")
