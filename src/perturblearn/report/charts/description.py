"""A chart as values: what stands along its axes and what is drawn, for whatever renderer draws it.

Texts are plain: renderers escape what would be markup. Places along an axis are numbers throughout; names are ticks at
0, 1, 2, ..., so that several series can stand side by side over one name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from perturblearn.report.charts.marks import Mark
from perturblearn.report.charts.palette import Look

_LONG = 28
"""Letters of a name along an axis; a renderer with a mouse tells all of it."""
_MOST_NAMES = 60
"""Names along an axis up to which they are written."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Args:
        label: what it measures, with its unit.
        is_log: whether it is logarithmic.
        limits: where it begins and ends; None for what holds all values. The larger first turns it around.
        ticks: texts by their places; None for round numbers.
        is_share: whether its numbers are shares, which are written in percent.
    """

    label: str
    is_log: bool = False
    limits: tuple[float, float] | None = None
    ticks: Mapping[float, str] | None = None
    is_share: bool = False

    @classmethod
    def of_names(cls, label: str, names: Sequence[str], *, down: bool = False) -> Axis:
        """An axis with a name at each of 0, 1, 2, ...

        Args:
            label: what they are.
            names: shortened where they are long, left out where there are more than fit.
            down: whether the first name is on top.
        """
        short = [name if len(name) <= _LONG else f"{name[: _LONG - 1]}…" for name in names]
        low, high = -0.5, len(names) - 0.5
        ticks = {float(place): name for place, name in enumerate(short)} if len(names) <= _MOST_NAMES else None
        return cls(label, limits=(high, low) if down else (low, high), ticks=ticks)


SHARE_LIMITS = (-0.03, 1.03)
"""Of an axis of shares: dots at 0 and 1 are whole."""


@dataclass(frozen=True)
class Level:
    """A reference line through a value of one axis, such as chance."""

    name: str
    value: float
    look: Look
    axis: Literal["x", "y"] = "y"


@dataclass(frozen=True)
class Zone:
    """A shaded range of the x axis, such as what random directions reach."""

    name: str
    low: float
    high: float
    look: Look


@dataclass(frozen=True, eq=False)
class Chart:
    """One panel, which answers one question.

    Args:
        title: what it shows.
        x, y: its axes.
        marks: what is drawn, from back to front.
        references: lines and zones that it is compared with.
        note: what dots, bands and colours are, over how many seeds and samples.
        is_square: whether both axes have one scale.
        size: in inches, on paper.
    """

    title: str
    x: Axis
    y: Axis
    marks: Sequence[Mark]
    references: Sequence[Level | Zone] = ()
    note: str = ""
    is_square: bool = False
    size: tuple[float, float] = (4.2, 3.2)


@dataclass(frozen=True, eq=False)
class Picture:
    """Charts side by side, with one legend.

    Args:
        charts: at least one.
        title: of the whole.
        note: below all; None for the chart's own where there is but one.
        columns: charts in a row, at most.
    """

    charts: Sequence[Chart]
    title: str
    note: str | None = None
    columns: int = 4

    @property
    def caption(self) -> str:
        """What stands below."""
        return self.charts[0].note if self.note is None and len(self.charts) == 1 else self.note or ""
