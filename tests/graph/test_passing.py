"""Results that are passed on instead of being kept, and runs in which one failure does not stop the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.graph.kinds import Number, grouped_kind, kinds, stage

from perturblearn.graph import Executor, Report, Stage, StageKind, make_plan
from perturblearn.store import Artefact, ArtefactStore, Drafts

RAN: list[str] = []


STORED, ON_DEMAND = kinds(lambda found: RAN.append(found.label))


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


def is_measure(found: Stage) -> bool:
    return found.label.startswith("measure")


def chain(number: int = 1) -> tuple[Stage, Stage, Stage, Stage]:
    """data -> f -> g -> measure, of which f and g are not kept."""
    data = stage(ON_DEMAND, number, label="data")
    f = stage(STORED, 10, data, label="f")
    g = stage(STORED, 100, f, data, label="g")
    return data, f, g, stage(STORED, 1000, g, f, label=f"measure {number}")


def count(store: ArtefactStore) -> int:
    return len(list(store.folder.glob("artefacts/*/*")))


@pytest.mark.parametrize("with_store", [True, False])
def test_what_is_passed_on_runs_once_and_is_not_kept(tmp_path: Path, with_store: bool) -> None:
    store = ArtefactStore(tmp_path) if with_store else None
    _, f, g, measure = chain()
    plan = make_plan([measure], store, keeps=is_measure)
    assert [plan.status[each.key] for each in (f, g, measure)] == ["run", "run", "run"]
    assert (plan.is_kept(f), plan.is_kept(measure)) == (False, True)
    executor = Executor(plan, store)
    executor.run()
    assert sorted(RAN) == ["data", "f", "g", "measure 1"]
    assert executor.result(measure).value == 1000 + (100 + 11 + 1) + 11
    if store is not None:
        assert store.has(measure.key)
        assert count(store) == 1


def test_what_is_passed_on_is_not_made_where_its_users_are_finished(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    *_, measure = chain()
    Executor(make_plan([measure], store, keeps=is_measure), store).run()
    plan = make_plan([measure], store, keeps=is_measure)
    assert plan.to_run == ()
    assert plan.finished == (measure,)


def test_what_others_have_kept_is_read_and_stays(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    _, f, g, measure = chain()
    Executor(make_plan([f], store), store).run()
    RAN.clear()
    Executor(make_plan([measure], store, keeps=is_measure), store).run()
    assert "f" not in RAN
    assert store.has(f.key)
    assert not store.has(g.key)


def test_nothing_that_is_passed_on_stays_in_memory() -> None:
    plan = make_plan([each for number in range(3) for each in chain(number)[3:]], keeps=is_measure)
    executor = Executor(plan)
    executor.run()
    assert {each.key for each in plan.to_run if is_measure(each)} == set(executor._memory)


def test_drafts_of_what_is_passed_on_stay_until_it_has_been_used(tmp_path: Path) -> None:
    heard: list[int] = []

    def work(found: Stage, inputs: Mapping[str, Any], drafts: Drafts, report: Report) -> Number:
        kept = drafts.read("all of it")
        heard.append(0 if kept is None else kept.content["value"])
        drafts.write("all of it", Artefact({"value": 7}))
        return Number(7)

    fails = [True]

    def use(found: Stage, inputs: Mapping[str, Any], report: Report) -> Number:
        value = inputs["0"].value
        if fails[0]:
            raise KeyboardInterrupt
        return Number(value)

    dump, load = STORED.dump, STORED.load
    long = stage(StageKind("long", 1, dump=dump, load=load, run_resumable=work), 1, label="f")
    measure = stage(StageKind("use", 1, use, dump, load), 1, long, label="measure")
    store = ArtefactStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        Executor(make_plan([measure], store, keeps=is_measure), store).run()
    fails[0] = False
    Executor(make_plan([measure], store, keeps=is_measure), store).run()
    assert heard == [0, 7]  # the second time it found what the first had put aside
    assert count(store) == 1
    assert store.has(measure.key)


def test_stages_beside_the_targets_belong_to_their_groups(tmp_path: Path) -> None:
    groups: list[tuple[list[str], list[str]]] = []
    kind = grouped_kind(lambda group, wanted: groups.append((group, wanted)))
    first, second = (Stage(kind, {"value": value, "group": 0}, label=f"f{value}") for value in (1, 2))
    plan = make_plan([first], beside=[second])
    assert plan.status[second.key] == "not needed"
    Executor(plan).run()
    assert groups == [(["f2", "f1"], ["f1"])]  # in their order, whatever is wanted of them


def failing(label: str, *inputs: Stage) -> Stage:
    def fail(found: Stage, of: Mapping[str, Any], report: Report) -> Number:
        RAN.append(found.label)
        raise RuntimeError(f"{found.label} cannot")

    return stage(StageKind("failing", 1, fail, STORED.dump, STORED.load), len(label), *inputs, label=label)


def test_the_others_go_on_after_an_error(tmp_path: Path) -> None:
    bad = failing("bad")
    user = stage(STORED, 1, bad, label="user")
    its_user = stage(STORED, 2, user, label="its user")
    good = stage(STORED, 3, label="good")
    heard: dict[str, str | None] = {}
    store = ArtefactStore(tmp_path)
    executor = Executor(
        make_plan([its_user, good], store),
        store,
        done=lambda found, error: heard.update({found.label: None if error is None else str(error)}),
    )
    executor.run(go_on=True)
    assert RAN.count("bad") == 1
    assert heard == dict.fromkeys(("bad", "user", "its user"), "bad cannot") | {"good": None}
    assert set(executor.errors) == {bad.key, user.key, its_user.key}
    assert count(store) == 1
    with pytest.raises(RuntimeError, match="bad cannot"):
        executor.result(user)
    assert executor.result(good).value == 3


def test_an_error_on_demand_is_that_of_all_who_asked() -> None:
    def fail(found: Stage, of: Mapping[str, Any], report: Report) -> Number:
        RAN.append(found.label)
        raise RuntimeError("no data")

    data = stage(StageKind("missing", 1, fail), 1, label="data")
    users = [stage(STORED, value, data, label=f"user {value}") for value in (1, 2)]
    heard: list[tuple[str, str]] = []
    executor = Executor(make_plan(users), done=lambda found, error: heard.append((found.label, str(error))))
    executor.run(go_on=True)
    assert RAN.count("data") == 1
    assert heard == [("user 1", "no data"), ("user 2", "no data")]


def test_one_member_of_a_group_fails_alone() -> None:
    kind = grouped_kind(lambda group, wanted: None)
    members = [
        Stage(kind, {"value": value, "group": 0}, label=label) for value, label in enumerate(("a", "fails b", "c"))
    ]
    users = [stage(STORED, 10, member, label=f"user of {member.label}") for member in members]
    executor = Executor(make_plan(users))
    executor.run(go_on=True)
    assert set(executor.errors) == {members[1].key, users[1].key}
    assert [executor.result(users[index]).value for index in (0, 2)] == [10, 12]


def test_the_first_error_ends_a_run_that_does_not_go_on() -> None:
    good = stage(STORED, 3, label="good")
    executor = Executor(make_plan([failing("bad"), good]))
    with pytest.raises(RuntimeError, match="bad cannot"):
        executor.run()
    assert RAN == ["bad"]


def test_an_interruption_is_no_error_of_a_stage() -> None:
    def interrupt(found: Stage, of: Mapping[str, Any], report: Report) -> Number:
        raise KeyboardInterrupt

    executor = Executor(make_plan([stage(StageKind("interrupted", 1, interrupt, STORED.dump, STORED.load), 1)]))
    with pytest.raises(KeyboardInterrupt):
        executor.run(go_on=True)
    assert executor.errors == {}
