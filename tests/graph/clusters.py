"""A Ray cluster of several machines on this one, and blows to what it consists of."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A machine counts as dead after a second, not half a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "300",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


class Machines:
    """A head without CPUs and workers with one and what Ray takes for a GPU; they can be killed and are replaced."""

    def __init__(self, workers: int) -> None:
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._workers: list[Any] = []
        self.address = str(self._cluster.address)
        for _ in range(workers):
            self.add()

    def add(self) -> None:
        """One more machine."""
        self._workers.append(self._cluster.add_node(num_cpus=1, num_gpus=1))

    def kill_machine(self, number: int) -> None:
        """All processes of a machine die at once; another one takes its place."""
        self._cluster.remove_node(self._workers.pop(number), allow_graceful=False)
        self.add()

    def kill_worker(self, number: int) -> bool:
        """The process that runs tasks on a machine dies; False if there is none."""
        for process in _at_work(self._workers[number]):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                return True
        return False

    def has_tasks(self) -> bool:
        """Whether tasks are running."""
        return any(_at_work(worker) for worker in self._workers)

    def close(self) -> None:
        """The end of all."""
        self._cluster.shutdown()


def _at_work(machine: Any) -> list[int]:
    """The processes of a machine that are running tasks."""
    raylet = machine.all_processes["raylet"][0].process.pid
    found: list[int] = []
    for children in Path(f"/proc/{raylet}/task").glob("*/children"):
        with suppress(OSError):
            found += [
                int(child)
                for child in children.read_text().split()
                if b"ray::execute_task" in Path(f"/proc/{child}/cmdline").read_bytes()
            ]
    return found


@contextmanager
def machines(workers: int) -> Iterator[Machines]:
    """Machines for a while."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)
    found = Machines(workers)
    try:
        yield found
    finally:
        found.close()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
