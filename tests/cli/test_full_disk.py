"""A disk that fills at a random moment: one sentence, nothing half-written, and the same command goes on later."""

from __future__ import annotations

import random
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.commands import DEEP, TINY, run_folders, say
from tests.cli.sweep_files import SWEEP, write
from tests.cli.test_audit import TINY_AUDIT

ROOM = 32 * 2**20
"""Bytes of the disk; no command below needs as much."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a disk that is small enough to be filled")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def files_of(out: Path) -> set[str]:
    """Every file of the results, with temporary ones and without the store."""
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith((".store/artefacts", ".store/records", ".store/running"))}


@pytest.mark.parametrize("command", ["run", "perturb", "sweep", "audit"])
def test_a_disk_that_fills_costs_nothing_that_was_finished(
    capsys: pytest.CaptureFixture[str],
    disk: Path,
    tmp_path: Path,
    stress_count: Callable[..., int],
    command: str,
) -> None:
    sweep = write(SWEEP, tmp_path / "sweep.toml")
    words = {"run": TINY, "perturb": DEEP, "sweep": [sweep], "audit": [*TINY_AUDIT, "--epsilons", "l2:0.5"]}
    work = [command, *words[command], "--quiet"]
    assert say(capsys, *work, "--out", tmp_path / "whole").code == 0
    expected = files_of(tmp_path / "whole")
    needed = sum(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert needed < ROOM / 2
    rng, left, fulls = random.Random(command), stress_count(13), 0
    while left > 0 or not fulls:
        left -= 1
        out, ballast = disk / "runs", disk / "ballast"
        with ballast.open("wb") as file:
            file.write(bytes(ROOM - rng.randrange(2**12, int(1.2 * needed))))
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            said = say(capsys, *work, "--out", out)
        assert said.code in (0, 2), said.err
        *others, sentence = said.err.splitlines() or [""]
        assert all("; the run goes on and keeps its stages in memory" in warning for warning in others)
        if said.code == 2:
            fulls += 1
            assert sentence.startswith(("perturblearn: cannot write to ", "perturblearn: cannot use the run records"))
            assert str(out) in sentence
            assert "free some space" in sentence
        if out.is_dir():
            assert not any((out / ".store" / "tmp").glob("*"))
            written = {name for name in files_of(out) if not name.startswith(".store/")}
            assert all(set(written) >= {n for n in expected if n.startswith(f.name)} for f in run_folders(out))
        ballast.unlink()
        again = say(capsys, *work, "--out", out)
        assert (again.code, again.err) == (0, "")
        assert files_of(out) == expected
        shutil.rmtree(out)
