"""A training that is killed at any time, and what the resumed one ends with."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.store.killing import survives
from tests.training.dying_training import RESULT, drafts_in

from perturblearn.store import ArtefactStore

TRAINING_SECONDS = 0.6
"""About how long the training takes, with a draft after every step; blows fall within it."""


def test_killed_trainings_end_with_the_same_bytes(tmp_path: Path, stress_count: Callable[..., int]) -> None:
    def lives(folder: Path, kill_after: float | None) -> bool:
        return survives("tests.training.dying_training", folder, kill_after=kill_after)

    assert lives(tmp_path / "undisturbed", None)
    undisturbed = bytes_of(tmp_path / "undisturbed")

    rng = random.Random(0)
    kills, begun = stress_count(20), 0
    for attempt in count():
        folder = tmp_path / str(attempt)
        # Few blows may all fall beside the training; then there are more.
        while not lives(folder, rng.uniform(0, TRAINING_SECONDS) if kills > 0 or not begun else None):
            kills -= 1
            state = drafts_in(folder).read("state")
            begun += state is not None
        assert bytes_of(folder) == undisturbed
        assert drafts_in(folder).read("state") is None
        if kills <= 0 and begun:
            break
        assert attempt < 200, "no blow falls in the midst of training"


def bytes_of(folder: Path) -> tuple[bytes, object]:
    store = ArtefactStore(folder)
    file = store.folder / "artefacts" / RESULT[:2] / RESULT / "tensors.safetensors"
    return file.read_bytes(), store.read(RESULT).content
