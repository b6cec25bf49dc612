"""Runs of deep networks that are killed at random moments, while they train and while they attack."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.experiment.slow_network_run import experiment
from tests.store.killing import survives

from perturblearn.store import ArtefactStore


def test_killed_runs_end_with_the_same_bytes(tmp_path: Path, stress_count: Callable[..., int]) -> None:
    def lives(folder: Path, kill_after: float | None) -> bool:
        return survives("tests.experiment.slow_network_run", folder, kill_after=kill_after)

    started = time.monotonic()
    assert lives(tmp_path / "undisturbed", None)
    length = time.monotonic() - started
    undisturbed = ArtefactStore(tmp_path / "undisturbed")
    stages = experiment().plan().to_run
    assert {stage.kind for stage in stages} >= {
        "standard network",
        "perturbation network",
        "shard of a perturbed set",
        "control",
        "linear probe",
    }

    rng = random.Random(0)
    left, attempt, kept_drafts = stress_count(20), 0, 0

    def wants_kills() -> bool:
        # Few random moments may all lie between two drafts; then some more are tried.
        return left > 0 or (kept_drafts == 0 and attempt < 20)

    while wants_kills():
        folder = tmp_path / str(attempt)
        attempt += 1
        while True:
            # A life may be too short for anything; the next one goes on from whatever the last one left.
            if lives(folder, rng.uniform(0.1, 0.7) * length if wants_kills() else None):
                break
            left -= 1
            kept_drafts += drafts_in(folder, stages_kept=sum(ArtefactStore(folder).has(stage.key) for stage in stages))
        store = ArtefactStore(folder)
        for stage in stages:
            assert store.read(stage.key).content == undisturbed.read(stage.key).content, stage
            if stage.kind.endswith(" network") or stage.kind == "shard of a perturbed set":
                assert tensor_bytes(store, stage.key) == tensor_bytes(undisturbed, stage.key), stage
        # What was put aside is gone.
        assert drafts_in(folder, stages_kept=len(stages)) == 0
    assert kept_drafts > 0


def drafts_in(folder: Path, *, stages_kept: int) -> int:
    return len(list(folder.glob("artefacts/*/*"))) - stages_kept


def tensor_bytes(store: ArtefactStore, key: str) -> bytes:
    return (store.folder / "artefacts" / key[:2] / key / "tensors.safetensors").read_bytes()
