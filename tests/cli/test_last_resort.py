"""What is no user's error, or happens outside the experiment: still one sentence, and never a traceback."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import DEEP, TINY, refuse, run_folders, say, without_progress, words

from perturblearn.experiment.steps import Perturbed
from perturblearn.graph import Results

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


@pytest.mark.parametrize("has_folder", [True, False])
def test_the_traceback_of_an_unforeseen_error_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_folder: bool
) -> None:
    def fails(stage: Perturbed, result: Results) -> None:
        raise ZeroDivisionError("too\nsmall")

    monkeypatch.setattr(Perturbed, "run", fails)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    Path("temporary").mkdir()
    command = ["run", *TINY, "--out", "mine"] if has_folder else ["results", "--out", "absent"]
    if not has_folder:
        monkeypatch.setattr("perturblearn.api.read_runs", lambda *_, **__: 1 / 0)
    said = say(capsys, *command)
    assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)
    (kept,) = Path("mine" if has_folder else "temporary").glob("error-*.txt")
    assert said.err.startswith("perturblearn: an unexpected error (")
    assert said.err.endswith(f"{tmp_path / kept if not has_folder else kept}\n")
    text = kept.read_text()
    assert text.startswith(f"perturblearn {' '.join(command)}\n")
    assert "Traceback (most recent call last)" in text
    assert "Error: " in text


def test_too_little_memory_is_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(stage: Perturbed, result: Results) -> None:
        raise MemoryError

    monkeypatch.setattr(Perturbed, "run", fails)
    assert refuse(capsys, "run", *TINY).startswith("there is not enough memory; choose fewer samples")


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("seeds", "at most 100,000 seeds"),
        ("controls.draws", "at most 100,000"),
        ("data.n_samples", "at most 1,000,000,000"),
        ("standard.model.hidden_dim", "at most 1,000,000,000"),
        ("perturbation.epochs", "at most 1,000,000,000,000"),
    ],
)
def test_numbers_beyond_all_bounds(capsys: pytest.CaptureFixture[str], key: str, most: str) -> None:
    for number in (10**20, 2**63 - 1):
        options = dict(zip(TINY[::2], TINY[1::2], strict=True)) | {f"--{key}": str(number)}
        said = refuse(capsys, "run", *(word for pair in options.items() for word in pair))
        assert said.startswith(f"{key} = {number}")
        assert most in said


@pytest.mark.parametrize("role", ["standard", "perturbation"])
def test_a_batch_that_cannot_be_normalised(capsys: pytest.CaptureFixture[str], role: str) -> None:
    options = dict(zip(DEEP[::2], DEEP[1::2], strict=True))
    options |= {f"--{role}.model.name": "resnet18", f"--{role}.model.width": "0.1", f"--{role}.batch_size": "1"}
    del options[f"--{role}.model.hidden_dim"]
    said = refuse(capsys, "run", *(word for pair in options.items() for word in pair))
    assert "normalises over a batch" in said
    assert "a batch has 1; choose a larger batch_size" in said


@pytest.mark.parametrize(
    "place", ["--data.name mnist", "--data-dir ~/data --data.name mnist", "--data.name folder:~/photos",
              "--cache-dir ~/cache", "--cache-dir ~nobody-has-this-name/cache"]
)  # fmt: skip
def test_without_a_home_folder(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def nobody(_: int) -> Any:
        raise KeyError("no such user")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    said = refuse(capsys, "run", "--seeds", 1, *words(place), "--plan")
    assert "home folder" in said
    assert "set HOME" in said or "--data-dir or PERTURBLEARN_DATA" in said


def started(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "perturblearn", *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, encoding="ascii", check=False
    )


def test_a_terminal_that_knows_only_ascii() -> None:
    done = started("run", *TINY, "--out", "ö", "--no-report", PYTHONIOENCODING="ascii")
    assert (done.returncode, without_progress(done.stderr)[0]) == (0, "")
    assert r"\u03b5" in done.stdout  # epsilon
    assert r"Results: \xf6/" in done.stdout
    help_text = started("results", "--out", "ü", PYTHONIOENCODING="ascii:strict")
    assert (help_text.returncode, help_text.stdout) == (2, "")
    assert help_text.stderr.startswith(r"perturblearn: \xfc has no records of runs")


def test_a_name_that_no_terminal_can_print(capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"caf\xe9")
    assert run_folders(Path(name)) == []
    assert "caf\\udce9 has no records" in refuse(capsys, "results", "--out", name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
def test_output_that_finds_no_room() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "perturblearn", "--help"]  # without PyTorch, which takes two seconds
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "perturblearn: cannot write to standard output (No space left on device); free some space and give the "
        "command again\n"
    )
