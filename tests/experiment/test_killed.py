"""A run that is killed between the members of a group, and what the resumed one leaves."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.experiment.dying_run import plan_of
from tests.store.killing import survives

from perturblearn.store import ArtefactStore


def test_resumed_groups_end_with_the_same_bytes(tmp_path: Path, stress_count: Callable[..., int]) -> None:
    def lives(folder: Path, writes: int) -> bool:
        return survives("tests.experiment.dying_run", folder, writes)

    assert lives(tmp_path / "undisturbed", 0)
    undisturbed = ArtefactStore(tmp_path / "undisturbed")
    plan = plan_of(None)
    classifiers = [stage for stage in plan.stages if stage.kind.endswith(" classifier")]
    # Two losses, three f each in one group, and two g for each of those, in a group for each perturbed set.
    assert sorted({len(plan.group(stage)) for stage in classifiers}) == [2, 6]
    assert len(classifiers) == 2 * (3 + 3 * 2)

    rng = random.Random(0)
    kills = stress_count(40)
    for attempt in count():
        folder = tmp_path / str(attempt)
        while True:
            before = sum(1 for stage in plan.stages if ArtefactStore(folder).has(stage.key))
            # The first life ends inside the group of six, the second too or soon after.
            writes = rng.randint(1, 4) if kills else 0
            survived = lives(folder, writes)
            if survived:
                break
            kills -= 1
            assert sum(1 for stage in plan.stages if ArtefactStore(folder).has(stage.key)) == before + writes
        store = ArtefactStore(folder)
        for stage in classifiers:
            assert tensor_bytes(store, stage.key) == tensor_bytes(undisturbed, stage.key), stage
        for stage in plan.to_run:
            assert store.read(stage.key).content == undisturbed.read(stage.key).content, stage
        if not kills:
            return


def tensor_bytes(store: ArtefactStore, key: str) -> bytes:
    return (store.folder / "artefacts" / key[:2] / key / "tensors.safetensors").read_bytes()
