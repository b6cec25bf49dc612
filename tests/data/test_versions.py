"""Hashes are made once for each version of files, and never outlive a change."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

import perturblearn.data.versions as versions
from perturblearn.data.versions import hash_once
from perturblearn.errors import DataError

computed: list[Path] = []


def hash_of(path: Path) -> str:
    computed.append(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def nothing_computed() -> None:
    computed.clear()


def write(path: Path, content: bytes, age: float = 60) -> Path:
    """A file that was changed so many seconds ago."""
    path.write_bytes(content)
    changed = path.stat().st_mtime_ns - int(age * 1e9)
    os.utime(path, ns=(changed, changed))
    return path


def test_an_unchanged_file_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "x", b"one")
    assert [hash_once(hash_of, path, [path]) for _ in range(3)] == [hashlib.sha256(b"one").hexdigest()] * 3
    assert len(computed) == 1


@pytest.mark.parametrize("content", [b"two", b"longer"])
def test_a_changed_file_is_read_again(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "x", b"one")
    hash_once(hash_of, path, [path])
    write(path, content, age=50)
    assert hash_once(hash_of, path, [path]) == hashlib.sha256(content).hexdigest()


def test_a_change_that_sets_the_time_back_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "x", b"one")
    hash_once(hash_of, path, [path])
    before = path.stat()
    other = tmp_path / "y"
    other.write_bytes(b"two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert hash_once(hash_of, path, [path]) == hashlib.sha256(b"two").hexdigest()


@pytest.mark.parametrize("age", [0.0, -60.0])
def test_a_file_that_has_just_changed_is_not_trusted(tmp_path: Path, age: float) -> None:
    # Another change within the step of the file system's clock would leave size and time as they are.
    path = write(tmp_path / "x", b"one", age)
    for _ in range(2):
        hash_once(hash_of, path, [path])
    assert len(computed) == 2


def test_a_file_settles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x", b"one", age=0)
    changed = path.stat().st_mtime_ns
    monkeypatch.setattr(versions.time, "time_ns", lambda: changed + versions.SETTLED_NANOSECONDS + 1)
    for _ in range(2):
        hash_once(hash_of, path, [path])
    assert len(computed) == 1


def test_an_absent_file_is_the_computation_s_to_report(tmp_path: Path) -> None:
    def refuse(path: Path) -> str:
        raise DataError(f"there is no {path.name}; make it")

    with pytest.raises(DataError, match="there is no x; make it"):
        hash_once(refuse, tmp_path / "x", [tmp_path / "x"])
