"""Where stages run."""

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
    """What runs the stages of a sweep or a figure.

    At equal numbers of threads the results are the same to the bit, wherever they are made.

    Args:
        name: ``in_process`` runs one stage after the other here, ``ray`` tasks of stages on many cores or machines.
        address: of the Ray cluster, ``auto`` for the one that runs on this machine; None starts Ray here.
        cpus: CPUs of each of Ray's tasks, and so its threads; 1 by default.
        gpus: GPUs of each of Ray's tasks, or its share of one; none by default.
        threads: how many threads a stage has in this process; None for as many as PyTorch takes.

    Returns:
        To be given as ``make_executor``.

    Raises:
        ConfigError: there is no such executor, Ray is not installed, a number is out of range, or what is given does
            not go with the executor.
    """
    if name not in EXECUTORS:
        raise ConfigError(f"executor = {name!r}, but it must be one of {', '.join(EXECUTORS)}")
    if name == "ray":
        return _on_ray(address, cpus, gpus, threads)
    for option, value in (("address", address), ("cpus", cpus), ("gpus", gpus)):
        if value is not None:
            raise ConfigError(
                f"{option} = {value} is for Ray's tasks; choose the executor ray as well, or leave it out"
            )
    if threads is not None and threads < 1:
        raise ConfigError(f"threads = {threads}, but a stage needs at least 1")

    def make(
        plan: Plan, store: ArtefactStore | None = None, watch: Watcher | None = None, done: Done | None = None
    ) -> Executor:
        if threads is not None:
            torch.set_num_threads(threads)
        return Executor(plan, store, watch, done)

    return make


def _on_ray(address: str | None, cpus: int | None, gpus: float | None, threads: int | None) -> MakeExecutor:
    if threads is not None:
        raise ConfigError(f"threads = {threads}, but Ray's tasks have as many threads as CPUs; give the number as cpus")
    if cpus is not None and cpus < 1:
        raise ConfigError(f"cpus = {cpus}, but a task needs at least 1")
    if gpus is not None and not (0 <= gpus <= 1 or (gpus > 1 and gpus.is_integer())):
        raise ConfigError(f"gpus = {gpus:g}, but it must be a share of one GPU, such as 0.25, or a whole number")
    require_ray()

    def make(
        plan: Plan, store: ArtefactStore | None = None, watch: Watcher | None = None, done: Done | None = None
    ) -> Executor:
        devices = {stage.device for stage in plan.to_run}
        if not gpus and devices - {"cpu"}:
            raise ConfigError(
                f"device = {min(devices - {'cpu'})!r}, but Ray's tasks are given no GPU; say how much of one each may "
                "have, for example gpus = 1 or 0.25"
            )
        return RayExecutor(plan, store, watch, done, address=address, cpus=cpus or 1, gpus=gpus or 0.0)

    return make
