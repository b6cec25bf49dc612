"""Writes one key a hundred times, each second time in the place of what is there."""

from __future__ import annotations

import sys

import torch

from perturblearn.store import Artefact, ArtefactStore


def main(folder: str, number: int) -> None:
    store = ArtefactStore(folder)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for turn in range(100):
        artefact = Artefact({"number": number}, {"x": torch.full((10_000,), number)})
        store.write("ab" * 32, artefact, origin={}, replace=turn % 2 == 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
