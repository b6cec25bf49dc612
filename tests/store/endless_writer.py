"""Writes artefacts, and replaces some, until it is killed; what lies under a key follows from the key."""

from __future__ import annotations

import sys
from itertools import count

import torch

from perturblearn.store import Artefact, ArtefactStore, Record, RecordStore

KEYS = [f"{number:02d}{'0' * 62}" for number in range(40)]


def artefact_of(key: str) -> Artefact:
    number = int(key[:2])
    return Artefact({"number": number}, {"values": torch.full((20_000,), number, dtype=torch.int32)})


def main(folder: str, first: int, limit: int | None = None) -> None:
    store, records = ArtefactStore(folder, limit=limit), RecordStore(f"{folder}/records.sqlite3")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for turn in count(first):
        key = KEYS[turn % len(KEYS)]
        store.write(key, artefact_of(key), origin={"key": key}, replace=turn % 3 == 0)
        records.write(Record(key, "endless", "finished", {"number": int(key[:2])}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
