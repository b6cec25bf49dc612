"""One seed per run, one derived seed per stage and purpose."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str) -> int:
    """A seed for one purpose, so that adding a stage never changes another stage's numbers.

    Args:
        seed: the run's seed, 0 or more.
        purpose: what the draws are for, from the general to the particular: ``"data", "training inputs"``.

    Returns:
        An integer in [0, 2**63), fixed by the arguments alone.
    """
    text = "\x1f".join((str(seed), *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
