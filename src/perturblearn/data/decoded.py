"""A cache of decoded data, so that several seeds of one experiment decode them once."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from perturblearn.data.raw import RawData

MOST_BYTES = 2**30
"""Larger data are not cached but decoded again each time."""


class DecodedCache:
    """The data set that was decoded last, if it is not too large. Its tensors must not be changed.

    Args:
        most_bytes: largest size of the cached tensors, in bytes.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: tuple[Hashable, RawData] | None = None

    def get(self, key: Hashable, read: Callable[[], RawData]) -> RawData:
        """The cached data of a key, or else what ``read`` returns.

        Args:
            key: identifies the data and how they are decoded.
            read: decodes them.
        """
        kept = self._kept
        if kept is not None and kept[0] == key:
            return kept[1]
        # Release the old data before reading: two large sets need not fit into memory together.
        kept = self._kept = None
        raw = read()
        if raw.n_bytes <= self._most_bytes:
            self._kept = (key, raw)
        return raw
