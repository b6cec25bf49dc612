"""Commands run in this process, small enough to be run often."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perturblearn.cli import main
from perturblearn.store import Record, RecordStore


def words(text: str) -> list[str]:
    return text.split()


TINY = words(
    "--seeds 1 --data.name gauss --data.n_samples 40 --data.n_heldout 40 --data.input_dim 10 --controls.draws 2 "
    "--measures.attribution false --standard.model.hidden_dim 8 --perturbation.model.hidden_dim 8 "
    "--standard.epochs 5 --perturbation.epochs 5"
)
DEEP = words(
    "--seeds 1 --data.name digits --data.classes 0,1,2 --data.n_samples 60 --controls.draws 1 --attack.name pgd "
    "--measures.attribution false --attack.steps 2 "
    "--standard.model.name mlp --standard.model.hidden_dim 8 --standard.epochs 2 "
    "--perturbation.model.name mlp --perturbation.model.hidden_dim 8 --perturbation.epochs 2"
)
DIGITS = words(
    "--seeds 1 --standard.epochs 20 --perturbation.epochs 20 --controls.draws 2 --measures.attribution false"
)


@dataclass(frozen=True)
class Said:
    """What a command answered: its exit code and all it said, with its lines of progress apart."""

    code: int
    out: str
    err: str
    progress: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


def say(capsys: pytest.CaptureFixture[str], *arguments: object) -> Said:
    """Run a command in this process."""
    capsys.readouterr()
    code = main([str(word) for word in arguments])
    captured = capsys.readouterr()
    return Said(code, captured.out, *without_progress(captured.err))


def without_progress(err: str) -> tuple[str, str]:
    """Standard error without the lines of progress, and these."""
    lines = err.splitlines(keepends=True)
    progress = [line for line in lines if line.startswith("progress: ")]
    return "".join(line for line in lines if line not in progress), "".join(progress)


def refuse(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence that refuses a command."""
    said = say(capsys, *arguments)
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("perturblearn: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    assert "Traceback" not in said.err
    return said.err.removeprefix("perturblearn: ").rstrip("\n")


def records(out: Path) -> list[Record]:
    return RecordStore(out / ".store" / "records.sqlite3").all()


def run_folders(out: Path) -> list[Path]:
    """What lies in an output folder besides the store."""
    return sorted(path for path in out.iterdir() if path.name != ".store") if out.is_dir() else []


def nothing_looks_finished(out: Path, sentence: str) -> bool:
    """Whether a refused command left nothing but what it had finished, and the record that it failed."""
    failed = all((record.state, record.error) == ("failed", sentence) for record in records(out))
    return failed and run_folders(out) == [] and not any((out / ".store" / "tmp").glob("*"))


def file_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
