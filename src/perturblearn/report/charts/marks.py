"""What is drawn into a chart: kinds of series as values, each of which knows how its numbers are to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from perturblearn.report.charts.palette import Look

Values = Sequence[float] | Tensor


@dataclass(frozen=True, eq=False)
class Curve:
    """Points, joined if its look has a dash, with a spread.

    Args:
        name: in the legend; series of one name have one entry.
        x, y: its points; a value that is not finite leaves a gap.
        look: colour, dash, marker.
        spread: half the height of a band or bar at each point, such as one standard deviation; None for none.
        has_bars: whether the spread is drawn as bars, as it is of a single point, which no band can show.
        key: what a page's filter knows it by.
    """

    name: str
    x: Sequence[float]
    y: Values
    look: Look
    spread: Sequence[float] | None = None
    has_bars: bool = False
    key: str = ""

    @property
    def has_spread(self) -> bool:
        """Whether there is a spread to draw, and not 0 everywhere."""
        return self.spread is not None and any(self.spread)

    @property
    def shows_band(self) -> bool:
        """Whether the spread is drawn as a band."""
        return self.has_spread and not self.has_bars and len(self.x) > 1

    def edges(self, *, is_log: bool) -> tuple[list[float], list[float]]:
        """The lower and the upper end of the spread at each point.

        Args:
            is_log: whether the axis is logarithmic: it has no place for 0, so no lower end is below half its value.
        """
        assert self.spread is not None
        pairs = list(zip(map(float, self.y), self.spread, strict=True))
        low = [max(y - spread, y / 2) if is_log else y - spread for y, spread in pairs]
        return low, [y + spread for y, spread in pairs]


@dataclass(frozen=True, eq=False)
class Band:
    """All that lies between a lower and an upper value at each x, such as the draws of controls."""

    name: str
    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    look: Look


@dataclass(frozen=True, eq=False)
class Dots:
    """Single samples, at most thinned by a renderer that has to save room: x and y of the same length."""

    name: str
    x: Tensor
    y: Tensor
    look: Look


@dataclass(frozen=True, eq=False)
class Strip:
    """Every value of a measure as a dot beside the others, with a bar at their mean and one standard deviation.

    Args:
        name: what was measured.
        place: along the y axis.
        values: along the x axis.
        mean, std: of the values; None where there is none.
        look: the colour counts alone.
    """

    name: str
    place: float
    values: Sequence[float]
    mean: float | None
    std: float | None
    look: Look

    @property
    def dots(self) -> list[tuple[float, float]]:
        """Value and place of each dot, spread evenly over a narrow band so that equal values stay visible."""
        count = len(self.values)
        return [(value, self.place + 0.44 * ((n + 0.5) / count - 0.5)) for n, value in enumerate(self.values)]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of equally wide bins: their middles and heights, both (n,)."""

    name: str
    middles: Tensor
    counts: Tensor
    look: Look


@dataclass(frozen=True, eq=False)
class Heat:
    """A table of shares in colours, from the paper's at `low` to that of f at 1.

    Args:
        rows, columns: what they are called, in full.
        means: (rows, columns), in [0, 1]; NaN where nothing was measured.
        stds: of the same shape, NaN where there is none; None for none at all.
        low: where colours begin.
        label: of the scale, without its unit, which is percent.
        words: before a row's and a column's name where a cell is spelt out.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    means: Tensor
    stds: Tensor | None
    low: float
    label: str
    words: tuple[str, str]

    @property
    def texts(self) -> list[list[str]]:
        """What is written into the cells, in percent: mean ± std, and whole numbers where there is no std."""
        stds = self.stds

        def text(row: int, column: int) -> str:
            mean = 100 * float(self.means[row, column])
            if stds is None:
                return "" if mean != mean else f"{mean:.0f}"
            std = 100 * float(stds[row, column])
            return "" if mean != mean else f"{mean:.1f}" if std != std else f"{mean:.1f}\n± {std:.1f}"

        rows, columns = self.means.shape
        return [[text(row, column) for column in range(columns)] for row in range(rows)]


@dataclass(frozen=True, eq=False)
class Region:
    """Two colours over a square plane.

    Args:
        grid: both axes' places, (n,).
        values: whether a place has the second colour, (n, n), its rows along y.
        colours: names of the two.
    """

    grid: Tensor
    values: Tensor
    colours: tuple[str, str]


@dataclass(frozen=True, eq=False)
class Boundary:
    """Where values on a square plane change their sign: grid (n,), values (n, n)."""

    name: str
    grid: Tensor
    values: Tensor
    look: Look


Mark = Curve | Band | Dots | Strip | Histogram | Heat | Region | Boundary
