"""Results that are passed on instead of being kept, and runs in which one failure does not stop the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.graph.kinds import InGroup, Kept, Number, OnDemand, stage

from perturblearn.graph import AnyStage, Executor, Results, make_plan
from perturblearn.store import Artefact, ArtefactStore, Drafts

RAN: list[str] = []


def made(kind: type[OnDemand], value: int, *sources: AnyStage, label: str) -> Any:
    """A stage that notes its label when it runs."""
    return stage(kind, value, *sources, label=label, note=lambda found: RAN.append(found.label))


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


def is_measure(found: AnyStage) -> bool:
    return found.label.startswith("measure")


def chain(number: int = 1) -> tuple[AnyStage, AnyStage, AnyStage, Any]:
    """data -> f -> g -> measure, of which f and g are not kept."""
    data = made(OnDemand, number, label="data")
    f = made(Kept, 10, data, label="f")
    g = made(Kept, 100, f, data, label="g")
    return data, f, g, made(Kept, 1000, g, f, label=f"measure {number}")


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

    class Long(Kept):
        kind = "long"

        def run(self, result: Results) -> Number:
            kept = result.drafts.read("all of it")
            heard.append(0 if kept is None else kept.content["value"])
            result.drafts.write("all of it", Artefact({"value": 7}))
            return Number(7)

    fails = [True]

    class Use(Kept):
        kind = "use"

        def run(self, result: Results) -> Number:
            value = result(self.sources[0]).value
            if fails[0]:
                raise KeyboardInterrupt
            return Number(value)

    long = stage(Long, 1, label="f")
    measure = stage(Use, 1, long, label="measure")
    store = ArtefactStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        Executor(make_plan([measure], store, keeps=is_measure), store).run()
    fails[0] = False
    Executor(make_plan([measure], store, keeps=is_measure), store).run()
    assert heard == [0, 7]  # the second time it found what the first had put aside
    assert count(store) == 1
    assert store.has(measure.key)
    # As a process leaves them that dies once its measure is kept: the next one finds them.
    Drafts(store, long.key).write("all of it", Artefact({"value": 7}))
    Executor(make_plan([measure], store, keeps=is_measure), store).run()
    assert count(store) == 1


def test_stages_beside_the_targets_belong_to_their_groups(tmp_path: Path) -> None:
    groups: list[tuple[list[str], list[str]]] = []
    first, second = (
        stage(InGroup, value, label=f"f{value}", note=lambda *labels: groups.append(labels)) for value in (1, 2)
    )
    plan = make_plan([first], beside=[second])
    assert plan.status[second.key] == "not needed"
    Executor(plan).run()
    assert groups == [(["f2", "f1"], ["f1"])]  # in their order, whatever is wanted of them


class Failing(Kept):
    kind = "failing"

    def run(self, result: Results) -> Number:
        RAN.append(self.label)
        raise RuntimeError(f"{self.label} cannot")


def failing(label: str, *sources: AnyStage) -> AnyStage:
    return stage(Failing, len(label), *sources, label=label)


def test_the_others_go_on_after_an_error(tmp_path: Path) -> None:
    bad = failing("bad")
    user = made(Kept, 1, bad, label="user")
    its_user = made(Kept, 2, user, label="its user")
    good = made(Kept, 3, label="good")
    heard: dict[str, str | None] = {}
    store = ArtefactStore(tmp_path)
    executor = Executor(
        make_plan([its_user, good], store),
        store,
        done=lambda found, error: heard.update({found.label: None if error is None else str(error)}),
    )
    executor.run(keep_going=True)
    assert RAN.count("bad") == 1
    assert heard == dict.fromkeys(("bad", "user", "its user"), "bad cannot") | {"good": None}
    assert set(executor.errors) == {bad.key, user.key, its_user.key}
    assert count(store) == 1
    with pytest.raises(RuntimeError, match="bad cannot"):
        executor.result(user)
    assert executor.result(good).value == 3


def test_an_error_on_demand_is_that_of_all_who_asked() -> None:
    class Missing(OnDemand):
        kind = "missing"

        def run(self, result: Results) -> Number:
            RAN.append(self.label)
            raise RuntimeError("no data")

    data = stage(Missing, 1, label="data")
    users = [made(Kept, value, data, label=f"user {value}") for value in (1, 2)]
    heard: list[tuple[str, str]] = []
    executor = Executor(make_plan(users), done=lambda found, error: heard.append((found.label, str(error))))
    executor.run(keep_going=True)
    assert RAN.count("data") == 1
    assert heard == [("user 1", "no data"), ("user 2", "no data")]


def test_one_member_of_a_group_fails_alone() -> None:
    members = [stage(InGroup, value, label=label) for value, label in enumerate(("a", "fails b", "c"))]
    users = [made(Kept, 10, member, label=f"user of {member.label}") for member in members]
    executor = Executor(make_plan(users))
    executor.run(keep_going=True)
    assert set(executor.errors) == {members[1].key, users[1].key}
    assert [executor.result(users[index]).value for index in (0, 2)] == [10, 12]


def test_the_first_error_ends_a_run_that_does_not_go_on() -> None:
    good = made(Kept, 3, label="good")
    executor = Executor(make_plan([failing("bad"), good]))
    with pytest.raises(RuntimeError, match="bad cannot"):
        executor.run()
    assert RAN == ["bad"]


def test_an_interruption_is_no_error_of_a_stage() -> None:
    class Interrupted(Kept):
        kind = "interrupted"

        def run(self, result: Results) -> Number:
            raise KeyboardInterrupt

    executor = Executor(make_plan([stage(Interrupted, 1)]))
    with pytest.raises(KeyboardInterrupt):
        executor.run(keep_going=True)
    assert executor.errors == {}
