"""Stages on a Ray cluster that pass on large results, which live and die with the machine that made them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from perturblearn.graph import Progress, Report, Stage, StageKind, make_plan
from perturblearn.graph.on_ray import RayExecutor
from perturblearn.store import Artefact

LARGE = 200_000
"""Numbers in a result; Ray keeps what is smaller than 100 kB in the process that asked for it."""


def add(stage: Stage, inputs: Mapping[str, Any], report: Report) -> Tensor:
    time.sleep(0.2)
    return sum((inputs[name] for name in inputs), torch.full((LARGE,), float(stage.parameters["value"])))


SUM = StageKind("sum", 1, add, lambda found: Artefact({}, {"sum": found}), lambda found: found.tensors["sum"])


def stage(value: int, *inputs: Stage) -> Stage:
    named = {str(number): source for number, source in enumerate(inputs)}
    return Stage(SUM, {"value": value}, named, label=f"stage {value}", work=1.0)


def wanted() -> list[Stage]:
    """Two layers of three stages that others share, and twelve stages that want them all."""
    first = [stage(value) for value in range(3)]
    second = [stage(10 + value, *first) for value in range(3)]
    return [stage(100 + value, *first, *second) for value in range(12)]


def main(address: str) -> None:
    last = wanted()
    keys = {found.key for found in last}

    def watch(progress: Progress) -> None:
        sys.stdout.write(f"{progress.stage.label}\n")
        sys.stdout.flush()

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    executor = RayExecutor(make_plan(last, keeps=lambda found: found.key in keys), watch=watch, address=address)
    executor.run()
    sums = [executor.result(found).unique().tolist() for found in last]
    sys.stdout.write(f"{sums}\n")


if __name__ == "__main__":
    main(sys.argv[1])
