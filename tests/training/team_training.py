"""Trainings of two processes, one after the other, with what can go wrong in between. To be run in a forked child."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tests.training.minibatch_problems import convolutional, samples, state_of, wrapped
from torch import Tensor, nn

from perturblearn.attacks import L2, PGD
from perturblearn.classifiers import Classifier
from perturblearn.errors import ConfigError, ModelError
from perturblearn.store import Artefact, ArtefactStore, Drafts
from perturblearn.training import Adversary, MinibatchDescent, Resumption, minibatch, workers

KEYS = {name: str(number) * 64 for number, name in enumerate(("even", "uneven", "resumed", "partly", "moved"), start=1)}
DESCENT = MinibatchDescent("logistic", 0.1, 4, 6, augmentation=("crop", "flip"))
MOVED = replace(DESCENT, adversary=Adversary(PGD(L2(), 0.3, steps=2, step=0.6)))
DESCENT_OF_VECTORS = MinibatchDescent("logistic", 0.1, 1, 6)
SEED = 7


class Stopped(Exception):
    pass


class Failing(nn.Module):
    """At the third batch it fails in the first process, or there comes what Ctrl-C sends to both."""

    def __init__(self, *, interrupts: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 3)
        self.calls = 0
        self.interrupts = interrupts

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += self.training
        if self.calls == 3 and self.interrupts:
            os.kill(os.getpid(), signal.SIGINT)
        elif self.calls == 3 and os.environ["RANK"] == "0":
            raise Stopped
        return self.linear(inputs.flatten(1))


class Partly(nn.Module):
    """The second process's inputs never pass through a part of it, and a third part is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.extra, self.unused = nn.Linear(64, 3), nn.Linear(64, 3), nn.Linear(2, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        outputs = self.linear(flat)
        return outputs + self.extra(flat) if os.environ.get("RANK", "0") == "0" else outputs


def partly() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Partly().double()


def save(store: ArtefactStore, name: str, found: Classifier) -> None:
    store.write(KEYS[name], Artefact({}, {**state_of(found.module), "losses": found.losses}), origin={})


def main(folder: Path) -> None:
    store = ArtefactStore(folder)
    network, data = convolutional(), samples(20, (1, 8, 8), 3)
    save(store, "even", DESCENT.train(network, *data, seed=SEED))
    few = samples(5, (1, 8, 8), 3)
    save(store, "uneven", DESCENT.train(network, *few, seed=SEED))
    save(store, "moved", MOVED.train(network, *data, seed=SEED))
    try:
        MinibatchDescent("logistic", 0.1, 1, 7).train(network, *data, seed=SEED)
    except ConfigError as error:
        sys.stdout.write(f"{error}\n")

    class Local(nn.Linear):
        """Cannot be pickled: no module has it."""

    try:
        DESCENT_OF_VECTORS.train(wrapped(Local(6, 3).double(), (6,), 3), *samples(20, (6,), 3), seed=0)
    except ModelError as error:
        sys.stdout.write(f"{error}\n")

    minibatch.REPORT_SECONDS = 0.0
    for stop in (1, 5, 12):  # the last one comes when nothing is left to be done

        def report(done: int, total: int, note: str, stop: int = stop) -> None:
            if done == stop:
                raise Stopped

        try:
            DESCENT.train(network, *data, seed=SEED, report=report, resumption=Resumption(Drafts(store, "0" * 64), 0))
        except Stopped:
            sys.stdout.write(f"stopped at {stop}\n")
    save(store, "resumed", DESCENT.train(network, *data, seed=SEED, resumption=Resumption(Drafts(store, "0" * 64))))

    steps: list[int] = []
    for interrupts in (False, True):
        network = wrapped(Failing(interrupts=interrupts).double(), (1, 8, 8), 3)
        try:
            DESCENT.train(network, *data, seed=SEED, report=lambda done, total, note: steps.append(done))
        except (Stopped, KeyboardInterrupt) as error:
            sys.stdout.write(f"{type(error).__name__} after step {steps[-1]}\n")
    save(store, "partly", DESCENT.train(wrapped(partly(), (1, 8, 8), 3), *data, seed=SEED))
    # Ends the program, and with it the other process.
    MinibatchDescent("logistic", 1e200, 3, 4).train(convolutional(), *data, seed=SEED)


def die() -> None:
    def report(done: int, total: int, note: str) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    minibatch.REPORT_SECONDS = 0.0
    DESCENT.train(convolutional(), *samples(20, (1, 8, 8), 3), seed=SEED, report=report)


def _heard(hear: int, say: int) -> str:
    os.close(say)
    with open(hear, encoding="utf-8") as file:
        return file.read()


def become_two() -> None:
    """Go on as two children with the environment that torchrun gives them, and print how each ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ended: list[tuple[int, str, str]] = []
    children: dict[int, list[tuple[int, int]]] = {}
    for rank in ("0", "1"):
        pipes = [os.pipe(), os.pipe()]  # they hold all that a child says
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
            for stream, (_, say) in enumerate(pipes, start=1):
                os.dup2(say, stream)
            return
        children[child] = pipes
    for child, pipes in children.items():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output, errors = (_heard(*pipe) for pipe in pipes)
        ended.append((code, output, errors))
    sys.stdout.write(json.dumps(ended))
    sys.exit()


if __name__ == "__main__":
    become_two()
    # Started in a shell's background, a process would ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    with workers() as is_main:
        if is_main:
            main(Path(sys.argv[1])) if len(sys.argv) > 1 else die()
