"""Parsing of sizes such as 20GB."""

from __future__ import annotations

import re
from decimal import Decimal

from perturblearn.errors import ConfigError

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?:([kmgt]?)(i?)b)?", re.IGNORECASE)
_PREFIXES = ("", "k", "m", "g", "t")


def parse_size(value: int | str, *, name: str = "size") -> int:
    """A size in bytes.

    Args:
        value: bytes, or text such as ``"20GB"``, ``"500 MB"`` (powers of 1000), ``"1.5 GiB"`` (powers of 1024) or
            ``"4096"`` (bytes), in upper or lower case. ``"20G"`` is refused, because programs disagree on its meaning.
        name: the name of the value in error messages.

    Returns:
        Bytes, at least 1, rounded down.

    Raises:
        ConfigError: the value is not a size, or not above 0.

    Example:
        >>> parse_size("1.5 GiB")
        1610612736
    """
    size = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        number, prefix, binary = match.groups(default="")
        size = int(Decimal(number) * (1024 if binary else 1000) ** _PREFIXES.index(prefix.lower()))
    if size is None or size < 1:
        raise ConfigError(
            f"{name} = {value!r}, but it must be a whole number of bytes or a number with a unit, above 0; write for "
            "example 20GB, 500MB or 1.5GiB"
        )
    return size
