from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.store import evicting_writer
from tests.store.killing import printed_by

from perturblearn.store import Artefact, ArtefactStore

KEYS = [f"{number:02d}{'0' * 62}" for number in range(100)]
SIZE = 5_000
"""About the bytes of one artefact."""


def write(store: ArtefactStore, number: int, **options: Any) -> None:
    store.write(KEYS[number], Artefact({"number": number}, {"x": torch.zeros(SIZE - 1_000, dtype=torch.uint8)}),
                origin={}, **options)  # fmt: skip


def numbers(store: ArtefactStore) -> list[int]:
    return [number for number, key in enumerate(KEYS) if store.has(key)]


def total(store: ArtefactStore) -> int:
    return sum(path.stat().st_size for path in (store.folder / "artefacts").rglob("*") if path.is_file())


@pytest.fixture
def size(tmp_path: Path) -> int:
    """Bytes of one artefact on this machine."""
    store = ArtefactStore(tmp_path / "measured")
    write(store, 10)
    return total(store)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def counting_scans(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    from perturblearn.store import artefacts

    scans: list[Path] = []
    original = artefacts.list_artefacts

    def counted(folder: Path, *, record: str) -> Any:
        scans.append(folder)
        return original(folder, record=record)

    monkeypatch.setattr(artefacts, "list_artefacts", counted)
    return scans


def test_without_a_limit_nothing_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans, store = counting_scans(monkeypatch), ArtefactStore(folder)
    for number in range(20):
        write(store, number)
    assert numbers(store) == list(range(20))
    assert scans == []


def test_the_oldest_go_first_until_nine_tenths_are_left(folder: Path, size: int) -> None:
    store = ArtefactStore(folder, limit=10 * size + size // 2)
    for number in (3, 1, 2, 0, 9, 8, 7, 6, 5, 4):
        write(store, number)
    assert numbers(store) == list(range(10))
    write(store, 10)  # 11 are too many, and 10 more than 9/10 of 10.5
    assert numbers(store) == [0, 2, 4, 5, 6, 7, 8, 9, 10]


def test_reading_renews(folder: Path, size: int) -> None:
    store = ArtefactStore(folder, limit=4 * size)
    for number in range(4):
        write(store, number)
    assert ArtefactStore(folder).read(KEYS[0]).content == {"number": 0}  # any reader's reading counts
    store.has(KEYS[1])  # asking is no use
    write(store, 4)
    assert numbers(store) == [0, 3, 4]


@pytest.mark.parametrize("replace", [False, True])
def test_writing_again_renews_and_counts_once(folder: Path, size: int, replace: bool) -> None:
    store = ArtefactStore(folder, limit=4 * size)
    for number in range(4):
        write(store, number)
    for _ in range(5):
        write(store, 0, replace=replace)
    assert numbers(store) == [0, 1, 2, 3]
    write(store, 4)
    assert numbers(store) == [0, 3, 4]


def test_the_limit_holds_after_each_of_many_writes(folder: Path, size: int) -> None:
    limit = 7 * size
    store = ArtefactStore(folder, limit=limit)
    for number in range(100):
        write(store, number)
        assert total(store) <= limit
        assert store.read(KEYS[number]).content == {"number": number}
    assert 5 <= len(numbers(store)) <= 7
    assert list((folder / "tmp").iterdir()) == []


def test_the_one_just_written_stays_however_old_it_looks(
    folder: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtefactStore(folder, limit=size)  # with it alone the store is above nine tenths
    write(store, 0)
    monkeypatch.setattr("time.time_ns", lambda: 0)  # a clock that has been put back
    write(store, 1)
    assert numbers(store) == [1]


@pytest.mark.parametrize("replace", [False, True])
def test_one_that_is_larger_than_the_limit_goes_alone_and_is_no_error(folder: Path, size: int, replace: bool) -> None:
    write(ArtefactStore(folder), 0)
    store = ArtefactStore(folder, limit=2 * size)
    large = Artefact({}, {"x": torch.zeros(3 * size, dtype=torch.uint8)})
    store.write(KEYS[1], large, origin={}, replace=replace)
    assert numbers(store) == [0]
    with pytest.raises(KeyError):
        store.read(KEYS[1])
    assert list((folder / "tmp").iterdir()) == []


def test_one_that_is_replaced_by_one_larger_than_the_limit_goes(folder: Path, size: int) -> None:
    store = ArtefactStore(folder, limit=2 * size)
    write(store, 0)
    store.write(KEYS[0], Artefact({}, {"x": torch.zeros(3 * size)}), origin={}, replace=True)
    assert numbers(store) == []


def test_the_folder_is_looked_at_once_until_the_sum_is_above_the_limit(
    folder: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(ArtefactStore(folder), 99)
    scans = counting_scans(monkeypatch)
    store = ArtefactStore(folder, limit=10 * size + size // 2)
    for number in range(9):
        write(store, number)
    assert len(scans) == 1
    write(store, 9)
    assert len(scans) == 2
    assert 99 not in numbers(store)  # what lay there before counts, and was the oldest


def test_what_another_process_wrote_counts_at_the_next_look(folder: Path, size: int) -> None:
    limit = 6 * size + size // 2
    one, other = ArtefactStore(folder, limit=limit), ArtefactStore(folder, limit=limit)
    for number in range(3):
        write(one, number)
        write(other, 50 + number)
    for number in range(3, 6):
        write(one, number)
    assert len(numbers(one)) == 9  # neither has counted more than six
    write(one, 6)
    assert numbers(one) == [3, 4, 5, 6, 52]
    assert total(one) <= 0.9 * limit


def test_what_others_removed_is_no_longer_counted(folder: Path, size: int) -> None:
    store = ArtefactStore(folder, limit=6 * size)
    for number in range(6):
        write(store, number)
    for number in range(5):
        ArtefactStore(folder).remove(KEYS[number])
    for number in range(10, 15):
        write(store, number)
    assert numbers(store) == [5, 10, 11, 12, 13, 14]


def test_nothing_but_artefacts_is_counted_or_removed(folder: Path, size: int) -> None:
    others = [
        folder / "artefacts" / "notes.txt",
        folder / "artefacts" / "ab" / "notes.txt",
        folder / "artefacts" / "ab" / "ab_without_a_record" / "file",
        folder / "artefacts" / "ab" / "another_name" / "artefact.json",
        folder / "mine" / "artefact.json",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(20 * size))
    store = ArtefactStore(folder, limit=3 * size)
    for number in range(10):
        write(store, number)
    assert 2 <= len(numbers(store)) <= 3
    assert all(path.exists() for path in others)


def test_a_folder_that_keeps_its_times_can_still_be_read(
    folder: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtefactStore(folder, limit=3 * size)
    write(store, 0)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", read_only)
    assert store.read(KEYS[0]).content == {"number": 0}


def test_what_cannot_be_removed_is_told_once(folder: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store, rename, stuck = ArtefactStore(folder, limit=2 * size), os.rename, {KEYS[0]}

    def refuse(source: Path, target: Path) -> None:
        if source.name in stuck:
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    for number in range(3):
        write(store, number)
    assert numbers(store) == [0, 2]  # the next oldest went
    stuck.add(KEYS[2])
    with pytest.warns(UserWarning, match=rf"more than the limit of {2 * size}, .*Permission denied.*--cache-size"):
        write(store, 3)
    write(store, 4)  # a second warning would be an error here
    assert numbers(store) == [0, 2, 4]


def test_an_eviction_that_is_interrupted_is_made_up_for(
    folder: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rename = ArtefactStore(folder, limit=5 * size + size // 2), os.rename
    for number in range(5):
        write(store, number)

    def interrupted(source: Path, target: Path) -> None:
        if source.name in KEYS:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(store, 5)
    monkeypatch.setattr(os, "rename", rename)
    assert list((folder / "tmp").iterdir()) == []
    assert len(numbers(store)) == 6
    store.write(KEYS[6], Artefact({}), origin={})  # small enough to have fitted before
    assert numbers(store) == [2, 3, 4, 5, 6]


def test_two_processes_write_read_and_evict_at_once(tmp_path: Path) -> None:
    seen, gone = map(int, printed_by("tests.store.evicting_writer", tmp_path).split())
    assert min(seen, gone) > 0
    assert list((tmp_path / "tmp").iterdir()) == []
    # Each may have written what the other had not yet seen, but the next look sees it.
    last = ArtefactStore(tmp_path, limit=evicting_writer.LIMIT)
    last.write(evicting_writer.KEYS[0], evicting_writer.artefact_of(evicting_writer.KEYS[0], 1), origin={})
    assert total(last) <= evicting_writer.LIMIT
