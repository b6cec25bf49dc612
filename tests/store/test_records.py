from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.store.killing import running

from perturblearn.errors import StoreError
from perturblearn.store import Record, RecordStore, versions


@pytest.fixture
def records(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "below" / "records.sqlite3")


FULL = Record(
    "k1", "name é", "finished", {"seeds": [0, 1]}, {"mean": 0.1 + 0.2}, "a 'quoted' error", "folder", {"stage": 1.5}
)


@pytest.mark.parametrize("record", [FULL, Record("k1", "", "running", {})], ids=["full", "bare"])
def test_records_come_back_as_they_were(records: RecordStore, record: Record) -> None:
    records.write(record)
    assert records.read("k1") == record
    assert record.versions == versions()


def test_no_file_holds_no_records(records: RecordStore) -> None:
    assert records.all() == []
    assert records.read("k1") is None
    assert not records.path.parent.exists()  # asking makes nothing


def test_a_record_is_replaced_and_the_last_written_comes_last(records: RecordStore) -> None:
    for key in "cabd":
        records.write(Record(key, "n", "running", {}))
    records.write(Record("a", "n", "finished", {}))
    assert [(record.key, record.state) for record in records.all()] == [
        ("c", "running"),
        ("b", "running"),
        ("d", "running"),
        ("a", "finished"),
    ]


def test_a_result_that_is_not_finite_is_refused_whole(records: RecordStore) -> None:
    records.write(FULL)
    with pytest.raises(ValueError, match="JSON"):
        records.write(Record("k1", "other", "finished", {}, {"mean": math.nan}))
    assert records.all() == [FULL]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\1" * 4096])
def test_a_damaged_database_is_reported_and_left_alone(records: RecordStore, content: bytes) -> None:
    records.path.parent.mkdir()
    records.path.write_bytes(content)
    for use in (records.all, lambda: records.write(FULL)):
        with pytest.raises(StoreError, match=r"cannot use the run records in .*move it away if it is damaged"):
            use()
    assert records.path.read_bytes() == content


def test_a_damaged_record_is_reported(records: RecordStore) -> None:
    records.write(FULL)
    content = records.path.read_bytes()
    assert content.count(b'{"seeds"') == 1
    records.path.write_bytes(content.replace(b'{"seeds"', b'}"seeds"'))
    with pytest.raises(StoreError, match="cannot use the run records"):
        records.all()


def test_a_newer_version_is_refused_and_left_alone(records: RecordStore) -> None:
    records.write(FULL)
    with closing(sqlite3.connect(records.path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    for use in (records.all, lambda: records.write(Record("k2", "n", "running", {}))):
        with pytest.raises(StoreError, match="newer version of perturblearn; update it"):
            use()
    with closing(sqlite3.connect(records.path)) as connection:
        assert connection.execute("SELECT key FROM runs").fetchall() == [("k1",)]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="name another folder with --out"):
        RecordStore(tmp_path / "file" / "records.sqlite3").write(FULL)


def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    with running("tests.store.busy_writer", tmp_path, 1) as one, running("tests.store.busy_writer", tmp_path, 2) as two:
        assert one.wait() == two.wait() == 0
    found = [record.key for record in RecordStore(tmp_path / "records.sqlite3").all()]
    assert sorted(found) == sorted(f"{number}-{turn}" for number in (1, 2) for turn in range(100))
