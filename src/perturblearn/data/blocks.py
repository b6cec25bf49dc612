"""Iterating over large tensors a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

BLOCK_BYTES = 2**22
"""Default size of a block in bytes: small enough that temporary copies do not count beside the whole tensor."""


def row_slices(rows: Tensor, *, block: int | None = None) -> Iterator[slice]:
    """Consecutive ranges of rows that cover a tensor (n, ...).

    Args:
        rows: the tensor.
        block: rows per range; by default as many as fit into `BLOCK_BYTES`, at least one.
    """
    if block is None:
        one = max(1, rows[0].numel() * rows.element_size()) if len(rows) else 1
        block = max(1, BLOCK_BYTES // one)
    return (slice(start, min(len(rows), start + block)) for start in range(0, len(rows), block))
