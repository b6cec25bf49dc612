"""A small sweep on a Ray cluster: 16 runs of a tenth of a second that share data, f and controls."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from perturblearn.api.executors import executor
from perturblearn.api.options import RunOptions
from perturblearn.api.runs import PreparedRuns
from perturblearn.config import resolve_config
from perturblearn.experiment import Point

KEYS = {
    "data.name": "digits",
    "data.classes": ["3", "8"],
    "data.n_samples": 120,
    "controls.draws": 2,
    **{f"{role}.epochs": 300 for role in ("standard", "perturbation")},
    **{f"{role}.model.hidden_dim": 40 for role in ("standard", "perturbation")},
}


def sweep() -> PreparedRuns:
    """Eight sizes of a perturbation, two seeds."""
    sizes = [0.1 * number for number in range(1, 9)]
    points = [
        Point({"epsilon": size}, resolve_config({}, {**KEYS, "attack.epsilon": size, "seeds": [0, 1]}))
        for size in sizes
    ]
    return PreparedRuns("small", points)


def main(folder: Path, address: str) -> None:
    torch.set_num_threads(1)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    make = executor() if address == "here" else executor("ray", address=address)
    outcomes = sweep().run(RunOptions(out=folder, executor=make))
    sys.stdout.write(f"{sum(outcome.error is None for outcome in outcomes)} of {len(outcomes)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
