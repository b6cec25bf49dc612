"""The command perturb in a process that may be killed at any moment, or commands whose memory is measured."""

from __future__ import annotations

import sys

import torch
import torch._dynamo  # as an optimiser does when it is first used, which takes a second
from tests.cli.commands import words
from tests.experiment.large_set import held

from perturblearn.cli import main

NOISE = words("--seeds 1 --standard.model.hidden_dim 8 --standard.epochs 3 --attack.source uniform")
ATTACKS = {
    "one_step": words("--attack.name one_step"),
    # Finished parts are put aside after milliseconds.
    "search": words("--standard.model.name mlp --attack.name pgd --attack.steps 3 --checkpoint_minutes 0.0002"),
}


def command(attack: str, images: str, n_sources: int, out: str) -> list[str]:
    """Words of the command that writes a set of noise of the form of a file's images."""
    size = ["--data.name", f"npz:{images}", "--attack.n_sources", str(n_sources)]
    return ["perturb", *NOISE, *ATTACKS[attack], *size, "--out", out, "--quiet"]


if __name__ == "__main__":
    torch.set_num_threads(1)  # bits are equal at an equal number of threads
    mode, *arguments = sys.argv[1:]
    if mode == "peak":
        code = main(arguments)
        sys.stdout.write(str(held("VmHWM")))
    else:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        code = main(command(mode, arguments[0], int(arguments[1]), arguments[2]))
    sys.exit(code)
