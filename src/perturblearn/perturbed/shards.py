"""How large a perturbed set is, and the parts in which it is made and kept."""

from __future__ import annotations

from perturblearn.config import AttackConfig

HELDOUT_SOURCES = 1000
"""Held-out sources of an attack that searches, at most: they choose g's learning rate, which needs no more."""
BLOCK = 1024
"""Samples that are perturbed together. What is drawn and summed up for a sample depends on its place in its block and
on nothing else, so a set is the same to the bit however its blocks are put together."""
BLOCK_BYTES = 2**28
"""Blocks of large inputs have fewer samples, so that one stays below this."""
SHARD_BLOCKS = 8
"""Blocks of a shard, at most."""
SHARD_BYTES = 2**27
"""Bytes of a shard in float32, at most, where a block has fewer."""


def set_size(attack: AttackConfig, n_samples: int, n_heldout: int, *, heldout: bool) -> int:
    """Samples of a perturbed set.

    Args:
        attack: noise sources have a number of their own; of the held-out inputs a search takes `HELDOUT_SOURCES`.
        n_samples, n_heldout: of the data.
        heldout: the set that chooses g's learning rate, instead of the one that g is trained on.
    """
    if heldout:
        return min(n_heldout, HELDOUT_SOURCES) if attack.is_search else n_heldout
    return n_samples if attack.n_sources is None else attack.n_sources


def block_rows(input_dim: int) -> int:
    """Samples of a block: a power of two, `BLOCK` unless inputs are large."""
    rows = BLOCK
    # Never below 16: noise is drawn in groups of so many values.
    while rows > 16 and 4 * rows * input_dim > BLOCK_BYTES:
        rows //= 2
    return rows


def blocks_in(rows: range, input_dim: int) -> list[range]:
    """The blocks of some samples, of which the first begins a block."""
    step = block_rows(input_dim)
    assert rows.start % step == 0, "samples from within a block would be drawn otherwise"
    return [range(start, min(start + step, rows.stop)) for start in range(rows.start, rows.stop, step)]


def shard_ranges(count: int, input_dim: int) -> list[range]:
    """The samples of each shard: whole blocks, 8,192 samples of the size of MNIST.

    Args:
        count: samples of the whole set.
        input_dim: numbers per sample.
    """
    block = block_rows(input_dim)
    blocks = max(1, min(SHARD_BLOCKS, SHARD_BYTES // (4 * block * input_dim)))
    step = blocks * block
    return [range(start, min(start + step, count)) for start in range(0, count, step)]
