"""Writes and reads a few keys in a store too small for all of them; ends in an error if a reading is wrong."""

from __future__ import annotations

import random
import sys
from contextlib import suppress

import torch

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


def main(folder: str, writer: int) -> None:
    store, rng = ArtefactStore(folder, limit=LIMIT), random.Random(writer)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for turn in range(300):
        key = rng.choice(KEYS)
        store.write(key, artefact_of(key, writer), origin={}, replace=turn % 2 == 0)
        with suppress(KeyError):
            key = rng.choice(KEYS)
            check(key, store.read(key))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
