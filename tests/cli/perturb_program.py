"""The command perturb in a process that may be killed at any moment, or says how much memory it has held."""

from __future__ import annotations

import sys

import torch

from perturblearn.cli import main
from tests.cli.commands import words

IMAGES = words("--seeds 1 --standard.model.hidden_dim 8 --standard.epochs 3 --attack.source uniform")
ATTACKS = {
    "one_step": words("--attack.name one_step"),
    "search": words("--standard.model.name mlp --attack.name pgd --attack.steps 3 --checkpoint_minutes 0.0002"),
}
"""How an attack is asked for: made at once, or searched for, with parts that are put aside."""


def command(attack: str, data: str, n_sources: int, out: str) -> list[str]:
    """Words of a command that writes a set of noise for the images of a file."""
    size = ["--data.name", f"npz:{data}", "--attack.n_sources", str(n_sources)]
    return ["perturb", *IMAGES, *ATTACKS[attack], *size, "--out", out, "--quiet"]


if __name__ == "__main__":
    torch.set_num_threads(1)  # bits are equal at an equal number of threads
    print("ready", flush=True)
    sys.exit(main(command(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])))
