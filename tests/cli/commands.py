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
    "--standard.model.hidden_dim 8 --perturbation.model.hidden_dim 8 --standard.epochs 5 --perturbation.epochs 5"
)
DIGITS = words("--seeds 1 --standard.epochs 20 --perturbation.epochs 20 --controls.draws 2")


@dataclass(frozen=True)
class Said:
    """What a command answered: its exit code and all it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


def say(capsys: pytest.CaptureFixture[str], *arguments: object) -> Said:
    """Run a command in this process."""
    capsys.readouterr()
    code = main([str(word) for word in arguments])
    captured = capsys.readouterr()
    return Said(code, captured.out, captured.err)


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
