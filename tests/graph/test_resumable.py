"""Long stages: what they put aside is there after an interruption, and gone once their result is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.graph.kinds import Number, StoredNumber

from perturblearn.graph import Executor, Results, aside, make_plan
from perturblearn.store import Artefact, ArtefactStore, Drafts


@dataclass(frozen=True, eq=False, kw_only=True)
class Counting(StoredNumber):
    """Counts to 5, puts every number aside, and is interrupted at the limit."""

    kind = "counting"
    value: int
    limit: int = aside()
    counted: list[int] = aside()

    def run(self, result: Results) -> Number:
        kept = result.drafts.read("number")
        start = 0 if kept is None else kept.content["number"]
        for number in range(start + 1, 6):
            self.counted.append(number)
            if number > self.limit:
                raise KeyboardInterrupt
            result.drafts.write("number", Artefact({"number": number}))
            result.report(number, 5, "")
        return Number(5 * self.value)


def executed(limit: int, counted: list[int], store: ArtefactStore | None, value: int = 3) -> int:
    stage = Counting(value=value, limit=limit, counted=counted)
    executor = Executor(make_plan([stage], store), store)
    executor.run()
    return executor.result(stage).value


def artefacts(folder: Path) -> int:
    return len(list(folder.glob("artefacts/*/*")))


def test_an_interrupted_stage_goes_on_from_where_it_was(tmp_path: Path) -> None:
    counted: list[int] = []
    store = ArtefactStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        executed(3, counted, store)
    assert artefacts(tmp_path) == 1
    assert executed(5, counted, ArtefactStore(tmp_path)) == 15
    assert counted == [1, 2, 3, 4, 4, 5]
    # The result alone is left, and another stage of that kind has drafts of its own.
    assert artefacts(tmp_path) == 1
    with pytest.raises(KeyboardInterrupt):
        executed(1, counted, store, value=4)
    assert counted[6:] == [1, 2]


def test_without_a_store_it_starts_again(tmp_path: Path) -> None:
    counted: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        executed(3, counted, None)
    assert executed(5, counted, None) == 15
    assert counted == [1, 2, 3, 4, 1, 2, 3, 4, 5]


def test_drafts_left_by_a_death_after_the_result_was_kept_go_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: Drafts) -> None:
        raise KeyboardInterrupt

    store, counted = ArtefactStore(tmp_path), list[int]()
    with pytest.raises(KeyboardInterrupt):
        executed(1, counted, store, value=4)
    with monkeypatch.context() as patch:
        patch.setattr(Drafts, "clear", die)
        with pytest.raises(KeyboardInterrupt):
            executed(5, counted, store)
    assert artefacts(tmp_path) == 3  # a result with its draft, and the draft of another
    # Whatever is run next: the finished stage itself, or one that knows nothing of it.
    assert executed(5, counted, store, value=6) == 30
    assert artefacts(tmp_path) == 3
    counted.clear()
    assert executed(5, counted, store, value=4) == 20
    assert counted == [2, 3, 4, 5], "the draft of an unfinished stage stays"
    assert artefacts(tmp_path) == 3


def test_a_stage_that_is_made_again_keeps_its_drafts(tmp_path: Path) -> None:
    store, counted = ArtefactStore(tmp_path), list[int]()
    executed(5, counted, store)
    for limit in (2, 4):
        stage = Counting(value=3, limit=limit, counted=counted)
        with pytest.raises(KeyboardInterrupt):
            Executor(make_plan([stage], store, force=True), store).run()
    assert counted[5:] == [1, 2, 3, 3, 4, 5]
    assert executed(5, counted, store) == 15
    assert artefacts(tmp_path) == 1
