"""A perturbed set of 200,000 samples is made and measured; says how much memory that took beside the data."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch

from perturblearn.classifiers import Classifier, initialise
from perturblearn.config import AttackConfig, TwoLayerConfig
from perturblearn.data import Dataset
from perturblearn.experiment import PerturbationCase, measure_perturbation, measure_standard
from perturblearn.perturbed import perturb

N, D = 200_000, 100
STATUS = Path("/proc/self/status")


def made(n: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([1, -1])
    return Dataset(
        inputs=torch.randn(n, D, generator=generator),
        labels=labels[torch.arange(n) % 2],
        heldout_inputs=torch.randn(100, D, generator=generator),
        heldout_labels=labels[torch.arange(100) % 2],
        value_range=(-math.inf, math.inf),
        class_names=("+1", "-1"),
    )


def work(data: Dataset, attack: AttackConfig) -> None:
    f, g = (Classifier(initialise(TwoLayerConfig(hidden_dim=50), D, seed=0, role=role)) for role in "fg")
    perturbed, heldout = (perturb(f, data, attack, seed=0, heldout=part) for part in (False, True))
    measure_standard(f, data)
    measure_perturbation(PerturbationCase(f, data, g, perturbed, heldout, "logistic"))


def held(name: str) -> int:
    """Bytes of memory that this program holds now, VmRSS, or has held at most, VmHWM."""
    # Not getrusage: what it says of a process begins with what its parent held.
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def main(source: str) -> None:
    torch.set_num_threads(1)
    attack = AttackConfig.model_validate({"source": source})
    work(made(200), attack)  # whatever is loaded or set up at first use
    data = made(N)
    before = held("VmRSS")
    work(data, attack)
    sys.stdout.write(str(held("VmHWM") - before))


if __name__ == "__main__":
    main(sys.argv[1])
