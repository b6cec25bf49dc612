from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _undrawn(undrawn_pictures: None) -> None: ...


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Bits are equal at an equal number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of few samples in several shards of several blocks."""
    monkeypatch.setattr("perturblearn.perturbed.shards.BLOCK", 16)
    monkeypatch.setattr("perturblearn.perturbed.shards.SHARD_BLOCKS", 2)
    monkeypatch.setattr("perturblearn.perturbed.shards.HELDOUT_SOURCES", 35)
