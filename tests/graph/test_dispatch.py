"""Pieces of a plan sent to others: what comes back, whoever dies and whatever is lost on the way."""

from __future__ import annotations

import itertools
import os
import pickle
import random
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.experiment.tiny import same_artefact
from tests.graph.kinds import InGroup, Kept, Number, OnDemand, StoredNumber, stage

from perturblearn.errors import DataError, PerturbLearnError
from perturblearn.graph import AnyStage, Executor, Plan, Progress, Results, make_plan
from perturblearn.graph.dispatch import Dispatcher, MachineDied, ProcessDied, ValueLost
from perturblearn.graph.on_ray import RayExecutor
from perturblearn.graph.remote import MOST_BYTES, MOST_MADE, Packed, Place, RecentResults, Task, execute_task
from perturblearn.graph.tasks import cut
from perturblearn.store import Artefact, ArtefactStore

pytest.importorskip("ray", reason="the executor that hears from others is Ray's")

RUNS: list[str] = []


@pytest.fixture(autouse=True)
def _forget_runs() -> None:
    RUNS.clear()


def note(found: AnyStage) -> None:
    RUNS.append(found.key)


def made(kind: type[OnDemand], value: int, *sources: AnyStage, **more: Any) -> Any:
    """A stage that notes its key when it runs."""
    return stage(kind, value, *sources, note=note, **more)


def grouped(value: int, *sources: AnyStage, **more: Any) -> Any:
    return stage(InGroup, value, *sources, group="g", **more)


class Here:
    """Calls that run in this process, one step at a time in an order by lot, and that may die or lose values.

    Args:
        seed: of the lots.
        deaths, losses: how many of them there will be.
        dies: of which tasks the process dies whenever they run.
    """

    def __init__(
        self, seed: int = 0, deaths: int = 0, losses: int = 0, dies: Callable[[Task], bool] = lambda _: False
    ) -> None:
        self._rng = random.Random(seed)
        self._deaths, self._losses = deaths, losses
        self._dies = dies
        self._values: dict[str, Any] = {}
        self._names = (f"<{number}>" for number in itertools.count())
        self._calls: dict[str, Iterator[Any]] = {}
        self.tasks: list[Task] = []
        self.dies_after = 1
        self.cancelled: list[str] = []

    def slots(self) -> int:
        return 2

    def put(self, value: Any) -> str:
        name = next(self._names)
        self._values[name] = pickle.dumps(value)
        return name

    def call(self, task: Task, *arguments: Any) -> str:
        self.tasks.append(task)
        name = next(self._names)
        self._calls[name] = self._carried_out(task, arguments)
        return name

    def _carried_out(self, task: Task, arguments: Sequence[Any]) -> Iterator[Any]:
        values = [self.get(argument) if isinstance(argument, str) else argument for argument in arguments]
        for number, word in enumerate(execute_task(task, *values)):
            if number == self.dies_after and self._dies(task):
                raise ProcessDied("by its own hand")
            if self._deaths and self._rng.random() < 0.3:
                self._deaths -= 1
                raise self._rng.choice((ProcessDied, MachineDied))("by lot")
            if self._losses and self._values and self._rng.random() < 0.3:
                self._losses -= 1
                self._values.pop(self._rng.choice(sorted(self._values)))
            yield word

    def wait(self, calls: Sequence[str]) -> list[str]:
        return [self._rng.choice(calls)] if calls else []

    def next(self, call: str) -> str:
        try:
            return self.put(next(self._calls[call]))
        except StopIteration:
            raise ProcessDied("it has ended") from None

    def get(self, reference: str) -> Any:
        if reference not in self._values:
            raise ValueLost("by lot")
        return pickle.loads(self._values[reference])

    def is_lost(self, reference: str) -> bool:
        return reference not in self._values

    def cancel(self, calls: Iterable[str]) -> None:
        self.cancelled += calls


def execute(
    plan: Plan,
    store: ArtefactStore | None,
    calls: Here,
    *,
    keep_going: bool = False,
    sign: Path | None = None,
    **more: Any,
) -> RayExecutor:
    executor = RayExecutor(plan, store, **more)
    executor._keeps_going = keep_going
    drafts = None if sign is None or store is None else (str(store.folder), None, str(sign))
    place = Place(uuid.uuid4().hex, os.getcwd(), {}, torch.get_num_threads(), drafts)
    Dispatcher(executor, cut(plan), calls, place).run()
    return executor


def layers() -> list[AnyStage]:
    """Shared data, two shared stages, a shared group, and many runs of two stages."""
    data = made(OnDemand, 1)
    shared = [made(Kept, 10 + value, data, work=1.0) for value in range(2)]
    together = [grouped(20 + value, *shared, label=f"member {value}") for value in range(3)]
    runs = [made(Kept, 100 + value, data, together[value % 3], shared[value % 2]) for value in range(12)]
    return [made(Kept, 1000, run, data) for run in runs] + together[:1]


@pytest.mark.parametrize("kept", ["all", "last", "in memory"])
@pytest.mark.parametrize("seed", range(12))
def test_results_are_those_of_one_process_whoever_dies_and_whatever_is_lost(
    kept: str, seed: int, tmp_path: Path
) -> None:
    wanted = layers()
    keeps = None if kept == "all" else {found.key for found in wanted}.__contains__
    plan = make_plan(wanted, keeps=None if keeps is None else lambda found: keeps(found.key))
    alone = ArtefactStore(tmp_path / "alone")
    Executor(plan, alone).run()

    done: list[tuple[AnyStage, Exception | None]] = []
    store = None if kept == "in memory" else ArtefactStore(tmp_path / "others")
    heard: list[Progress] = []
    calls = Here(seed, deaths=seed % 4, losses=2 * (seed % 3))
    executor = execute(plan, store, calls, done=lambda *ended: done.append(ended), watch=heard.append)

    assert sorted(found.key for found, _ in done) == sorted(found.key for found in plan.to_run)
    assert [error for _, error in done if error] == []
    assert {found.key for found in plan.to_run} <= executor.seconds.keys()
    assert [word.number for word in heard] == list(range(1, len(plan.to_run) + 1))
    assert heard[-1].share == 1
    before = len(calls.tasks), len(RUNS)
    for found in wanted:
        same_artefact(Artefact({"value": executor.result(found).value}), alone.read(found.key))
    assert (len(calls.tasks), len(RUNS)) == before, "what is kept is there"
    if store is not None:
        assert {found.key for found in plan.stages if store.has(found.key)} == {
            found.key for found in plan.stages if alone.has(found.key)
        }


def test_nothing_runs_twice_where_nothing_dies(tmp_path: Path) -> None:
    plan = make_plan(layers())
    execute(plan, ArtefactStore(tmp_path), Here())
    stored = [key for key in RUNS if plan.status[key] == "run"]
    assert len(set(stored)) == len(stored) == sum(type(found) is Kept for found in plan.to_run)
    # Data that every task needs are made by the first one in this process, and are there for the others.
    assert len(RUNS) == len(stored) + 1


def test_finished_stages_are_sent_and_not_run(tmp_path: Path) -> None:
    wanted, store = layers(), ArtefactStore(tmp_path)
    Executor(make_plan(wanted[:6], store), store).run()
    RUNS.clear()
    plan = make_plan(wanted, store)
    executor = execute(plan, store, Here())
    assert {key for key in RUNS if key in plan.status and plan.status[key] == "finished"} == set()
    assert [executor.result(found).value for found in wanted[:2]] == [1156, 1159]


def test_a_damaged_input_is_made_again_here(tmp_path: Path) -> None:
    first = made(Kept, 1)
    store = ArtefactStore(tmp_path)
    Executor(make_plan([first], store), store).run()
    (tmp_path / "artefacts" / first.key[:2] / first.key / "artefact.json").write_text("{}")
    last = made(Kept, 2, first)
    with pytest.warns(UserWarning, match="is damaged; it is computed again"):
        executor = execute(make_plan([last], store), store, Here())
    assert executor.result(last).value == 3
    assert store.read(first.key).content == {"value": 1}


class Failing(Kept):
    kind = "failing"

    def run(self, result: Results) -> Number:
        raise DataError("no good")


@pytest.mark.parametrize("deaths", [0, 3])
def test_errors_reach_all_who_need_the_stage_and_nobody_else(deaths: int) -> None:
    bad = stage(Failing, 0, work=1.0)
    members = [grouped(value, label=label) for value, label in enumerate(("good", "fails"))]
    between = made(OnDemand, 3, bad)
    lost = [made(Kept, value, between, members[0]) for value in range(4)] + [made(Kept, 9, members[1])]
    fine = [made(Kept, 10 + value, members[0]) for value in range(4)]
    done: dict[str, Exception | None] = {}
    plan = make_plan([*lost, *fine])
    calls = Here(1, deaths=deaths)
    executor = execute(plan, None, calls, keep_going=True, done=lambda found, error: done.setdefault(found.key, error))
    assert {key for key, error in done.items() if error} == {found.key for found in (bad, members[1], *lost)}
    assert isinstance(done[lost[0].key], DataError)
    assert str(done[lost[-1].key]) == "fails"
    assert [executor.result(found).value for found in fine] == [10, 11, 12, 13]
    with pytest.raises(DataError, match="no good"):
        executor.result(lost[0])


def test_the_first_error_ends_it_unless_others_are_to_keep_going() -> None:
    with pytest.raises(DataError, match="no good"):
        execute(make_plan([stage(Failing, 0)]), None, Here())


@pytest.mark.parametrize(("dies_after", "deaths"), [(1, 4), (0, 20)], ids=["at work", "before it begins"])
def test_a_piece_of_which_processes_die_fails_alone_with_a_sentence(dies_after: int, deaths: int) -> None:
    runs = [made(Kept, value, label=f"run {value}", seed=value) for value in range(30)]
    users = [made(Kept, 100 + value, runs[7], runs[8]) for value in range(2)]
    deadly = runs[7].key
    calls = Here(dies=lambda task: any(sent.fields["key"] == deadly and "value" in sent.fields for sent in task.stages))
    calls.dies_after = dies_after
    executor = execute(make_plan([*runs, *users]), None, calls, keep_going=True)
    assert sum(any(step.do == "run" and step.keys == (deadly,) for step in task.steps) for task in calls.tasks) in (
        deaths,
        deaths + 1,  # once among others
    )
    assert executor.errors.keys() == {deadly, *(user.key for user in users)}
    assert isinstance(executor.errors[deadly], PerturbLearnError)
    assert "run 7, seed 7: one process after the other died of it (by its own hand)" in str(executor.errors[deadly])
    assert [executor.result(found).value for found in runs if found.key != deadly] == [*range(7), *range(8, 30)]


class Losing(Here):
    """Calls that lose a value that was passed on whenever one is asked for, so many times, and may know of which."""

    def __init__(self, times: int, *, knows: bool) -> None:
        super().__init__()
        self._times = times
        self._knows = knows

    def _carried_out(self, task: Task, arguments: Sequence[Any]) -> Iterator[Any]:
        if arguments and self._times:
            self._times -= 1
            self._values.pop(arguments[0], None)
        return super()._carried_out(task, arguments)

    def is_lost(self, reference: str) -> bool:
        return self._knows and super().is_lost(reference)


@pytest.mark.parametrize("knows", [True, False])
def test_a_lost_value_is_made_again_and_the_others_too_only_if_it_is_not_known_which(knows: bool) -> None:
    shared = [made(Kept, value, work=1.0) for value in range(3)]
    users = [made(Kept, 10 + value, *shared, work=1.0) for value in range(2)]
    executor = execute(make_plan(users, keeps=users.__contains__), None, Losing(1, knows=knows))
    assert [executor.result(found).value for found in users] == [13, 14]
    assert [RUNS.count(found.key) for found in shared] == ([2, 1, 1] if knows else [2, 2, 2])


def test_nobody_asks_for_ever_for_what_is_lost_again_and_again() -> None:
    shared = [made(Kept, value, work=1.0) for value in range(2)]
    users = [made(Kept, 10 + value, *shared, label=f"user {value}", work=1.0) for value in range(2)]
    fine = made(Kept, 100)
    plan = make_plan([*users, fine], keeps=lambda found: found not in shared)
    executor = execute(plan, None, Losing(10**6, knows=True), keep_going=True)
    assert executor.errors.keys() == {found.key for found in users}
    assert "user 0: one process after the other died of it (by lot)" in str(executor.errors[users[0].key])
    assert executor.result(fine).value == 100


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class Odd(Kept):
    kind = "odd"

    def run(self, result: Results) -> Number:
        raise Unpicklable("odd", "indeed")


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    odd = stage(Odd, 0)
    executor = execute(make_plan([odd]), None, Here(), keep_going=True)
    assert str(executor.errors[odd.key]) == "Unpicklable: odd"


class Cautious(Kept):
    kind = "cautious"

    def run(self, result: Results) -> Number:
        warnings.warn("take care", DeprecationWarning, stacklevel=2)
        return Number(1)


def test_warnings_are_passed_on() -> None:
    warning = stage(Cautious, 0)
    with pytest.warns(DeprecationWarning, match="take care"):
        execute(make_plan([warning]), None, Here())


@dataclass(frozen=True, eq=False, kw_only=True)
class Resumable(StoredNumber):
    kind = "resumable"
    interrupted: bool

    @property
    def work(self) -> float:
        return 1.0

    def run(self, result: Results) -> Number:
        before = result.drafts.read("begun")
        result.drafts.write("begun", Artefact({"value": 1}))
        if before is None and self.interrupted:
            raise KeyboardInterrupt
        return Number(0 if before is None else before.content["value"])


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "passed on"])
def test_drafts_survive_an_interruption_and_go_in_the_end(keeps: bool, tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path / "store")
    long = Resumable(interrupted=True)
    users = [made(Kept, value, long) for value in range(2)]
    plan = make_plan(users, store, keeps=lambda found: keeps or found is not long)
    with store.scratch() as sign:
        with pytest.raises(KeyboardInterrupt):
            execute(plan, store, Here(), sign=sign)
        assert len(list((tmp_path / "store/artefacts").glob("*/*"))) == 1
        executor = execute(plan, store, Here(), sign=sign)
    assert [executor.result(found).value for found in users] == [1, 2]
    assert len(list((tmp_path / "store/artefacts").glob("*/*"))) == 2 + keeps


def test_without_the_store_s_disk_there_are_no_drafts(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path / "store")
    long = Resumable(interrupted=False)
    execute(make_plan([long], store), store, Here(), sign=tmp_path / "elsewhere")
    assert [path.name for path in (tmp_path / "store/artefacts").glob("*/*")] == [long.key]


def test_tensors_are_packed_and_unpacked_to_the_bit() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    sent = {
        "part": whole[:, 1],
        "turned": whole.T,
        "half": whole.to(torch.bfloat16),
        "few": torch.tensor([True, False]),
        "none": torch.empty(0, 3, dtype=torch.int64),
    }
    artefact = Artefact({"number": 0.1, "list": [1, None]}, sent)
    same_artefact(pickle.loads(pickle.dumps(Packed.of(artefact))).artefact, artefact)
    assert Packed.of(Artefact({"a": 1})).tensors == b""


def test_a_process_keeps_the_last_few_results_that_were_made_on_demand() -> None:
    recent = RecentResults()
    for number in range(MOST_MADE):
        recent.put(str(number), Number(number))
    assert recent.get("0").value == 0
    recent.put("one more", Number(100))
    assert recent.get("1") is None, "it was not used for longest"
    assert recent.get("0").value == 0
    large = torch.empty(1, dtype=torch.uint8).expand(MOST_BYTES // 2 + 1)
    recent.put("large", large)
    recent.put("large too", large)
    assert [recent.get(name) for name in ("0", "one more", "large")] == [None] * 3
    assert recent.get("large too") is large
    recent.put("too large", large.expand(2, -1))
    assert recent.get("too large") is None
    assert recent.get("large too") is large
