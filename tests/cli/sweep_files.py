"""Sweeps of runs of a few milliseconds each, and what they leave behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.commands import run_folders

from perturblearn.store import Collection, RecordStore

BASE = """
name = "tiny"
[data]
name = "gauss"
n_samples = 40
n_heldout = 40
input_dim = 10
[standard]
epochs = 5
model.hidden_dim = 8
[perturbation]
epochs = 5
model.hidden_dim = 8
[controls]
draws = 1
"""
SWEEP = (
    BASE
    + """
[sweep.grid]
seeds = [0, 1]
"attack.epsilon" = [0.5, 1.0]
"standard.model.slope" = [0.0, 0.1]
"""
)
DIVERGING = (
    BASE
    + """
[sweep.grid]
seeds = [0, 1]
"standard.lr" = [0.1, 1e39]
"""
)


def write(text: str, path: str | Path = "sweep.toml") -> str:
    """The name of a file with this text."""
    Path(path).write_text(text, encoding="utf-8")
    return str(path)


def record_store(out: str | Path) -> RecordStore:
    return RecordStore(Path(out) / ".store" / "records.sqlite3")


def collections(out: str | Path) -> list[Collection]:
    return record_store(out).collections()


def lasting_records(out: str | Path) -> list[dict[str, Any]]:
    """The runs' records without what differs between equal runs: when they were written and how long they took."""
    found = sorted(record_store(out).all(), key=lambda record: record.key)
    return [{**vars(record), "changed": None, "seconds": None} for record in found]


def lasting_files(out: str | Path) -> dict[str, Any]:
    """The sweep's folder, without how long it took and where it lies."""
    (folder,) = run_folders(Path(out))
    files: dict[str, Any] = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    files["sweep.json"] = {**json.loads(files["sweep.json"]), "seconds": None, "folder": None}
    return {"folder": folder.name, **files}


def artefact_keys(out: str | Path) -> list[str]:
    return sorted(path.name for path in (Path(out) / ".store" / "artefacts").glob("*/*"))
