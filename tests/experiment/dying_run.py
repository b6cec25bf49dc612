"""Two small experiments over the same data, in a process that dies after so many results."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from perturblearn.config import resolve_config
from perturblearn.experiment import Experiment
from perturblearn.graph import Executor, Plan, make_plan
from perturblearn.store import Artefact, ArtefactStore

KEYS: dict[str, Any] = {
    "seeds": [3],
    "data.name": "shifted_gauss",
    "data.n_samples": 50,
    "data.n_heldout": 20,
    "data.input_dim": 12,
    "standard.model.hidden_dim": 8,
    "standard.epochs": 60,
    "standard.lr": [0.3, 0.1, 0.05],
    "perturbation.model.hidden_dim": 10,
    "perturbation.epochs": 40,
    "perturbation.lr": [0.2, 0.1],
    "attack.source": "none",
    "controls.draws": 0,
}


def plan_of(store: ArtefactStore | None) -> Plan:
    """Logistic networks train side by side, those with the identity loss one after the other."""
    losses = ({}, {"standard.loss": "identity", "perturbation.loss": "identity"})
    experiments = [Experiment(resolve_config({}, {**KEYS, **loss})) for loss in losses]
    return make_plan((stage for each in experiments for stage in each.seeds[3].targets), store)


class Dying(ArtefactStore):
    """A store whose process dies once it has written so many artefacts; 0 for one that lives."""

    def __init__(self, folder: Path, writes: int) -> None:
        super().__init__(folder)
        self.left = writes

    def write(self, key: str, artefact: Artefact, *, origin: Mapping[str, Any], replace: bool = False) -> None:
        super().write(key, artefact, origin=origin, replace=replace)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, writes: int) -> None:
    torch.set_num_threads(1)  # bits are equal at an equal number of threads
    store = Dying(folder, writes)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    Executor(plan_of(store), store).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
