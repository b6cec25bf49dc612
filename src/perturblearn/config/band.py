"""The names of bands in which perturbations may lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

_NAME = re.compile(r"(not )?(frequency|components):(\d+\.?\d*|\.\d+)-(\d+\.?\d*|\.\d+)")


@dataclass(frozen=True)
class BandName:
    """A band, as ``frequency:0-0.25``, ``components:0-30`` or ``not components:0-30``.

    Args:
        text: as it is written.
        kind: what it is a range of.
        low, high: frequencies between 0 and 1, or numbers of components by falling variance, the last one excluded.
        is_without: whether the range is what is left out.
    """

    text: str
    kind: Literal["frequency", "components"]
    low: float
    high: float
    is_without: bool

    @classmethod
    def parse(cls, text: str) -> BandName:
        """A band by its name.

        Raises:
            ValueError: it names none.
        """
        match = _NAME.fullmatch(text)
        if match is None:
            raise ValueError(
                "it names no band; write frequency:LOW-HIGH (between 0 and 1) or components:FIRST-END (numbers from 0 "
                "by falling variance), with 'not ' before it for all but these"
            )
        without, kind, low, high = match.groups()
        band = cls(text, cast(Literal["frequency", "components"], kind), float(low), float(high), without is not None)
        if not band.low < band.high or (kind == "frequency" and band.high > 1):
            limits = "from 0 to 1" if kind == "frequency" else "from 0 up"
            raise ValueError(f"a band of {kind} goes {limits}, from a smaller number to a larger one")
        if kind == "components" and not (low.isdigit() and high.isdigit()):
            raise ValueError("components are counted in whole numbers, such as components:0-30")
        return band
