"""The command sweep, killed at random moments, and two of them on one store."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.commands import run_folders
from tests.cli.sweep_files import BASE, artefact_keys, collections, lasting_files, lasting_records, write
from tests.store.killing import running, survives

PROGRAM = "tests.cli.sweep_program"
# Eight runs in groups of two, which train as one wide product: what is left of a group must end with the same bits.
SWEEP = (
    BASE.replace("epochs = 5", "epochs = 60")
    + """
[sweep.grid]
seeds = [0, 1]
"attack.epsilon" = [0.5, 1.0]
"standard.model.slope" = [0.0, 0.1]
"""
)


def check(out: Path, undisturbed: Path) -> None:
    """Whether nothing was lost, nothing is there twice, and nothing half."""
    assert lasting_records(out) == lasting_records(undisturbed)
    assert lasting_files(out) == lasting_files(undisturbed)
    assert artefact_keys(out) == artefact_keys(undisturbed)
    found, expected = collections(out), collections(undisturbed)
    assert [(one.key, one.state, one.runs) for one in found] == [(one.key, one.state, one.runs) for one in expected]
    assert list((out / ".store" / "tmp").iterdir()) == []


@pytest.mark.parametrize("keep", ["measures", "all"])
def test_a_killed_sweep_goes_on_and_ends_as_an_undisturbed_one(
    tmp_path: Path, keep: str, stress_count: Callable[..., int]
) -> None:
    file = write(SWEEP, tmp_path / "sweep.toml")
    moments = random.Random(keep)
    left, attempt, went_on = stress_count(50), 0, 0

    def lives(out: Path, kill_after: float | None) -> bool:
        return survives(PROGRAM, file, "--sweep.keep", keep, "--out", out, kill_after=kill_after)

    started = time.monotonic()
    assert lives(tmp_path / "undisturbed", None)
    length = time.monotonic() - started
    (undisturbed,) = run_folders(tmp_path / "undisturbed")
    whole = {record["key"]: record for record in lasting_records(tmp_path / "undisturbed")}
    # One blow at least shall fall when something is there to go on from.
    while left > 0 or not went_on:
        out = tmp_path / str(attempt)
        attempt += 1
        while not lives(out, moments.uniform(0, length) if left > 0 or not went_on else None):
            left -= 1
            went_on += any((out / ".store" / "artefacts").glob("*/*"))
            length *= 1 if went_on else 1.5  # a life may take longer than the first did, and be killed too early always
            assert not out.is_dir() or run_folders(out) in ([], [out / undisturbed.name])
            assert all(record == whole[record["key"]] for record in lasting_records(out))
        check(out, tmp_path / "undisturbed")
        shutil.rmtree(out)


@pytest.mark.long
def test_two_sweeps_at_once_share_a_store(tmp_path: Path) -> None:
    first = write(SWEEP, tmp_path / "first.toml")
    # Half of its runs are those of the first.
    second = write(SWEEP.replace("[0.5, 1.0]", "[1.0, 2.0]").replace('"tiny"', '"other"'), tmp_path / "second.toml")
    out = tmp_path / "both"
    with (
        running(PROGRAM, first, "--out", out) as one,
        running(PROGRAM, first, "--out", out) as same,
        running(PROGRAM, second, "--out", out) as other,
    ):
        assert [one.wait(), same.wait(), other.wait()] == [0, 0, 0]
    for file, alone in ((first, tmp_path / "first"), (second, tmp_path / "second")):
        assert survives(PROGRAM, file, "--out", alone)
    keys = {record["key"] for name in ("first", "second") for record in lasting_records(tmp_path / name)}
    assert {record["key"] for record in lasting_records(out)} == keys
    assert {record["state"] for record in lasting_records(out)} == {"finished"}
    assert sorted(found.name for found in collections(out)) == ["other", "tiny"]
    names = {path.name for name in ("first", "second") for path in run_folders(tmp_path / name)}
    assert {path.name for path in run_folders(out)} == names
    assert list((out / ".store" / "tmp").iterdir()) == []
