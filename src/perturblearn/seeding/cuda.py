"""What torch draws on a GPU, without a GPU: the order in which its threads use the words of Philox."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perturblearn.seeding.philox import philox

_BLOCK_THREADS = 256
_WORDS = 4
"""Words, and so elements, that a thread draws in a round."""
_SLICE = 2**16
"""Threads that are computed at once: their words stay near the processor."""


@dataclass(frozen=True)
class Card:
    """What of a GPU decides how many threads draw.

    Args:
        multiprocessors: how many it has.
        threads: that one of them holds at most.
    """

    multiprocessors: int
    threads: int

    @property
    def most_threads(self) -> int:
        """Threads of a call, however many elements are drawn."""
        return self.multiprocessors * (self.threads // _BLOCK_THREADS) * _BLOCK_THREADS


CARDS = {
    "a100": Card(108, 2048),
    "h100": Card(132, 2048),
    "v100": Card(80, 2048),
    "a6000": Card(84, 1536),
    "rtx3090": Card(82, 1536),
    "rtx4090": Card(128, 1536),
    "t4": Card(40, 1024),
}
"""Cards by their names in a configuration. Up to a card's ``most_threads`` elements a call draws the same on all."""


class CudaGenerator:
    """The draws of torch's generator of a GPU, in the order of its calls.

    A call for n elements runs T threads: blocks of 256, as many as n needs, at most as many as the card holds. In round
    r thread i has the counter (offset/4 + r, 0, i, 0) under the key seed, and its word (or normal) k becomes element
    i + T (4 r + k). Afterwards the offset is 4 more for every round.

    Args:
        seed: as in ``torch.cuda.manual_seed``, in [0, 2**63).
        card: one of `CARDS`.

    Example:
        >>> [round(value, 4) for value in CudaGenerator(0).uniform(3).tolist()]
        [0.399, 0.5167, 0.0249]
    """

    def __init__(self, seed: int, card: str = "a100") -> None:
        self._seed = seed
        self._most_threads = CARDS[card].most_threads
        self.offset = 0

    def uniform(self, *shape: int, rows: range | None = None) -> Tensor:
        """As ``torch.rand``: uniform on [0, 1), float32; all rows of the first dimension, or only these."""
        return self._draw(shape, torch.float32, lambda words, kind: _uniform(words[kind]), rows)

    def normal(self, *shape: int, rows: range | None = None) -> Tensor:
        """As ``torch.randn``: N(0, 1), float32, up to about 1e-6, by which a GPU's sine differs from a CPU's.

        All rows of the first dimension, or only these.
        """
        return self._draw(shape, torch.float32, _normal, rows)

    def integers(self, high: int, *shape: int) -> Tensor:
        """As ``torch.randint``: 0 .. high - 1, int64; for high below 2**28."""
        return self._draw(shape, torch.int64, lambda words, kind: words[kind] % np.uint32(high))

    def skip(self, count: int) -> None:
        """Go on as if a call had drawn so many elements."""
        self.offset += _WORDS * self._rounds(count)

    def _threads(self, count: int) -> int:
        blocks = -(-count // _BLOCK_THREADS)
        return min(blocks * _BLOCK_THREADS, self._most_threads)

    def _rounds(self, count: int) -> int:
        return (count - 1) // (_WORDS * self._threads(count)) + 1

    def _draw(
        self,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        element: Callable[[tuple[NDArray[np.uint32], ...], int], NDArray[np.generic]],
        rows: range | None = None,
    ) -> Tensor:
        """Elements made of a thread's four words and their place among its four elements."""
        count, of_row = math.prod(shape), math.prod(shape[1:])
        rows = range(shape[0]) if rows is None else rows
        drawn = torch.empty((len(rows), *shape[1:]), dtype=dtype)
        flat, begin = drawn.view(-1).numpy(), rows.start * of_row
        threads = self._threads(count)
        zero = np.zeros(1, dtype=np.uint32)
        for number in range(self._rounds(count)):
            counter = self.offset // _WORDS + number
            low, high = (np.array([part], dtype=np.uint32) for part in (counter % 2**32, counter // 2**32))
            for start in range(0, threads, _SLICE):
                ids = np.arange(start, min(start + _SLICE, threads), dtype=np.uint32)
                firsts = [threads * (_WORDS * number + kind) + start - begin for kind in range(_WORDS)]
                if not any(first < len(flat) and first + len(ids) > 0 for first in firsts):
                    continue
                words = philox((low, high, ids, zero), self._seed)
                for kind, first in enumerate(firsts):
                    part = flat[max(first, 0) : max(first + len(ids), 0)]
                    if len(part):
                        left = max(-first, 0)
                        part[:] = element(words, kind)[left : left + len(part)]
        self.skip(count)
        return drawn


def _open_uniform(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Uniform on (0, 1]: rounded to float32, the largest words give 1."""
    return words.astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)


def _uniform(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    drawn = _open_uniform(words)
    drawn[drawn == 1] = 0  # torch turns the interval's closed end around
    return drawn


def _normal(words: tuple[NDArray[np.uint32], ...], kind: int) -> NDArray[np.float32]:
    """Box and Muller's pair of two words: first the sine, then the cosine."""
    first = kind - kind % 2
    length = np.sqrt(np.float32(-2) * np.log(_open_uniform(words[first])))
    turn = np.float32(2 * np.pi * 2**-32)
    angle = words[first + 1].astype(np.float32) * turn + turn / np.float32(2)
    return length * (np.cos(angle) if kind % 2 else np.sin(angle))
