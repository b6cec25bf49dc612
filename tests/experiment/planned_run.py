"""An experiment is planned and run; says how much memory it was said to take and how much it took."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from tests.experiment.large_set import held

from perturblearn.api import make_experiment
from perturblearn.graph import Executor
from perturblearn.store import ArtefactStore


def run(keys: dict[str, Any], folder: str) -> int:
    experiment = make_experiment({}, overrides={"seeds": 1, **keys})
    store = ArtefactStore(folder)
    plan = experiment.plan(store)
    planned = max(cost.memory for _, cost in plan.estimates())
    executor = Executor(plan, store)
    executor.run()
    experiment.measures(executor)
    return planned


def main(keys: str, folder: str) -> None:
    torch.set_num_threads(1)
    wanted = json.loads(keys)
    run({**wanted, "data.n_samples": 40}, folder)  # whatever is loaded or set up at first use
    before = held("VmRSS")
    planned = run(wanted, folder)
    sys.stdout.write(f"{planned} {held('VmHWM') - before}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
