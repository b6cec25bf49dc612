"""Stages on a Ray cluster that pass on large results, which live and die with the machine that made them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from perturblearn.graph import Progress, Results, Stage, Stored, make_plan
from perturblearn.graph.on_ray import RayExecutor
from perturblearn.store import Artefact

LARGE = 200_000
"""Numbers in a result; Ray keeps what is smaller than 100 kB in the process that asked for it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sum(Stored[Tensor]):
    kind = "sum"
    value: int
    sources: tuple[Stage[Tensor], ...]

    @property
    def label(self) -> str:
        return f"stage {self.value}"

    @property
    def work(self) -> float:
        return 1.0

    def run(self, result: Results) -> Tensor:
        time.sleep(0.2)
        return sum((result(source) for source in self.sources), torch.full((LARGE,), float(self.value)))

    @classmethod
    def dump(cls, result: Tensor) -> Artefact:
        return Artefact({}, {"sum": result})

    @classmethod
    def load(cls, artefact: Artefact) -> Tensor:
        return artefact.tensors["sum"]


def stage(value: int, *sources: Stage[Tensor]) -> Sum:
    return Sum(value=value, sources=sources)


def wanted() -> list[Sum]:
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
