"""Batches of samples on the device: cut from data that lie there, or fetched from the CPU's memory as needed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import torch
from torch import Tensor

SHARE_OF_MEMORY = 0.6
"""Data above this share of a device's free memory stay where they are: networks need the rest."""


class ResidentLoader:
    """Batches of samples that lie on the device as a whole.

    Args:
        inputs: (N, ...).
        labels: (N,).
        device: where batches are wanted.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, device: torch.device) -> None:
        self._inputs = inputs.detach().to(device)
        self._labels = labels.to(device)

    def batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels of one batch after the other.

        Args:
            order: samples of each batch, (batches, n) int64 on the CPU.
        """
        for rows in order.to(self._inputs.device):
            yield self._inputs.index_select(0, rows), self._labels.index_select(0, rows)


class StreamedLoader:
    """Batches of samples that stay in the CPU's memory.

    They are gathered there into one of two buffers while the device still computes on the last batch. A batch is valid
    until the next but one is asked for.

    Args:
        inputs: (N, ...).
        labels: (N,).
        device: where batches are wanted.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, device: torch.device) -> None:
        self._inputs = inputs.detach().cpu()
        self._labels = labels.cpu()
        self._device = device

    def batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """See `ResidentLoader`."""
        size = order.shape[1]
        kind = _PinnedBuffer if self._device.type == "cuda" else _Buffer
        buffers = [kind(self._inputs, self._labels, size, self._device) for _ in range(2)]
        for rows, buffer in zip(order, cycle(buffers), strict=False):
            yield buffer.fetch(rows)


class _Buffer:
    """Room for one batch in the CPU's memory."""

    pinned = False

    def __init__(self, inputs: Tensor, labels: Tensor, size: int, device: torch.device) -> None:
        self._sources = inputs, labels
        self._parts = tuple(
            torch.empty((size, *source.shape[1:]), dtype=source.dtype, pin_memory=self.pinned)
            for source in self._sources
        )
        self._device = device

    def fetch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these samples."""
        for source, part in zip(self._sources, self._parts, strict=True):
            torch.index_select(source, 0, rows, out=part)
        inputs, labels = self._parts
        return inputs, labels


class _PinnedBuffer(_Buffer):
    """Room for one batch from which a GPU copies on its own, beside its computations."""

    pinned = True

    def __init__(self, inputs: Tensor, labels: Tensor, size: int, device: torch.device) -> None:
        super().__init__(inputs, labels, size, device)
        self._stream = torch.cuda.Stream(device)
        self._copied = torch.cuda.Event()

    def fetch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of these samples, in memory of its own on the GPU."""
        self._copied.synchronize()  # of the batch before last, which was long ago
        parts = super().fetch(rows)
        current = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            inputs, labels = (part.to(self._device, non_blocking=True) for part in parts)
            self._copied.record(self._stream)
        current.wait_stream(self._stream)
        for part in (inputs, labels):
            part.record_stream(current)  # or its memory would be free for the next copy before this batch is used
        return inputs, labels


def make_loader(
    inputs: Tensor, labels: Tensor, device: torch.device, *, resident: bool | None = None
) -> ResidentLoader | StreamedLoader:
    """The loader for these samples on this device.

    Args:
        inputs: (N, ...).
        labels: (N,).
        device: where batches are wanted.
        resident: keep all samples there; None to do so where they fit.
    """
    if resident is None:
        resident = inputs.device == device or fits(inputs.nbytes, device)
    return (ResidentLoader if resident else StreamedLoader)(inputs, labels, device)


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes of data leave a device enough memory for the training; the CPU's hold them already."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size <= SHARE_OF_MEMORY * free
