"""Stages that run together: what is a group, and what becomes of its members."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.graph.kinds import InGroup, Kept, Number, OnDemand, stage

from perturblearn.errors import StoreError
from perturblearn.graph import AnyStage, Executor, Plan, Progress, Results, make_plan
from perturblearn.store import Artefact, ArtefactStore

RUNS: list[tuple[Any, ...]] = []
"""Of each run of a group: the labels of all its members, and of those that were wanted."""
SINGLE: list[str] = []
"""Labels of the other stages as they run."""


def note(*found: Any) -> None:
    """What has run: a stage alone, or the labels of a group."""
    if len(found) == 1:
        SINGLE.append(found[0].label)
    else:
        RUNS.append(found)


def single(kind: type[OnDemand], value: int, *sources: AnyStage, **more: Any) -> Any:
    return stage(kind, value, *sources, note=note, **more)


def grouped(value: int, *sources: AnyStage, kind: type[InGroup] = InGroup, **more: Any) -> Any:
    return stage(kind, value, *sources, note=note, **more)


# data = 1, base = 2 + data = 3, seen = 4 + base + data = 8: what all members see, made on demand twice over.
DATA = single(OnDemand, 1, label="data")
BASE = single(Kept, 2, DATA, label="base", work=1)
SEEN = single(OnDemand, 4, BASE, DATA, label="seen")
A, B, C = (grouped(value, SEEN, label=label, work=2) for value, label in ((10, "a"), (20, "b"), (30, "c")))
OTHER = grouped(40, SEEN, group="other", label="other", work=2)
LAST = single(Kept, 100, A, C, label="last", work=1)
ALL = (A, B, C, OTHER, LAST)
EXPECTED = (18, 28, 38, 48, 156)
TOGETHER = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def nothing_has_run() -> None:
    RUNS.clear()
    SINGLE.clear()


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path / "store")


def execute(store: ArtefactStore | None, *targets: AnyStage, force: bool = False, watch: Any = None) -> Executor:
    executor = Executor(make_plan(targets, store, force=force), store, watch)
    executor.run()
    return executor


def values(executor: Executor, *stages: AnyStage) -> tuple[int, ...]:
    return tuple(executor.result(found).value for found in stages)


def inode(store: ArtefactStore, found: AnyStage) -> int:
    return (store.folder / "artefacts" / found.key[:2] / found.key).stat().st_ino


def labels(plan: Plan, found: AnyStage) -> list[str]:
    return [member.label for member in plan.group(found)]


@pytest.mark.parametrize("finished", [(), (B,), ALL], ids=["none", "one", "all"])
@pytest.mark.parametrize("force", [False, True])
def test_a_group_is_all_stages_with_its_fusion_key(
    store: ArtefactStore, finished: tuple[AnyStage, ...], force: bool
) -> None:
    execute(store, *finished)
    plan = make_plan(ALL, store, force=force)
    for member in (A, B, C):
        assert labels(plan, member) == TOGETHER
    for alone in (OTHER, LAST, SEEN):
        assert plan.group(alone) == (alone,)


def test_groups_are_of_one_kind_and_one_plan() -> None:
    class Twin(InGroup):
        kind = "twin"

    twin = grouped(20, SEEN, kind=Twin, label="twin")
    plan = make_plan([LAST, twin])
    # b is not in the plan, and an equal fusion key of another kind is another group.
    assert labels(plan, A) == ["a", "c"]
    assert plan.group(twin) == (twin,)


@pytest.mark.parametrize("kept", [True, False], ids=["stored", "in memory"])
def test_a_group_runs_once_and_every_member_is_right(store: ArtefactStore, kept: bool) -> None:
    executor = execute(store if kept else None, *ALL)
    assert RUNS == [(TOGETHER, TOGETHER), (["other"], ["other"])]
    assert sorted(SINGLE) == ["base", "data", "last", "seen"]
    assert values(executor, *ALL) == EXPECTED
    assert RUNS[2:] == []
    assert [store.has(found.key) for found in ALL] == [kept] * 5
    if kept:
        assert [store.read(found.key).content["value"] for found in ALL] == list(EXPECTED)


def test_finished_members_are_neither_wanted_nor_written_again(store: ArtefactStore) -> None:
    execute(store, B)
    before = inode(store, B)
    RUNS.clear()
    executor = execute(store, *ALL)
    assert RUNS[0] == (TOGETHER, ["a", "c"])
    assert values(executor, *ALL) == EXPECTED
    assert inode(store, B) == before
    assert B.key not in executor.seconds


def test_a_removed_member_runs_alone_with_its_group_known(store: ArtefactStore) -> None:
    execute(store, *ALL)
    others = [inode(store, found) for found in (A, C)]
    store.remove(B.key)
    RUNS.clear()
    execute(store, *ALL)
    assert RUNS == [(TOGETHER, ["b"])]
    assert store.read(B.key).content["value"] == 28
    assert [inode(store, found) for found in (A, C)] == others


def test_a_damaged_member_is_made_again_alone(store: ArtefactStore) -> None:
    execute(store, *ALL)
    others = [inode(store, found) for found in (A, B)]
    (store.folder / "artefacts" / C.key[:2] / C.key / "artefact.json").write_text("{}")
    RUNS.clear()
    executor = execute(store, *ALL)
    with pytest.warns(UserWarning, match="is damaged; it is computed again"):
        assert executor.result(C).value == 38
    assert RUNS == [(TOGETHER, ["c"])]
    assert store.read(C.key).content["value"] == 38
    assert [inode(store, found) for found in (A, B)] == others


def test_force_wants_every_member_and_replaces_it(store: ArtefactStore) -> None:
    execute(store, *ALL)
    before = [inode(store, found) for found in ALL]
    RUNS.clear()
    assert values(execute(store, *ALL, force=True), *ALL) == EXPECTED
    assert RUNS[0] == (TOGETHER, TOGETHER)
    assert all(now != then for now, then in zip([inode(store, found) for found in ALL], before, strict=True))


@pytest.mark.parametrize("kept", [True, False], ids=["stored", "in memory"])
def test_an_error_of_one_member_leaves_the_others(store: ArtefactStore, kept: bool) -> None:
    failing = [grouped(value, SEEN, label=f"fails {value}") for value in (1, 2)]
    plan = make_plan([A, *failing, C, LAST], store if kept else None)
    executor = Executor(plan, store if kept else None)
    with pytest.raises(RuntimeError, match=r"^fails 1$"):
        executor.run()
    assert SINGLE.count("last") == 0
    assert values(executor, A, C) == (18, 38)
    assert len(RUNS) == 1
    if kept:
        assert [store.has(found.key) for found in (A, *failing, C)] == [True, False, False, True]
        RUNS.clear()
        with pytest.raises(RuntimeError, match=r"^fails 1$"):
            execute(store, *plan.targets)
        assert RUNS == [(["a", "fails 1", "fails 2", "c"], ["fails 1", "fails 2"])]


def test_what_was_yielded_before_a_crash_is_kept(store: ArtefactStore) -> None:
    class Crashing(InGroup):
        @classmethod
        def run_group(cls, group: Sequence[Any], wanted: Sequence[int], result: Results) -> Iterator[tuple[int, Any]]:
            for count, found in enumerate(super().run_group(group, wanted, result)):
                if count == 2:
                    raise KeyboardInterrupt
                yield found

    crashing = [
        grouped(value, SEEN, kind=Crashing, label=label, work=2) for value, label in ((10, "a"), (20, "b"), (30, "c"))
    ]
    with pytest.raises(KeyboardInterrupt):
        execute(store, *crashing)
    assert [store.has(found.key) for found in (A, B, C)] == [True, True, False]
    RUNS.clear()
    assert values(execute(store, A, B, C), A, B, C) == (18, 28, 38)
    assert RUNS == [(TOGETHER, ["c"])]


@pytest.mark.parametrize("finished", [False, True], ids=["fresh", "b finished"])
def test_progress_of_a_group(store: ArtefactStore, finished: bool) -> None:
    if finished:
        execute(store, B)
    said: list[Progress] = []
    execute(store, *ALL, watch=said.append)
    shares = [word.share for word in said]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    ends = [
        (word.stage.label, word.number, word.total, word.together) for word in said if word.finished and word.number
    ]
    if finished:
        assert ends == [("a", 1, 4, 2), ("other", 3, 4, 1), ("last", 4, 4, 1)]
    else:
        assert ends == [("base", 1, 6, 1), ("a", 2, 6, 3), ("other", 5, 6, 1), ("last", 6, 6, 1)]
    # Works of 2 for each member and for the other group, 1 for last, and 1 for base where it runs.
    total, before, members = (7, 0, 2) if finished else (10, 1, 3)
    steps = [word.share for word in said if word.stage == A and word.note]
    assert steps == pytest.approx([(before + 2 * done) / total for done in range(1, members + 1)], rel=1e-15)


def test_seconds_are_shared_by_the_members(store: ArtefactStore) -> None:
    execute(store, B)
    executor = execute(store, *ALL)
    assert set(executor.seconds) == {found.key for found in (DATA, SEEN, A, C, OTHER, LAST)}
    assert executor.seconds[A.key] == executor.seconds[C.key] >= 0


class Watched:
    """Results of the grouped kind and its inputs, and how many have lived at once."""

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Number] = weakref.WeakSet()
        self.most = 0
        WatchedOnDemand.watched = WatchedInGroup.watched = self

    def note(self, number: Any) -> Any:
        self.alive.add(number)
        self.most = max(self.most, len(self.alive))
        return number


class WatchedOnDemand(OnDemand):
    watched: ClassVar[Watched]

    def run(self, result: Results) -> Number:
        return self.watched.note(super().run(result))


class WatchedInGroup(InGroup):
    watched: ClassVar[Watched]

    @classmethod
    def run_group(cls, group: Sequence[Any], wanted: Sequence[int], result: Results) -> Iterator[tuple[int, Any]]:
        for position, number in super().run_group(group, wanted, result):
            cls.watched.note(number)
            yield position, number
            del number


@pytest.fixture
def watched() -> Iterator[Watched]:
    gc.disable()  # what is released must go at once, not when the collector passes
    yield Watched()
    gc.enable()


@pytest.mark.parametrize("count", [4, 40])
def test_members_without_users_do_not_pile_up(watched: Watched, store: ArtefactStore, count: int) -> None:
    source = single(WatchedOnDemand, 1)
    members = [grouped(value, source, kind=WatchedInGroup) for value in range(count)]
    execute(store, *members)
    # The input, the first member (which was asked for), the last one and the one before it.
    assert watched.most <= 4
    assert len(watched.alive) == 0


def test_members_stay_for_their_users_and_inputs_for_all_members(watched: Watched, store: ArtefactStore) -> None:
    source = single(WatchedOnDemand, 1, label="source")
    first, second = (grouped(value, source, kind=WatchedInGroup, label="member") for value in (10, 20))
    middle = single(Kept, 100, first, label="middle")
    sets = single(WatchedOnDemand, 1000, middle, second, label="set")
    last = single(Kept, 10000, sets, second, source, label="last")
    executor = execute(store, last)
    assert executor.result(last).value == 1 + 21 + (1000 + 21 + 111) + 10000
    assert (RUNS, SINGLE) == ([(["member"] * 2, ["member"] * 2)], ["source", "middle", "last", "set"])
    assert len(watched.alive) == 0
    in_memory = execute(None, last)
    assert sorted(number.value for number in watched.alive) == [11, 21]
    assert in_memory.plan.finished == ()


class FullDisk(ArtefactStore):
    """A store that takes so many artefacts and no more."""

    def __init__(self, folder: Path, room: int) -> None:
        super().__init__(folder)
        self.room = room
        self.refused = 0

    def write(self, key: str, artefact: Artefact, *, origin: Mapping[str, Any], replace: bool = False) -> None:
        if self.room == 0:
            self.refused += 1
            raise StoreError("cannot write to the disk, which is full")
        self.room -= 1
        super().write(key, artefact, origin=origin, replace=replace)


@pytest.mark.parametrize("room", [0, 1, 2, 3, 5])
def test_a_full_disk_is_told_once_and_loses_nothing(tmp_path: Path, room: int) -> None:
    store = FullDisk(tmp_path / "store", room)
    with pytest.warns(UserWarning, match="which is full; the run goes on and keeps its stages in memory") as told:
        executor = execute(store, *ALL)
    assert len(told) == 1
    assert store.refused == 6 - room
    assert values(executor, *ALL) == EXPECTED
    # Nothing ran twice for want of a place.
    assert RUNS == [(TOGETHER, TOGETHER), (["other"], ["other"])]
    assert sorted(SINGLE) == ["base", "data", "last", "seen"]
    # A later run finds what was written, and has room for the rest.
    store.room = 10
    RUNS.clear()
    assert values(execute(store, *ALL), *ALL) == EXPECTED
    assert store.refused == 6 - room
    assert all(store.has(found.key) for found in ALL)


def test_a_full_disk_and_a_damaged_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FullDisk(tmp_path / "store", 10)
    execute(store, *ALL)
    (store.folder / "artefacts" / C.key[:2] / C.key / "artefact.json").write_text("{}")
    executor = execute(store, *ALL)

    def full(_: str) -> None:
        raise StoreError("cannot write to the disk, which is full")

    store.room = 0
    monkeypatch.setattr(store, "remove", full)
    with pytest.warns(UserWarning, match=r"is damaged|is full") as told:
        assert values(executor, *ALL) == EXPECTED
    assert len(told) == 2
    assert values(executor, *ALL) == EXPECTED
    assert RUNS[2:] == [(TOGETHER, ["c"])]


def test_an_error_that_is_not_the_store_s_ends_the_run(tmp_path: Path) -> None:
    class Unwritable(Kept):
        @classmethod
        def dump(cls, result: Number) -> Artefact:
            raise ValueError("no such number")

    with pytest.raises(ValueError, match="no such number"):
        execute(ArtefactStore(tmp_path), single(Unwritable, 1))
