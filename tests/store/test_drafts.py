"""Unfinished work: there after an interruption, gone when it is done, never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perturblearn.errors import StoreError
from perturblearn.store import Artefact, ArtefactStore, Drafts, drafts_in

KEY, OTHER = "a" * 64, "b" * 64


def part(value: float) -> Artefact:
    return Artefact({"value": value}, {"numbers": torch.tensor([value, 2 * value])})


def test_what_is_written_is_there_for_whoever_works_on_the_same(tmp_path: Path) -> None:
    Drafts(ArtefactStore(tmp_path), KEY).write("state", part(1.5))
    found = Drafts(ArtefactStore(tmp_path), KEY).read("state")
    assert found is not None
    assert found.content == {"value": 1.5}
    assert torch.equal(found.tensors["numbers"], torch.tensor([1.5, 3.0]))
    for drafts, name in (
        (Drafts(ArtefactStore(tmp_path), OTHER), "state"),
        (Drafts(ArtefactStore(tmp_path), KEY), "x"),
    ):
        assert drafts.read(name) is None


def test_the_last_one_counts_and_a_result_has_another_place(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    drafts = Drafts(store, KEY)
    store.write(KEY, part(7), origin={})
    for value in (1.0, 2.0):
        drafts.write("state", part(value))
    found = drafts.read("state")
    assert found is not None
    assert found.content == {"value": 2.0}
    drafts.remove("state")
    assert drafts.read("state") is None
    drafts.remove("state")  # what is not there may be removed
    assert store.read(KEY).content == {"value": 7}


def test_pieces_have_names_of_their_own_and_are_cleared_together(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    Drafts(store, KEY).within("draw 0").write("state", part(1))
    later = Drafts(store, KEY)
    later.write("state", part(2))
    first, second = later.within("draw 0"), later.within("draw 1")
    second.write("state", part(3))
    found = [drafts.read("state") for drafts in (first, later, second)]
    assert [None if artefact is None else artefact.content["value"] for artefact in found] == [1, 2, 3]
    other = Drafts(store, OTHER)
    other.write("state", part(4))
    assert {key: len(drafts) for key, drafts in drafts_in(store).items()} == {KEY: 3, OTHER: 1}
    # Whoever keeps the result removes them all, though others wrote them.
    Drafts(store, KEY).clear()
    assert set(drafts_in(store)) == {OTHER}
    assert [drafts.read("state") for drafts in (first, later, second)] == [None] * 3
    assert other.read("state") is not None


def test_a_damaged_draft_is_none(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    drafts = Drafts(store, KEY)
    drafts.write("state", part(1))
    (file,) = tmp_path.glob("artefacts/*/*/tensors.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert drafts.read("state") is None
    drafts.write("state", part(2))
    assert drafts.read("state") is not None


def test_without_a_store_nothing_is_kept() -> None:
    drafts = Drafts()
    drafts.write("state", part(1))
    assert drafts.read("state") is None
    assert not drafts.are_kept
    drafts.remove("state")
    drafts.clear()


def test_what_cannot_be_written_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtefactStore(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "write", full)
    Drafts(store, KEY).write("state", part(1))
    assert Drafts(store, KEY).read("state") is None
