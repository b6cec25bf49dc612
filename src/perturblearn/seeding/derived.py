"""One seed per run, one derived seed per stage and purpose."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str) -> int:
    """A seed for one purpose, so that adding a stage never changes the random numbers of another stage.

    Args:
        seed: the run's seed, 0 or more.
        purpose: what the draws are for, from general to specific: ``"data", "training inputs"``.

    Returns:
        An integer in [0, 2**63) that depends only on the arguments.
    """
    # The unit separator keeps ("a", "bc") and ("ab", "c") apart. Python's own `hash` differs from process to process.
    text = "\x1f".join((str(seed), *purpose))
    # 63 bits fit into a signed 64-bit integer, whichever generator takes the seed.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
