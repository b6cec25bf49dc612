"""Large results: read from the store by whoever asks instead of being held, and put into files as they lie there."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from tests.graph.kinds import Kept, Number, OnDemand, stage

from perturblearn.graph import AnyStage, Executor, Results, Stored, make_plan
from perturblearn.store import Artefact, ArtefactStore


class Workshop:
    """Counts how often large results are made or read, and which of them live."""

    def __init__(self, kind: type[Large] | None = None) -> None:
        self.kind = kind or Large
        self.runs: Counter[str] = Counter()
        self.reads = 0
        self.alive: weakref.WeakSet[Number] = weakref.WeakSet()
        self.seen: list[int] = []
        Large.shop = self  # results are read without a stage at hand

    def living(self, number: Number) -> Number:
        self.alive.add(number)
        return number


class Large(OnDemand, Stored[Number]):
    """A result with tensors."""

    kind = "large"
    is_read_back = True
    shop: ClassVar[Workshop]

    def run(self, result: Results) -> Number:
        self.shop.runs[self.label] += 1
        return self.shop.living(Number(self.value))

    @classmethod
    def dump(cls, result: Number) -> Artefact:
        return Artefact({}, {"numbers": torch.full((5,), result.value), "marks": torch.tensor([True, False])})

    @classmethod
    def load(cls, artefact: Artefact) -> Number:
        cls.shop.reads += 1
        return cls.shop.living(Number(int(artefact.tensors["numbers"][0])))


class Held(Large):
    is_read_back = False


class Small(Kept):
    """Adds its sources one after the other."""

    kind = "small"

    def run(self, result: Results) -> Number:
        shop = Large.shop
        shop.runs[self.label] += 1
        shop.seen.append(len(shop.alive))
        total = self.value
        for source in self.sources:
            total += result(source).value
            shop.seen.append(len(shop.alive))
        return Number(total)


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.disable()  # what is released must go at once, not when the collector passes
    yield
    gc.enable()


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path / "store")


def parts_and_users(shop: Workshop) -> tuple[Any, ...]:
    """Three parts, of which two stages make their sums."""
    parts = tuple(stage(shop.kind, value, label=f"part {value}") for value in (1, 10, 100))
    return (*parts, *(stage(Small, value, *parts, label=f"user {value}") for value in (1000, 2000)))


def execute(store: ArtefactStore | None, *targets: AnyStage) -> Executor:
    executor = Executor(make_plan(targets, store), store)
    executor.run()
    return executor


ONCE = {"part 1": 1, "part 10": 1, "part 100": 1, "user 1000": 1, "user 2000": 1}


def test_what_is_stored_is_not_held(store: ArtefactStore) -> None:
    shop = Workshop()
    stages = parts_and_users(shop)
    executor = execute(store, *stages)
    assert shop.runs == ONCE
    assert shop.reads == 2 * 3
    # As a user begins, no part lives; and none longer than it is looked at.
    assert shop.seen == [0] * len(shop.seen)
    assert len(shop.alive) == 0
    assert [executor.result(found).value for found in stages] == [1, 10, 100, 1111, 2111]
    assert shop.runs == ONCE


def test_other_kinds_are_held_for_their_users(store: ArtefactStore) -> None:
    shop = Workshop(Held)
    execute(store, *parts_and_users(shop))
    assert shop.runs == ONCE
    assert shop.reads == 0
    assert shop.seen == [3] * len(shop.seen)
    assert len(shop.alive) == 0


def test_holding_keeps_nothing_that_is_stored(store: ArtefactStore) -> None:
    shop = Workshop()
    first, *_ = parts_and_users(shop)
    executor = execute(store, first)
    with executor.holding(first):
        assert executor.result(first).value == 1
        assert len(shop.alive) == 0


def test_without_a_store_they_stay_in_memory() -> None:
    shop = Workshop()
    stages = parts_and_users(shop)
    executor = execute(None, *stages)
    assert [executor.result(found).value for found in stages] == [1, 10, 100, 1111, 2111]
    assert shop.runs == ONCE
    assert shop.reads == 0
    assert len(shop.alive) == 3


def unwritable(tmp_path: Path) -> ArtefactStore:
    (tmp_path / "file").touch()
    return ArtefactStore(tmp_path / "file")


def test_a_store_that_cannot_be_written_is_as_none(tmp_path: Path) -> None:
    shop = Workshop()
    stages = parts_and_users(shop)
    with pytest.warns(UserWarning, match="the run goes on and keeps its stages in memory") as told:
        executor = execute(unwritable(tmp_path), *stages)
    assert len(told) == 1
    assert [executor.result(found).value for found in stages] == [1, 10, 100, 1111, 2111]
    assert shop.runs == ONCE
    assert len(shop.alive) == 3


def test_what_is_too_large_for_the_store_s_limit_is_made_once(tmp_path: Path) -> None:
    shop = Workshop()
    stages = parts_and_users(shop)
    execute(ArtefactStore(tmp_path, limit=1), *stages[3:])
    assert shop.runs == ONCE
    assert shop.seen == [3] * len(shop.seen)
    assert len(shop.alive) == 0


def test_a_second_run_reads_them(store: ArtefactStore) -> None:
    shop = Workshop()
    *parts, first, second = parts_and_users(shop)
    execute(store, first)
    shop.runs.clear()
    executor = execute(store, second)
    assert executor.result(second).value == 2111
    assert shop.runs == {"user 2000": 1}
    assert [executor.plan.status[part.key] for part in parts] == ["finished"] * 3


def artefact(store: ArtefactStore, found: AnyStage) -> Path:
    return store.folder / "artefacts" / found.key[:2] / found.key


def test_a_file_is_placed_alike_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linked, copied, without a store, from a store that cannot be written: the bytes are the same."""
    shop, store = Workshop(), ArtefactStore(tmp_path / "store")
    part, *_ = parts_and_users(shop)
    executor = execute(store, part)
    executor.place(part, tmp_path / "linked")
    again = Executor(make_plan([part], store), store)
    assert again.plan.status[part.key] == "finished"
    again.place(part, tmp_path / "of another run")
    assert shop.runs == {"part 1": 1}
    assert shop.reads == 0, "a file is placed without being read as a result"
    for name in ("linked", "of another run"):
        assert (tmp_path / name).samefile(artefact(store, part) / "tensors.safetensors")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    with monkeypatch.context() as patch:
        patch.setattr("os.link", refuse)
        executor.place(part, tmp_path / "copied")
    execute(None, part).place(part, tmp_path / "without a store")
    with pytest.warns(UserWarning, match="keeps its stages in memory"):
        execute(unwritable(tmp_path), part).place(part, tmp_path / "unwritten")
    small = ArtefactStore(tmp_path / "small", limit=1)
    execute(small, part).place(part, tmp_path / "too large")
    expected = (tmp_path / "linked").read_bytes()
    for name in ("of another run", "copied", "without a store", "unwritten", "too large"):
        assert (tmp_path / name).read_bytes() == expected, name
        assert name == "of another run" or not (tmp_path / name).samefile(tmp_path / "linked")
    assert torch.equal(load_file(tmp_path / "copied")["numbers"], torch.full((5,), 1))


@pytest.mark.parametrize("file", ["tensors.safetensors", "artefact.json"])
def test_a_damaged_result_is_told_made_again_and_placed(store: ArtefactStore, tmp_path: Path, file: str) -> None:
    shop = Workshop()
    part, *_ = parts_and_users(shop)
    execute(store, part)
    path = artefact(store, part) / file
    intact = (artefact(store, part) / "tensors.safetensors").read_bytes()
    path.write_bytes(path.read_bytes()[:-3] + b"}}}")
    executor = Executor(make_plan([part], store), store)
    with pytest.warns(UserWarning, match="is damaged; it is computed again") as told:
        executor.place(part, tmp_path / "placed")
    assert len(told) == 1
    assert shop.runs == {"part 1": 2}
    assert (tmp_path / "placed").read_bytes() == intact
    # What was made again is in the store too, and is what others get from now on.
    executor.place(part, tmp_path / "next")
    assert (tmp_path / "next").samefile(artefact(store, part) / "tensors.safetensors")
    assert shop.runs == {"part 1": 2}


def test_a_result_that_went_missing_meanwhile_is_made_again_and_placed(store: ArtefactStore, tmp_path: Path) -> None:
    shop = Workshop()
    part, *_ = parts_and_users(shop)
    executor = execute(store, part)
    store.remove(part.key)
    executor.place(part, tmp_path / "placed")
    assert shop.runs == {"part 1": 2}
    assert torch.equal(load_file(tmp_path / "placed")["numbers"], torch.full((5,), 1))


def test_what_is_to_be_made_anew_is_not_taken_from_the_store(store: ArtefactStore, tmp_path: Path) -> None:
    shop = Workshop()
    part, *_ = parts_and_users(shop)
    execute(store, part)
    executor = Executor(make_plan([part], store, force=True), store)
    executor.place(part, tmp_path / "placed")
    assert shop.runs == {"part 1": 2}


def test_a_place_that_cannot_be_written(store: ArtefactStore, tmp_path: Path) -> None:
    shop = Workshop()
    part, *_ = parts_and_users(shop)
    with pytest.raises(OSError, match="No such file or directory"):
        execute(store, part).place(part, tmp_path / "no" / "folder")
