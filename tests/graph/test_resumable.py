"""Long stages: what they put aside is there after an interruption, and gone once their result is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from perturblearn.graph import Executor, Report, Stage, StageKind, make_plan
from perturblearn.store import Artefact, ArtefactStore, Drafts


def counting(limit: int, heard: list[int]) -> StageKind:
    """A kind that counts to 5, puts every number aside, and is interrupted at the limit."""

    def count(stage: Stage, inputs: Mapping[str, Any], drafts: Drafts, report: Report) -> int:
        kept = drafts.read("number")
        start = 0 if kept is None else kept.content["number"]
        for number in range(start + 1, 6):
            heard.append(number)
            if number > limit:
                raise KeyboardInterrupt
            drafts.write("number", Artefact({"number": number}))
            report(number, 5, "")
        return 5 * stage.parameters["value"]

    return StageKind(
        "counting",
        1,
        dump=lambda number: Artefact({"number": number}),
        load=lambda found: found.content["number"],
        run_resumable=count,
    )


def executed(kind: StageKind, store: ArtefactStore | None, value: int = 3) -> Any:
    stage = Stage(kind, {"value": value}, seed=0)
    executor = Executor(make_plan([stage], store), store)
    executor.run()
    return executor.result(stage)


def artefacts(folder: Path) -> int:
    return len(list(folder.glob("artefacts/*/*")))


def test_an_interrupted_stage_goes_on_from_where_it_was(tmp_path: Path) -> None:
    heard: list[int] = []
    store = ArtefactStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        executed(counting(3, heard), store)
    assert artefacts(tmp_path) == 1
    assert executed(counting(5, heard), ArtefactStore(tmp_path)) == 15
    assert heard == [1, 2, 3, 4, 4, 5]
    # The result alone is left, and another stage of that kind has drafts of its own.
    assert artefacts(tmp_path) == 1
    with pytest.raises(KeyboardInterrupt):
        executed(counting(1, heard), store, value=4)
    assert heard[6:] == [1, 2]


def test_without_a_store_it_starts_again(tmp_path: Path) -> None:
    heard: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        executed(counting(3, heard), None)
    assert executed(counting(5, heard), None) == 15
    assert heard == [1, 2, 3, 4, 1, 2, 3, 4, 5]
