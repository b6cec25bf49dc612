from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.report.conftest import TINY
from tests.results.test_export import FILES
from tests.store.killing import survives

from perturblearn import Result, learn_from_perturbations
from perturblearn.store import ArtefactStore


def check_folders(out: Path, expected: Result) -> None:
    """Whatever run folder is there is whole."""
    folders = [path for path in out.iterdir() if path.name != ".store"]
    assert [path.name for path in folders] in ([], [f"tiny-{expected.key[:10]}"])
    for folder in folders:
        assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == FILES
        assert Result.load(folder).summary == expected.summary


def test_a_killed_run_leaves_no_half_folder_and_goes_on(
    tmp_path: Path, tiny_result: Result, stress_count: Callable[..., int]
) -> None:
    rng = random.Random(0)
    kills = stress_count(20)
    for attempt in count():
        out = tmp_path / str(attempt)
        out.mkdir()
        survived = False
        while not survived and kills:
            survived = survives("tests.results.tiny_run", out, kill_after=rng.uniform(0, 1.5))
            kills -= not survived
            check_folders(out, tiny_result)
        result = learn_from_perturbations({}, overrides=TINY, out=out)
        assert result.seeds == tiny_result.seeds
        check_folders(out, tiny_result)
        ArtefactStore(out / ".store")
        assert list((out / ".store" / "tmp").iterdir()) == []
        if not kills:
            return
