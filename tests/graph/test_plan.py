from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.graph.kinds import Kept, Number, OnDemand, stage

from perturblearn.graph import AnyStage, Executor, make_plan
from perturblearn.store import ArtefactStore

DATA = stage(OnDemand, 1, label="data")
FIRST = stage(Kept, 2, DATA, label="first", seed=5)
SET = stage(OnDemand, 3, FIRST, DATA, label="set")
SECOND = stage(Kept, 4, SET, label="second")
THIRD = stage(Kept, 5, FIRST, FIRST, label="third")


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path / "store")


def finish(store: ArtefactStore, *targets: AnyStage) -> None:
    Executor(make_plan(targets, store), store).run()


def states(*targets: AnyStage, store: ArtefactStore | None = None, force: bool = False) -> dict[str, str]:
    plan = make_plan(targets, store, force=force)
    return {found.label: plan.status[found.key] for found in plan.stages}


def test_inputs_come_before_users_and_equal_stages_once() -> None:
    again = stage(Kept, 2, stage(OnDemand, 1), label="the first again", seed=5)
    plan = make_plan([SECOND, THIRD, SECOND, again])
    assert [found.label for found in plan.stages] == ["data", "first", "set", "second", "third"]
    assert plan.targets == (SECOND, THIRD, FIRST)
    order = {found: place for place, found in enumerate(plan.stages)}
    assert all(order[source] < order[user] for user in plan.stages for source in user.inputs)


def test_users_are_counted_as_stages_not_as_uses() -> None:
    plan = make_plan([SECOND, THIRD])
    assert {found.label: plan.users[found.key] for found in plan.stages} == {
        "data": 2,
        "first": 2,
        "set": 1,
        "second": 0,
        "third": 0,
    }


def test_nothing_is_finished_without_a_store() -> None:
    assert states(SECOND) == {"data": "on demand", "first": "run", "set": "on demand", "second": "run"}


def test_what_is_finished_is_not_run_again_unless_forced(store: ArtefactStore) -> None:
    finish(store, FIRST)
    expected = {"data": "on demand", "first": "finished", "set": "on demand", "second": "run"}
    assert states(SECOND, store=store) == expected
    assert states(SECOND, store=store, force=True) == {**expected, "first": "run"}


def test_what_only_finished_stages_would_use_is_not_needed(store: ArtefactStore) -> None:
    finish(store, SECOND)
    store.remove(FIRST.key)
    assert states(SECOND, store=store) == {
        "data": "not needed",
        "first": "not needed",
        "set": "not needed",
        "second": "finished",
    }
    assert states(SECOND, FIRST, store=store)["first"] == "run"
    assert states(SECOND, THIRD, store=store) == {
        "data": "on demand",
        "first": "run",
        "set": "not needed",
        "second": "finished",
        "third": "run",
    }


def test_planning_computes_and_writes_nothing(tmp_path: Path) -> None:
    ran: list[AnyStage] = []
    source = stage(Kept, 2, note=ran.append)
    make_plan([stage(Kept, 1, source, note=ran.append)], ArtefactStore(tmp_path / "store"))
    assert ran == []
    assert list(tmp_path.iterdir()) == []


def test_the_plan_as_json_and_as_text(store: ArtefactStore) -> None:
    finish(store, FIRST)
    plan = make_plan([SECOND], store)
    content = json.loads(json.dumps(plan.to_dict()))
    assert [(entry["label"], entry["state"], entry["seed"]) for entry in content["stages"]] == [
        ("data", "on demand", None),
        ("first", "finished", 5),
        ("set", "on demand", None),
        ("second", "run", None),
    ]
    assert content["stages"][2]["inputs"] == {"sources 0": FIRST.key, "sources 1": DATA.key}
    lines = plan.describe().splitlines()
    assert all(found.key[:10] in line for found, line in zip(plan.stages, lines[:-1], strict=True))
    assert "seed 5" in lines[1]
    assert lines[-1].startswith("4 stages: 1 to run, 1 finished, 2 made only if asked for; 1 used more than once")


def test_no_targets_make_an_empty_plan() -> None:
    plan = make_plan([])
    assert plan.stages == plan.to_run == plan.finished == ()
    Executor(plan).run()


@pytest.mark.parametrize("kept", [True, False], ids=["stored", "in memory"])
def test_a_long_chain_of_stages_meets_no_recursion_limit(store: ArtefactStore, kept: bool) -> None:
    ran: list[AnyStage] = []
    last = stage(Kept, 1, note=ran.append)
    for _ in range(4999):
        last = stage(Kept, 1, last, note=ran.append)
    if kept:  # 5,000 planned, of which 50 are left to run
        for value, found in enumerate(make_plan([last]).stages[:4950], start=1):
            store.write(found.key, Kept.dump(Number(value)), origin={})
    plan = make_plan([last], store if kept else None)
    executor = Executor(plan, store if kept else None)
    executor.run()
    assert executor.result(last).value == 5000
    assert len(plan.stages) == 5000
    assert len(ran) == (50 if kept else 5000)
