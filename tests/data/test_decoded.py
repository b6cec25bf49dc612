"""The data that were decoded last are kept, if they are not too large."""

from __future__ import annotations

import weakref

import pytest
import torch

from perturblearn.data import RawData
from perturblearn.data.decoded import DecodedCache
from perturblearn.errors import DataError


def raw_of(number: int = 3) -> RawData:
    return RawData(torch.zeros(number, 2), torch.zeros(number, dtype=torch.int64), ("a",), (0.0, 1.0), 0.0)


def test_bytes_are_those_of_all_tensors() -> None:
    assert raw_of().n_bytes == 3 * 2 * 4 + 3 * 8
    positions = torch.zeros(5, dtype=torch.int64)
    raw = RawData(
        torch.zeros(5, 2, dtype=torch.uint8),
        positions,
        ("a",),
        (0.0, 1.0),
        0.0,
        torch.zeros(7, 2),
        positions,
        positions,
    )
    assert raw.n_bytes == 5 * 2 + 7 * 2 * 4 + 3 * 5 * 8


def test_the_last_is_read_once_and_only_the_last_is_kept() -> None:
    kept, reads = DecodedCache(), []

    def get(key: str) -> RawData:
        return kept.get(key, lambda: reads.append(key) or raw_of())

    first = get("a")
    assert get("a") is first
    assert get("b") is not first
    assert get("a") is not first
    assert reads == ["a", "b", "a"]


def test_what_is_larger_is_not_kept() -> None:
    for most, same in ((raw_of().n_bytes, True), (raw_of().n_bytes - 1, False)):
        kept = DecodedCache(most)
        assert (kept.get("a", raw_of) is kept.get("a", raw_of)) is same


def test_the_last_is_let_go_before_the_next_is_read() -> None:
    kept = DecodedCache()
    first = weakref.ref(kept.get("a", raw_of))

    def read() -> RawData:
        assert first() is None
        return raw_of()

    assert first() is not None
    kept.get("b", read)
    assert first() is None


def test_an_error_while_reading_keeps_nothing() -> None:
    kept = DecodedCache()

    def refuse() -> RawData:
        raise DataError("there is no x; make it")

    with pytest.raises(DataError, match="there is no x"):
        kept.get("a", refuse)
    raw = raw_of()
    assert kept.get("a", lambda: raw) is raw
