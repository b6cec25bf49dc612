"""Several processes that train one network: started by torchrun, led by the first."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from perturblearn.errors import ConfigError, ModelError

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others within a training before it takes them for dead."""
FAREWELL_SECONDS = 10.0
POLL_SECONDS = 0.05
CHUNK = 2**24
"""Entries of a tensor that are sent at a time."""


class Team:
    """Processes that train together, seen from one of them; one alone unless `workers` says otherwise.

    Args:
        rank: this process, 0 for the one that runs the program.
        size: how many there are.
        store: torch's key-value store, where they leave words for each other; None for a process alone.
        has_gpus: whether each has a GPU of its own.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Any = None, *, has_gpus: bool = False) -> None:
        self.rank = rank
        self.size = size
        self._store = store
        self._has_gpus = has_gpus
        self._calls = 0

    def device(self, wanted: str | torch.device) -> torch.device:
        """The device on which this process trains when the program asks for one.

        Raises:
            ConfigError: the processes cannot have such a device each.
        """
        device = torch.device(wanted)
        if device.type != "cuda":
            return device
        if self.size == 1:
            return torch.empty(0, device=device).device  # with its number
        if not self._has_gpus:
            raise ConfigError(
                f"device = {str(device)!r}, but this machine has fewer GPUs than torchrun started processes; start as "
                "many as there are GPUs"
            )
        own = f"cuda:{os.environ['LOCAL_RANK']}"
        if self.rank == 0 and str(device) not in ("cuda", own):
            raise ConfigError(
                f"device = {str(device)!r}, but under torchrun each process takes the GPU of its own number; write cuda"
            )
        return torch.device(own)

    def call(self, function: Callable[..., object], *arguments: object, tensors: Sequence[Tensor]) -> None:
        """Have all others call a function of a module, with their team, the arguments and the tensors.

        Args:
            function: named by its module, as pickle does.
            arguments: what can be pickled; the processes trust each other.
            tensors: large ones, which are sent as they are, and arrive on the CPU.

        Raises:
            ModelError: an argument, which can only be a network, cannot be pickled.
        """
        if self._store is None:
            return
        shapes = [(tuple(tensor.shape), tensor.dtype) for tensor in tensors]
        try:
            words = pickle.dumps((function, arguments, shapes))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ModelError(
                f"the network cannot be sent to the other processes ({error}); define its classes at the top of a "
                "module, or train in one process"
            ) from error
        self._store.set(f"call {self._calls}", "work")
        self._calls += 1
        dist.broadcast_object_list([words], 0, device=torch.device("cpu"))
        # In chunks: a copy of the whole data set on the CPU may not fit beside the data themselves.
        for tensor in tensors:
            for chunk in tensor.detach().reshape(-1).split(CHUNK):
                dist.broadcast(chunk.cpu().contiguous(), 0)

    def serve(self) -> None:
        """Do what the first process calls for, until it dismisses the team."""
        assert self._store is not None
        for number in count():
            word = f"call {number}"
            # No collective operation: the first process may be busy alone for hours, longer than any timeout.
            while not self._store.check([word]):
                time.sleep(POLL_SECONDS)
            if self._store.get(word) == b"stop":
                self._store.add("gone", 1)
                return
            box: list[Any] = [None]
            dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
            function, arguments, shapes = pickle.loads(box[0])
            tensors = [torch.empty(shape, dtype=dtype) for shape, dtype in shapes]
            for tensor in tensors:
                for chunk in tensor.view(-1).split(CHUNK):
                    dist.broadcast(chunk, 0)
            function(self, *arguments, *tensors)

    def dismiss(self) -> None:
        """Let the others go, and wait until they have: the words may lie in this process."""
        if self._store is None:
            return
        self._store.set(f"call {self._calls}", "stop")
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self._store.add("gone", 0) < self.size - 1 and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


class CommonSteps:
    """Steps that all processes of a team take together, for as long as the first one wants.

    Each process adds its share of every batch's gradients. Before a step the first process says whether there is one,
    by a word over the CPU that waits for no GPU. So an error there ends the training everywhere.

    Args:
        team: the processes.
        parameters: what is trained, the same in all.
        left: steps until the training is complete.
    """

    def __init__(self, team: Team, parameters: Sequence[nn.Parameter], left: int) -> None:
        self._is_alone = team.size == 1
        self._is_first = team.rank == 0
        self._parameters = parameters
        self._left = left
        self._owes_gradients = False

    def begin(self) -> bool:
        """Whether there is another step to take."""
        if self._is_alone:
            return True
        word = torch.ones(1, dtype=torch.uint8)  # on the CPU: a GPU's answer would wait for all that is queued there
        self._owes_gradients = True
        self._left -= 1
        dist.broadcast(word, 0)
        return bool(word)

    def add_up(self, loss: Tensor) -> Tensor:
        """Add up the gradients, in their place, and the losses of all processes.

        Args:
            loss: of this process's share of the batch, as a part of the batch's mean.

        Returns:
            The mean loss of the batch.
        """
        if self._is_alone:
            return loss
        for parameter in self._parameters:
            if parameter.grad is None:  # not used here, but maybe elsewhere
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        # One tensor: each operation waits for all processes, and a network has a hundred small parameters.
        flat = torch.cat([part.reshape(-1) for part in (*gradients, loss)])
        self._send(flat)
        for gradient, total in zip(gradients, flat[:-1].split([part.numel() for part in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))
        return flat[-1]

    def give_up(self) -> None:
        """End the training in the other processes, from wherever the first one is in a step."""
        if not self._is_first or self._is_alone:
            return
        with suppress(RuntimeError):  # they may be why it ends
            if self._owes_gradients:  # the others wait for them, or will
                size = sum(parameter.numel() for parameter in self._parameters)
                self._send(self._parameters[0].new_zeros(size + 1))
            if self._left:
                dist.broadcast(torch.zeros(1, dtype=torch.uint8), 0)

    def _send(self, flat: Tensor) -> None:
        self._owes_gradients = False
        dist.all_reduce(flat)


_team = Team()


def current_team() -> Team:
    """The team that this process belongs to."""
    return _team


@contextmanager
def workers() -> Iterator[bool]:
    """Whether this process is the one that runs the program.

    Under torchrun all processes run the same script. Within this block the first one's trainings by minibatches are
    shared among all. The others come here to serve them until the first one leaves the block, be it by an error, and
    are told False when all is done::

        with workers() as is_main:
            if is_main:
                main()

    A program that torchrun has not started, or as a single process, is told True. Processes talk over gloo, and on
    GPUs over NCCL if there are as many as processes; process number ``LOCAL_RANK`` of a machine takes its GPU of that
    number.
    """
    global _team
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    # Not every build of torch has these.
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(iter(rendezvous("env://", timeout=TIMEOUT)))
    has_gpus = torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if has_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if has_gpus else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    _team = Team(rank, size, PrefixStore("perturblearn", store), has_gpus=has_gpus)
    try:
        if rank:
            with _deaf_to_interrupts():
                _team.serve()
            yield False
            return
        try:
            yield True
        finally:
            _team.dismiss()
    finally:
        # Also after an error: a later training in this process must not wait for processes that have gone.
        _team = Team()
        dist.destroy_process_group()


@contextmanager
def late_interrupts(team: Team) -> Iterator[Callable[[], None]]:
    """A block of the first process that Ctrl-C ends only where the block calls what it is given.

    An interruption in the midst of a common operation would leave the others waiting for the rest of it. One process
    alone is interrupted as ever, and so is one whose interruptions are handled in another thread.
    """
    before = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if team.size == 1 or team.rank or not callable(before) or not in_main_thread:
        yield lambda: None
        return
    noted: list[tuple[int, FrameType | None]] = []

    def pause() -> None:
        if noted:
            before(*noted.pop())

    signal.signal(signal.SIGINT, lambda number, frame: noted.append((number, frame)))
    try:
        yield pause
    finally:
        signal.signal(signal.SIGINT, before)
        pause()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal: the first one answers it, and dismisses the others."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
