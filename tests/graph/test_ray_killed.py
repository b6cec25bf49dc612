"""A sweep on a Ray cluster while its processes, its machines and the sweep itself are killed at random moments."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.experiment.tiny import same_artefact
from tests.graph.ray_graph import LARGE, wanted
from tests.store.killing import running, survives

from perturblearn.graph.cluster import Cluster, connected
from perturblearn.graph.dispatch import ValueLost
from perturblearn.store import ArtefactStore, RecordStore

pytest.importorskip("ray", reason="Ray is not installed")

from tests.graph.clusters import Machines


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sweep when it runs in one process and nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert survives("tests.graph.ray_sweep", folder, "here")
    return folder


class Blows:
    """So many blows of a kind to a running sweep, each at a random moment after the one before."""

    def __init__(self, target: str, blows: int, cluster: Machines) -> None:
        self._target = target
        self._left = blows
        self._cluster = cluster
        self._rng = random.Random(target)

    @property
    def are_over(self) -> bool:
        return self._left == 0

    def strike(self, process: subprocess.Popen[str]) -> None:
        """Strike until the sweep ends, or the blows do."""
        # The first tasks begin some three seconds after the first word, the last some two seconds later.
        pause = self._rng.uniform(0.5, 5)
        while self._left:
            try:
                process.wait(pause)
                return
            except subprocess.TimeoutExpired:
                if not self._struck(process):  # nothing runs yet
                    pause = 0.1
                    continue
                self._left -= 1
            pause = self._rng.uniform(0.2, 3)
        process.wait()

    def _struck(self, process: subprocess.Popen[str]) -> bool:
        if self._target == "sweep":
            process.kill()
            process.wait()
        elif self._target == "machine":
            self._cluster.kill_machine(self._rng.randrange(2))
        else:
            return self._cluster.kill_worker(self._rng.randrange(2))
        return True


@pytest.mark.timeout(3600)  # fifty blows, each with the start of processes after it
# Machines die in the last test too, and processes in tests/graph/test_on_ray.py.
# Without Ray, tests/results/test_killed.py kills who runs, and tests/cli/test_sweep.py interrupts sweeps.
@pytest.mark.long
@pytest.mark.parametrize("target", ["worker", "machine", "sweep"])
def test_a_sweep_ends_as_if_nothing_had_happened(
    target: str, ray_machines: Machines, undisturbed: Path, tmp_path: Path, stress_count: Callable[..., int]
) -> None:
    blows = Blows(target, stress_count(50, quick=1), ray_machines)
    for attempt in count():
        folder = tmp_path / str(attempt)
        while True:
            with running("tests.graph.ray_sweep", folder, ray_machines.address) as process:
                blows.strike(process)
                assert process.returncode in (0, -9)
                if process.returncode == 0:
                    assert process.stdout is not None
                    assert process.stdout.read() == "16 of 16\n"
                    break
        assert_same(folder, undisturbed)
        if blows.are_over:
            return


def assert_same(folder: Path, expected: Path) -> None:
    """The same records and artefacts, but for times and the order in which they were made."""
    records = [RecordStore(each / ".store/records.sqlite3") for each in (folder, expected)]
    runs = [sorted((known(run) for run in store.all()), key=lambda run: run["key"]) for store in records]
    assert len(runs[0]) == 16
    assert runs[0] == runs[1]
    sweeps = [[known(sweep) for sweep in store.collections()] for store in records]
    assert sweeps[0] == sweeps[1]
    stores = [ArtefactStore(each / ".store") for each in (folder, expected)]
    keys = [sorted(path.name for path in (store.folder / "artefacts").glob("*/*")) for store in stores]
    assert keys[0] == keys[1]
    for key in keys[0]:
        same_artefact(*(store.read(key) for store in stores))
    assert list((folder / ".store/tmp").iterdir()) == []


def known(record: Any) -> dict[str, Any]:
    """What does not depend on time."""
    return {name: value for name, value in vars(record).items() if name not in ("seconds", "changed")}


def pass_on_and_stay() -> Iterator[np.ndarray]:
    yield np.ones(LARGE)
    time.sleep(1000)


def add_up(numbers: np.ndarray) -> Iterator[float]:
    yield float(numbers.sum())


@pytest.mark.long
def test_a_result_is_lost_whose_machine_dies_before_the_task_has_ended(ray_machines: Machines) -> None:
    """Ray then takes the death of the task for the value; whoever asks for it has not died itself."""
    options: dict[str, Any] = {"cpus": 1, "gpus": 0.0, "patience": 60.0}
    with connected(ray_machines.address):
        maker, user = Cluster(pass_on_and_stay, **options), Cluster(add_up, **options)
        lost = maker.next(maker.call())
        there = maker.put(np.ones(LARGE))
        for _ in range(2):
            ray_machines.kill_machine(0)
        asked = user.call(lost)
        with pytest.raises(ValueLost):
            user.get(user.next(asked))
        assert [user.is_lost(lost), user.is_lost(there)] == [True, False]
        assert user.get(user.next(user.call(there))) == LARGE


@pytest.mark.timeout(3600)
def test_results_that_died_with_their_machine_are_made_again(
    ray_machines: Machines, stress_count: Callable[..., int]
) -> None:
    """Large results stay on the machine that made them; the blow falls when others are about to ask for them."""
    rng = random.Random(0)
    assert len(wanted()) == 12
    for _ in range(stress_count(20, quick=1)):
        # After the first layer, in the second one, or among those who want both.
        heard = rng.randrange(3, 9)
        with running("tests.graph.ray_graph", ray_machines.address) as process:
            assert process.stdout is not None
            for _ in range(heard):
                assert process.stdout.readline().startswith("stage ")
            ray_machines.kill_machine(rng.randrange(2))
            *told, sums = process.stdout.read().splitlines()
            assert process.wait() == 0
        assert heard + len(told) == 18, "every stage is told of once"
        assert sums == str([[145.0 + value] for value in range(12)])
