"""Philox 4x32 with 10 rounds: random words from a counter and a key [Salmon11].

[Salmon11] Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_WORD = 2**32
_HALF = np.uint64(32)


def philox(counters: tuple[NDArray[np.uint32], ...], key: int) -> tuple[NDArray[np.uint32], ...]:
    """The four words that belong to each of many counters.

    Args:
        counters: the four words of every counter, lowest first, of shapes that broadcast.
        key: in [0, 2**64); the lower half is the key's first word.

    Returns:
        Four arrays of the counters' shape.
    """
    first, second = key % _WORD, key // _WORD
    words = counters
    for _ in range(ROUNDS):
        # A product of two words has two words: the high one is mixed with the key, the low one handed on.
        products = [
            words[place].astype(np.uint64) * multiplier for place, multiplier in zip((0, 2), _MULTIPLIERS, strict=True)
        ]
        low = [product.astype(np.uint32) for product in products]
        high = [(product >> _HALF).astype(np.uint32) for product in products]
        words = (high[1] ^ words[1] ^ np.uint32(first), low[1], high[0] ^ words[3] ^ np.uint32(second), low[0])
        first, second = (first + _WEYL[0]) % _WORD, (second + _WEYL[1]) % _WORD
    return words
