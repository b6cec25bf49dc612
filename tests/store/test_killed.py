from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch
from tests.store import endless_writer
from tests.store.killing import survives

from perturblearn.store import ArtefactStore, RecordStore


def test_what_a_killed_writer_leaves_is_complete(tmp_path: Path, stress_count: Callable[..., int]) -> None:
    rng, left, written = random.Random(0), stress_count(100), list[str]()
    while left > 0 or not written:  # on a busy machine a writer may get nowhere in its time
        left -= 1
        first = rng.randrange(len(endless_writer.KEYS))
        assert not survives("tests.store.endless_writer", tmp_path, first, kill_after=rng.uniform(0, 0.2))
        store = ArtefactStore(tmp_path)
        written = [key for key in endless_writer.KEYS if store.has(key)]
        for key in written:
            found, expected = store.read(key), endless_writer.artefact_of(key)
            assert found.content == expected.content
            assert torch.equal(found.tensors["values"], expected.tensors["values"])
        for record in RecordStore(tmp_path / "records.sqlite3").all():
            assert record.config == {"number": int(record.key[:2])}
        assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_writer_killed_while_it_evicts_leaves_is_complete(
    tmp_path: Path, stress_count: Callable[..., int]
) -> None:
    limit, rng, left = 500_000, random.Random(1), stress_count(100)  # six artefacts of some 80,000 bytes
    records, written = RecordStore(tmp_path / "records.sqlite3"), list[str]()
    # Every writing is recorded: where more were made than lie there, there were evictions to be killed in.
    while left > 0 or len(records.all()) <= len(written):
        left -= 1
        first = rng.randrange(len(endless_writer.KEYS))
        assert not survives("tests.store.endless_writer", tmp_path, first, limit, kill_after=rng.uniform(0, 0.3))
        store = ArtefactStore(tmp_path, limit=limit)
        written = [key for key in endless_writer.KEYS if store.has(key)]
        for key in written:
            found, expected = store.read(key), endless_writer.artefact_of(key)
            assert found.content == expected.content
            assert torch.equal(found.tensors["values"], expected.tensors["values"])
        assert len(written) <= 7  # one more, if the blow fell after the last writing and before the eviction
        assert list((tmp_path / "tmp").iterdir()) == []
    assert written
