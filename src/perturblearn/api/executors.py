"""Executors: where stages run."""

from __future__ import annotations

import torch

from perturblearn.errors import ConfigError
from perturblearn.experiment import MakeExecutor
from perturblearn.graph import Done, Executor, Plan, Watcher
from perturblearn.graph.cluster import require_ray
from perturblearn.graph.on_ray import RayExecutor
from perturblearn.store import ArtefactStore

EXECUTORS = ("in_process", "ray")


def executor(
    name: str = "in_process",
    *,
    address: str | None = None,
    cpus: int | None = None,
    gpus: float | None = None,
    threads: int | None = None,
) -> MakeExecutor:
    """Choose where the stages of a sweep or a figure run.

    At equal numbers of threads, results are equal to the bit wherever they are made.

    Args:
        name: ``in_process`` runs one stage after the other in this process, ``ray`` many at once on cores or machines.
        address: address of the Ray cluster, ``auto`` for the one that runs on this machine; None starts Ray here.
        cpus: CPUs, and so threads, of each Ray task; 1 by default.
        gpus: GPUs of each Ray task, or its share of one; none by default.
        threads: threads of a stage in this process; None for PyTorch's own number.

    Returns:
        The value for the argument ``executor`` of `sweep` and `reproduce`.

    Raises:
        ConfigError: there is no such executor, Ray is not installed, a number is out of range, or an argument does not
            apply to the executor.
    """
    if name not in EXECUTORS:
        raise ConfigError(f"executor = {name!r}, but it must be one of {', '.join(EXECUTORS)}")
    if name == "ray":
        return _on_ray(address, cpus, gpus, threads)
    for option, value in (("address", address), ("cpus", cpus), ("gpus", gpus)):
        if value is not None:
            raise ConfigError(
                f"{option} = {value} applies to Ray only; choose the executor ray too, or leave {option} out"
            )
    if threads is not None and threads < 1:
        raise ConfigError(f"threads = {threads}, but a stage needs at least 1 thread")

    def make(
        plan: Plan, store: ArtefactStore | None = None, watch: Watcher | None = None, done: Done | None = None
    ) -> Executor:
        if threads is not None:
            torch.set_num_threads(threads)
        return Executor(plan, store, watch, done)

    return make


def _on_ray(address: str | None, cpus: int | None, gpus: float | None, threads: int | None) -> MakeExecutor:
    if threads is not None:
        raise ConfigError(f"threads = {threads}, but a Ray task has as many threads as CPUs; give their number as cpus")
    if cpus is not None and cpus < 1:
        raise ConfigError(f"cpus = {cpus}, but a task needs at least 1 CPU")
    if gpus is not None and not (0 <= gpus <= 1 or (gpus > 1 and gpus.is_integer())):
        raise ConfigError(f"gpus = {gpus:g}, but it must be a share of one GPU, such as 0.25, or a whole number")
    require_ray()

    def make(
        plan: Plan, store: ArtefactStore | None = None, watch: Watcher | None = None, done: Done | None = None
    ) -> Executor:
        devices = {stage.device for stage in plan.to_run}
        if not gpus and devices - {"cpu"}:
            raise ConfigError(
                f"device = {min(devices - {'cpu'})!r}, but Ray tasks have no GPU; set their number for each task, "
                "for example gpus = 1 or gpus = 0.25"
            )
        return RayExecutor(plan, store, watch, done, address=address, cpus=cpus or 1, gpus=gpus or 0.0)

    return make
