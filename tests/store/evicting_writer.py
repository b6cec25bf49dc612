"""Two processes write and read a few keys in a store too small for all of them, while a third reads.

Ends in an error if a reading is wrong; prints how often the third found something and how often nothing.
"""

from __future__ import annotations

import random
import sys
from contextlib import suppress

import torch
from tests.store.beside import beside

from perturblearn.store import Artefact, ArtefactStore

KEYS = [f"{number:02d}{'0' * 62}" for number in range(8)]
LIMIT = 45_000  # five artefacts of some 8,500 bytes


def artefact_of(key: str, writer: int) -> Artefact:
    """The writers' artefacts differ, so that half of one and half of the other would be noticed."""
    return Artefact({"writer": writer}, {"values": torch.full((1_000,), 10 * int(key[:2]) + writer)})


def check(key: str, found: Artefact) -> None:
    expected = artefact_of(key, found.content["writer"])
    if not torch.equal(found.tensors["values"], expected.tensors["values"]):
        raise ValueError(f"{key} has another's content")


def write(folder: str, writer: int) -> None:
    store, rng = ArtefactStore(folder, limit=LIMIT), random.Random(writer)
    for turn in range(300):
        key = rng.choice(KEYS)
        store.write(key, artefact_of(key, writer), origin={}, replace=turn % 2 == 0)
        with suppress(KeyError):
            key = rng.choice(KEYS)
            check(key, store.read(key))


def main(folder: str) -> None:
    store, seen, gone = ArtefactStore(folder), 0, 0
    for _ in beside(write, (folder, 1), (folder, 2)):
        for key in KEYS:
            try:
                check(key, store.read(key))
                seen += 1
            except KeyError:
                gone += 1
    sys.stdout.write(f"{seen} {gone}")


if __name__ == "__main__":
    main(sys.argv[1])
