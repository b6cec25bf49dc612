from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.graph.kinds import Kept, Number, OnDemand, stage

from perturblearn.graph import AnyStage, Executor, Progress, Results, make_plan
from perturblearn.store import ArtefactStore


class Workshop:
    """Makes stages; counts how often each has run, and which of their results still live."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.alive: weakref.WeakSet[Number] = weakref.WeakSet()
        self.most_alive = 0

    def stage(self, kind: type[OnDemand], value: int, *sources: AnyStage, **more: Any) -> Any:
        """A watched stage of a kind."""
        return stage(kind, value, *sources, note=self, **more)

    def __call__(self, found: AnyStage) -> None:
        self.runs[found.label] += 1

    def made(self, number: Number) -> Number:
        self.alive.add(number)
        self.most_alive = max(self.most_alive, len(self.alive))
        return number


class Watched(OnDemand):
    """Its results are watched as they are forgotten."""

    def run(self, result: Results) -> Number:
        assert isinstance(self.note, Workshop)
        return self.note.made(super().run(result))


class WatchedKept(Watched, Kept):
    kind = "stored"


@pytest.fixture
def shop() -> Iterator[Workshop]:
    gc.disable()  # what is released must go at once, not when the collector passes
    yield Workshop()
    gc.enable()


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path / "store")


def execute(store: ArtefactStore | None, *targets: AnyStage, force: bool = False, watch: Any = None) -> Executor:
    executor = Executor(make_plan(targets, store, force=force), store, watch)
    executor.run()
    return executor


def diamond(shop: Workshop) -> tuple[AnyStage, ...]:
    """data -> f -> set -> g, h; h and g also look at the data."""
    data = shop.stage(Watched, 1, label="data")
    f = shop.stage(WatchedKept, 10, data, label="f", work=1)
    perturbed = shop.stage(Watched, 100, f, data, label="set")
    g = shop.stage(WatchedKept, 1000, perturbed, data, label="g", work=2)
    h = shop.stage(WatchedKept, 10000, perturbed, label="h", work=1)
    return data, f, perturbed, g, h


# data = 1, f = 10 + 1, set = 100 + f + data = 112, g = 1000 + set + data, h = 10000 + set
EXPECTED = (1, 11, 112, 1113, 10112)


@pytest.mark.parametrize("kept", [True, False], ids=["stored", "in memory"])
def test_every_stage_is_right_and_runs_once(shop: Workshop, store: ArtefactStore, kept: bool) -> None:
    stages = diamond(shop)
    executor = execute(store if kept else None, *stages[3:])
    assert shop.runs == {"data": 1, "f": 1, "set": 1, "g": 1, "h": 1}
    assert tuple(executor.result(found).value for found in stages) == EXPECTED


def test_stored_kinds_are_stored_and_others_never(shop: Workshop, store: ArtefactStore) -> None:
    stages = diamond(shop)
    execute(store, *stages[3:])
    assert [store.has(found.key) for found in stages] == [False, True, False, True, True]


def test_nothing_stays_in_memory_after_its_last_user(shop: Workshop, store: ArtefactStore) -> None:
    executor = execute(store, *diamond(shop)[3:])
    assert len(shop.alive) == 0
    assert executor.plan.to_run  # the executor itself still lives


def test_a_chain_holds_two_results_at_a_time(shop: Workshop, store: ArtefactStore) -> None:
    last = shop.stage(Watched, 0, label="0")
    for number in range(1, 12):
        last = shop.stage(WatchedKept if number % 2 else Watched, 1, last, label=str(number))
    execute(store, last)
    assert shop.runs == {str(number): 1 for number in range(12)}
    # The one being made, its input, and the stored input of that, which was read for it.
    assert shop.most_alive <= 3
    assert len(shop.alive) == 0


def test_without_a_store_the_stored_kinds_stay_and_the_others_go(shop: Workshop) -> None:
    executor = execute(None, *diamond(shop)[3:])
    assert sorted(number.value for number in shop.alive) == [11, 1113, 10112]
    assert executor.plan.finished == ()


def test_an_input_that_is_not_asked_for_is_not_made(shop: Workshop, store: ArtefactStore) -> None:
    chosen, other = (shop.stage(Watched, value, label=str(value)) for value in (1, 2))

    class Choice(Kept):
        kind = "choice"

        def run(self, result: Results) -> Number:
            return Number(result(self.sources[0]).value)

    target = stage(Choice, 0, chosen, other)
    assert execute(store, target).result(target).value == 1
    assert shop.runs == {"1": 1}
    assert len(shop.alive) == 0


def test_a_second_run_makes_nothing(shop: Workshop, store: ArtefactStore) -> None:
    stages = diamond(shop)
    execute(store, *stages[3:])
    shop.runs.clear()
    executor = execute(store, *stages[3:])
    assert tuple(executor.result(found).value for found in (stages[1], *stages[3:])) == (11, 1113, 10112)
    assert shop.runs == {}
    assert executor.seconds == {}


def test_only_what_is_missing_runs(shop: Workshop, store: ArtefactStore) -> None:
    stages = diamond(shop)
    execute(store, *stages[3:])
    store.remove(stages[4].key)
    shop.runs.clear()
    execute(store, *stages[3:])
    assert shop.runs == {"data": 1, "set": 1, "h": 1}


def test_force_repeats_and_replaces(shop: Workshop, store: ArtefactStore) -> None:
    stages = diamond(shop)
    execute(store, *stages[3:])
    places = [store.folder / "artefacts" / found.key[:2] / found.key for found in stages[3:]]
    before = [place.stat().st_ino for place in places]
    execute(store, *stages[3:], force=True)
    assert shop.runs == {"data": 2, "f": 2, "set": 2, "g": 2, "h": 2}
    assert [place.stat().st_ino for place in places] != before


def damage(store: ArtefactStore, found: AnyStage) -> None:
    (store.folder / "artefacts" / found.key[:2] / found.key / "artefact.json").write_text("{}")


def test_damaged_results_are_told_and_made_again(shop: Workshop, store: ArtefactStore) -> None:
    stages = diamond(shop)
    execute(store, *stages[3:])
    shop.runs.clear()
    damage(store, stages[1])
    damage(store, stages[4])
    executor = Executor(make_plan(stages[3:], store), store)
    with pytest.warns(UserWarning, match="is damaged; it is computed again") as told:
        assert executor.result(stages[4]).value == 10112
    assert len(told) == 2
    assert shop.runs["f"] == shop.runs["h"] == 1
    assert shop.runs["g"] == 0
    assert [store.read(found.key).content["value"] for found in (stages[1], stages[4])] == [11, 10112]


def test_a_result_that_went_missing_meanwhile_is_made_again(shop: Workshop, store: ArtefactStore) -> None:
    f = diamond(shop)[1]
    execute(store, f)
    executor = Executor(make_plan([f], store), store)
    store.remove(f.key)
    assert executor.result(f).value == 11


def test_results_are_served_on_demand_and_forgotten_after_holding(shop: Workshop, store: ArtefactStore) -> None:
    data, _, perturbed, g, _ = diamond(shop)
    executor = execute(store, g)
    shop.runs.clear()
    executor.result(data)
    executor.result(data)
    assert shop.runs["data"] == 2
    shop.runs.clear()
    with executor.holding(data, perturbed):
        assert executor.result(perturbed) is executor.result(perturbed)
        assert executor.result(data) is executor.result(data)
        assert shop.runs == {"data": 1, "set": 1}
        assert len(shop.alive) == 2
    assert len(shop.alive) == 0


def test_holding_ends_with_an_error_too(shop: Workshop, store: ArtefactStore) -> None:
    data, f, *_ = diamond(shop)
    executor = execute(store, f)

    def hold_and_fail() -> None:
        with executor.holding(data):
            executor.result(data)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        hold_and_fail()
    assert len(shop.alive) == 0


def test_a_stage_that_fails_leaves_nothing_and_those_before_it_stay(shop: Workshop, store: ArtefactStore) -> None:
    class Failing(Kept):
        kind = "failing"

        def run(self, result: Results) -> Number:
            raise RuntimeError(f"after {result(self.sources[0]).value}")

    f = diamond(shop)[1]
    failing = stage(Failing, 1, f)
    with pytest.raises(RuntimeError, match="after 11"):
        execute(store, failing)
    assert store.has(f.key)
    assert not store.has(failing.key)
    assert list((store.folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("finished", [False, True], ids=["fresh", "f finished"])
def test_progress_grows_to_one_and_names_each_stage(shop: Workshop, store: ArtefactStore, finished: bool) -> None:
    _, f, _, g, h = diamond(shop)
    if finished:
        execute(store, f)
    said: list[Progress] = []
    execute(store, g, h, watch=said.append)
    shares = [word.share for word in said]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert [word.share for word in said if word.stage == g and word.note == "half"] == [1 / 3 if finished else 2 / 4]
    ends = [(word.number, word.total, word.stage.label) for word in said if word.finished and word.number]
    names = ["g", "h"] if finished else ["f", "g", "h"]
    assert ends == [(number, len(names), name) for number, name in enumerate(names, start=1)]
    assert {word.stage.label for word in said if not word.number} == {"data", "set"}


def test_seconds_of_a_stage_leave_out_what_was_made_for_it(store: ArtefactStore) -> None:
    import time

    class Slow(OnDemand):
        kind = "slow"

        def run(self, result: Results) -> Number:
            for source in self.sources:
                assert result(source).value == 0
            time.sleep(self.value / 1000)
            return Number(0)

    class Quick(Slow, Kept):
        kind = "quick"

    slow = stage(Slow, 200)
    quick = stage(Quick, 0, slow)
    seconds = execute(store, quick).seconds
    assert seconds[slow.key] >= 0.2
    assert seconds[quick.key] < 0.1 + 0.5 * seconds[slow.key]  # not the sum, whatever the machine is busy with


@dataclass(frozen=True, eq=False, kw_only=True)
class Sized(OnDemand):
    """Says how large its steps are."""

    kind = "sized"
    operations: float

    @property
    def step_operations(self) -> float:
        return self.operations


class KeptSized(Sized, Kept):
    kind = "stored and sized"


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def threads_of(*stages: AnyStage) -> dict[str, int]:
    """The threads that stages and their inputs, noted by name, run with."""
    found: dict[str, int] = {}

    def note(one: AnyStage) -> None:
        found[one.label] = torch.get_num_threads()

    def noting(one: Any) -> Any:
        return replace(one, note=note, sources=tuple(noting(source) for source in one.sources))

    execute(None, *(noting(one) for one in stages))
    return found


def test_small_steps_have_one_thread_and_all_others_those_of_the_process(three_threads: None) -> None:
    small = KeptSized(value=1, operations=9e7, name="small")
    large = KeptSized(value=2, operations=2e8, name="large")
    unknown = Kept(value=3, name="unknown")
    assert threads_of(small, large, unknown) == {"small": 1, "large": 3, "unknown": 3}
    assert torch.get_num_threads() == 3


def test_a_stage_has_the_same_threads_whatever_asks_for_it(three_threads: None) -> None:
    # The inputs are made while the outer stage runs.
    large = Sized(value=2, operations=2e8, name="large")
    small = Sized(value=1, operations=1e7, sources=(large,), name="small")
    outer = KeptSized(value=3, operations=2e8, sources=(small,), name="outer")
    assert threads_of(outer) == {"outer": 3, "small": 1, "large": 3}
