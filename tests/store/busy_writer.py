"""Two processes write one key a hundred times, each second time in the place of what is there; a third reads it."""

from __future__ import annotations

import sys
from contextlib import suppress

import torch
from tests.store.beside import beside

from perturblearn.store import Artefact, ArtefactStore

KEY = "ab" * 32


def write(folder: str, number: int) -> None:
    store = ArtefactStore(folder)
    for turn in range(100):
        artefact = Artefact({"number": number}, {"x": torch.full((10_000,), number)})
        store.write(KEY, artefact, origin={}, replace=turn % 2 == 0)


def main(folder: str) -> None:
    store = ArtefactStore(folder)
    for _ in beside(write, (folder, 1), (folder, 2)):
        with suppress(KeyError):  # it may be moved away between two looks
            store.read(KEY)


if __name__ == "__main__":
    main(sys.argv[1])
