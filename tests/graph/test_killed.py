from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.graph.slow_graph import targets
from tests.store.killing import survives

from perturblearn.graph import Executor, make_plan
from perturblearn.store import ArtefactStore


def test_a_killed_graph_goes_on_where_it_was(tmp_path: Path, stress_count: Callable[..., int]) -> None:
    wanted = targets(None)
    undisturbed = Executor(make_plan(wanted))
    undisturbed.run()
    expected = " ".join(str(undisturbed.result(found).value) for found in wanted)
    stored = {found.key for found in undisturbed.plan.to_run}
    assert len(stored) == 20

    rng = random.Random(0)
    kills = stress_count(100)
    for attempt in count():
        folder = tmp_path / str(attempt)
        folder.mkdir()
        log, store = folder / "log", ArtefactStore(folder / "store")
        log.touch()
        while True:
            finished = {key for key in stored if store.has(key)}
            begun = len(log.read_text().splitlines())
            # 20 stages and 3 on demand sleep 5 ms each: a tenth to nine tenths of a whole run.
            if kills:
                survived = survives("tests.graph.slow_graph", folder, kill_after=rng.uniform(0.01, 0.1))
                kills -= not survived
            else:
                survived = survives("tests.graph.slow_graph", folder)
            again = log.read_text().splitlines()[begun:]
            assert finished.isdisjoint(again)
            assert len(set(again)) == len(again)
            if survived:
                break
        assert (folder / "results").read_text() == expected
        assert {key for key in stored if store.has(key)} == stored
        if not kills:
            return
