"""A small training that keeps a draft of every step, in a process that may be killed at any time."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch._dynamo  # as an optimiser does when it is first used, which takes a second
from tests.training.minibatch_problems import dense, samples, state_of

from perturblearn.store import Artefact, ArtefactStore, Drafts
from perturblearn.training import MinibatchDescent, Resumption

DRAFTS = "0" * 64
RESULT = "1" * 64
DESCENT = MinibatchDescent("logistic", 0.1, 12, 4)


def drafts_in(folder: Path) -> Drafts:
    return Drafts(ArtefactStore(folder), DRAFTS)


def main(folder: Path) -> None:
    torch.set_num_threads(1)  # bits are equal at an equal number of threads
    inputs, labels = samples(41, (6,), 3)
    network = dense(3, dropout=0.2)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    drafts = drafts_in(folder)
    found = DESCENT.train(network, inputs, labels, seed=0, resumption=Resumption(drafts, 0))
    result = Artefact({"final_lr": found.final_lr}, {**state_of(found.module), "losses": found.losses})
    ArtefactStore(folder).write(RESULT, result, origin={})
    drafts.clear()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
