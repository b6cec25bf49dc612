"""Large tensors a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

BLOCK_BYTES = 2**22
"""Bytes of a block, by default: temporary copies of it stay small beside the whole."""


def row_slices(rows: Tensor, *, block: int | None = None) -> Iterator[slice]:
    """Ranges of rows that cover a tensor (n, ...) in order.

    Args:
        rows: the tensor.
        block: rows in a range; by default as many as `BLOCK_BYTES` hold, at least one.
    """
    if block is None:
        one = max(1, rows[0].numel() * rows.element_size()) if len(rows) else 1
        block = max(1, BLOCK_BYTES // one)
    return (slice(start, min(len(rows), start + block)) for start in range(0, len(rows), block))
