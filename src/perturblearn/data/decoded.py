"""Decoded data kept in memory, so that several seeds of one experiment decode them once."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from perturblearn.data.raw import RawData

MOST_BYTES = 2**30
"""Larger data are decoded again each time rather than kept."""


class LastDecoded:
    """The data that were decoded last, at most one set and none above a size; nobody may change their tensors.

    Args:
        most_bytes: bytes of tensors up to which data are kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: tuple[Hashable, RawData] | None = None

    def get(self, key: Hashable, read: Callable[[], RawData]) -> RawData:
        """The data of a key: those that are kept, else what ``read`` returns.

        Args:
            key: what identifies the data and the way they are decoded.
            read: decodes them.
        """
        kept = self._kept
        if kept is not None and kept[0] == key:
            return kept[1]
        # Let go before the others are read: two large sets need not fit into memory together.
        kept = self._kept = None
        raw = read()
        if raw.n_bytes <= self._most_bytes:
            self._kept = (key, raw)
        return raw
