"""A training that is killed at any time, and what the resumed one ends with."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.store.killing import survives
from tests.training.dying_training import RESULT, drafts_in

from perturblearn.store import ArtefactStore


def test_killed_trainings_end_with_the_same_bytes(tmp_path: Path, stress_count: Callable[[int], int]) -> None:
    def lives(folder: Path, kill_after: float) -> bool:
        return survives("tests.training.dying_training", folder, kill_after=kill_after)

    started = time.monotonic()
    assert lives(tmp_path / "undisturbed", 120)
    longest = time.monotonic() - started  # imports included, before which no blow falls
    undisturbed = bytes_of(tmp_path / "undisturbed")

    rng = random.Random(0)
    kills, begun = stress_count(20), 0
    for attempt in count():
        folder = tmp_path / str(attempt)
        while not lives(folder, rng.uniform(0, longest / 4) if kills else 120):
            kills -= 1
            state = drafts_in(folder).read("state")
            begun += state is not None
        assert bytes_of(folder) == undisturbed
        assert drafts_in(folder).read("state") is None
        if not kills:
            break
    assert begun  # blows did fall in the midst of training


def bytes_of(folder: Path) -> tuple[bytes, object]:
    store = ArtefactStore(folder)
    file = store.folder / "artefacts" / RESULT[:2] / RESULT / "tensors.safetensors"
    return file.read_bytes(), store.read(RESULT).content
