"""Charts as matplotlib figures, which are saved as PNG, SVG or PDF."""

from __future__ import annotations

import io
import math
import re
import textwrap
from functools import singledispatch
from typing import Any

import numpy as np
from matplotlib import RcParams, rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, PercentFormatter, StrMethodFormatter

from perturblearn.report.charts import marks
from perturblearn.report.charts.description import Axis, Chart, Level, Picture, Zone
from perturblearn.report.charts.palette import COLOURS, Look
from perturblearn.results import own_settings

_DASHES = {None: "", "solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_MARKERS = {
    None: "", "circle": "o", "square": "s", "triangle": "^", "diamond": "D", "inverted": "v", "plus": "P", "cross": "x",
    "ring": "o",
}  # fmt: skip
LETTER, _LINE = 0.0078, 0.021
"""Inches that a letter of a text takes across and down per point of its size, about; to decide what fits."""
_NARROWEST = 0.6
"""Of its own width, what a chart may shrink to before a style's narrow figure has fewer of them side by side."""
_MOST_CELLS = 400
"""Cells of a heat map up to which their numbers are written."""


class OwnFigure(Figure):
    """A figure that is drawn and saved with our settings, whatever settings are in force when that happens.

    Args:
        settings: of a style, which replace some of ours.
        options: of matplotlib's figure.
    """

    def __init__(self, settings: RcParams, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings

    def draw(self, renderer: RendererBase) -> None:
        """Draw it; ticks and their labels are made only now."""
        with own_settings(self._settings):
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        """The figure for a notebook, which otherwise shows it only after a magic command chose a backend."""
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=100)
        return content.getvalue()

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save it; the type of fonts and the resolution are asked for only now."""
        with own_settings(self._settings):
            super().savefig(fname, **options)


def colour_of(name: str) -> str:
    """A colour of the palette on paper."""
    return COLOURS[name][0]


def figure_of(picture: Picture, settings: RcParams) -> OwnFigure:
    """A picture as a figure.

    Args:
        picture: its charts, title and caption.
        settings: of a style; these are in force. ``figure.figsize`` sets the width, and the heights follow.
    """
    columns, width = _columns_and_width(picture, settings)
    rows = math.ceil(len(picture.charts) / columns)
    shrunk = width / columns / max(chart.size[0] for chart in picture.charts)
    # What is written beside the axes keeps its size, so a narrow chart is less low than it is narrow.
    height = rows * max(chart.size[1] * (shrunk if chart.is_square else shrunk**0.5) for chart in picture.charts)
    # Of squares the constrained layout measures labels before it has shrunk the axes, which then lie over titles.
    engine = "compressed" if all(chart.is_square for chart in picture.charts) else "constrained"
    figure = OwnFigure(settings, layout=engine)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, chart in zip(grid, picture.charts, strict=False):
        _draw_chart(axes, chart, width / columns, height / rows, is_alone=len(picture.charts) == 1)
    for axes in grid[len(picture.charts) :]:
        axes.set_visible(False)
    entries: dict[str, Artist] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    small, large = points_of("legend.fontsize"), points_of("figure.titlesize")
    labels = [wrapped(label, width - 0.9, small) for label in entries]
    across = max(
        1, int(width / (0.6 + LETTER * small * max((len(line) for label in labels for line in label), default=1)))
    )
    title, caption = evenly_wrapped(picture.title, 0.9 * width, large), wrapped(picture.caption, width, small)
    # matplotlib's layout puts a legend and a caption below the axes upon each other, so their room is kept free here.
    of_caption = _LINE * small * len(caption) + 0.12
    of_legend = 0.19 / 8 * small * math.ceil(sum(map(len, labels)) / across)
    figure.set_size_inches(width, height + of_caption + of_legend + _LINE * large * len(title))
    share = 1 / figure.get_figheight()
    below = share * (of_caption + of_legend)
    figure.set_layout_engine(engine, rect=(0, below, 1, 1 - below), h_pad=0.07)
    figure.suptitle(plain("\n".join(title)))
    if entries:
        figure.legend(
            list(entries.values()), ["\n".join(label) for label in labels], loc="lower center", ncols=across,
            borderpad=0.2, bbox_to_anchor=(0.5, share * (of_caption - 0.06)),
        )  # fmt: skip
    if caption:
        text = plain("\n".join(caption))
        figure.text(0.06 / width, 0.05 * share, text, fontsize=small, color=colour_of("soft"), va="bottom")
    return figure


def wrapped(text: str, width: float, size: float) -> list[str]:
    """A text in lines, none of which ends within a word, "N = 285" or "3 seeds".

    Args:
        text: in one line.
        width: of the lines, in inches.
        size: of the letters, in points.
    """
    whole = re.sub(r"(?<=\d) (?=%|[a-z]{2})", "\u00a0", re.sub(r"(?<=\w) = (?=\d)", "\u00a0=\u00a0", text))
    lines = textwrap.wrap(whole, max(1, int(width / (LETTER * size))), break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines]


def evenly_wrapped(text: str, width: float, size: float) -> list[str]:
    """The same in as many lines, but of about one length: for what stands in the middle."""
    lines = wrapped(text, width, size)
    while width > LETTER * size and len(narrower := wrapped(text, width := width - LETTER * size, size)) <= len(lines):
        lines = narrower
    return lines


def points_of(setting: str) -> float:
    """The size of a kind of text in points, as the settings in force have it."""
    # Any: matplotlib's types know single settings by name.
    settings: Any = rcParams
    return FontProperties(size=settings[setting]).get_size_in_points()


def _columns_and_width(picture: Picture, settings: RcParams) -> tuple[int, float]:
    """How many charts stand side by side, and how wide the picture is, in inches."""
    columns, chart = min(picture.columns, len(picture.charts)), max(chart.size[0] for chart in picture.charts)
    if "figure.figsize" not in settings:
        return columns, columns * chart
    width = settings["figure.figsize"][0]
    return min(columns, max(1, int(width / (_NARROWEST * chart)))), width


def plain(text: str) -> str:
    """A text that matplotlib draws as it is: it reads no formula in it, and leaves it in a legend."""
    # Of entries that begin with an underscore a legend takes none.
    return f"{' ' * text.startswith('_')}{text}".replace("$", r"\$")


def _draw_chart(axes: Axes, chart: Chart, width: float, height: float, *, is_alone: bool) -> None:
    for reference in chart.references:
        _mark(reference, axes, chart)
    for mark in chart.marks:
        _mark(mark, axes, chart)
    if not is_alone:
        axes.set_title(plain("\n".join(wrapped(chart.title, width - 0.6, points_of("axes.titlesize")))))
    _set_axis(axes, "x", chart.x, width)
    _set_axis(axes, "y", chart.y, height)
    if chart.is_square:
        axes.set_aspect("equal")


def _set_axis(axes: Axes, name: str, axis: Axis, inches: float) -> None:
    drawn = axes.xaxis if name == "x" else axes.yaxis
    if axis.is_log:
        axes.set(**{f"{name}scale": "log"})
        drawn.set_minor_formatter(NullFormatter())  # within one decade its numbers would lie over each other
        low, high = axis.limits or drawn.get_view_interval()
        if high < 100 * low:  # at most one power of ten would be named
            drawn.set_major_locator(
                LogLocator(subs=(1, 2, 5)) if high > 10 * low else MaxNLocator(4, steps=[1, 2, 5, 10])
            )
            drawn.set_major_formatter(StrMethodFormatter("{x:g}"))
    if axis.is_share:
        drawn.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    if axis.ticks is not None:
        names = list(axis.ticks.values())
        room, letter = (inches - 0.9) / max(1, len(names)), LETTER * points_of("xtick.labelsize")
        longest = max((len(word) for text in names for word in text.split()), default=0)
        fits = name == "y" or letter * (longest + 2) <= room
        if name == "x" and fits:
            names = ["\n".join(wrapped(text, room - 2 * letter, letter / LETTER)) for text in names]
        drawn.set_ticks(list(axis.ticks), [plain(text) for text in names])
        drawn.set_minor_locator(NullLocator())
        if not fits:
            for label in drawn.get_ticklabels():
                label.set(rotation=30, ha="right", rotation_mode="anchor")
    if axis.limits is not None:
        axes.set(**{f"{name}lim": axis.limits})
    drawn.set_label_text(plain("\n".join(wrapped(axis.label, inches - 0.4, points_of("axes.labelsize")))))


def _style(look: Look) -> dict[str, Any]:
    face = "none" if look.marker == "ring" else colour_of(look.colour)
    return {
        "color": colour_of(look.colour),
        "linestyle": _DASHES[look.dash],
        "marker": _MARKERS[look.marker],
        "markerfacecolor": face,
        "markersize": rcParams["lines.markersize"] * (1.5 if look.marker == "ring" else 1),
    }


@singledispatch
def _mark(mark: object, axes: Axes, chart: Chart) -> None:
    raise NotImplementedError(type(mark))


@_mark.register
def _(mark: marks.Curve, axes: Axes, chart: Chart) -> None:
    colour, label = colour_of(mark.look.colour), plain(mark.name)
    if mark.shows_band:
        axes.fill_between(mark.x, *mark.edges(is_log=chart.y.is_log), color=colour, alpha=0.18, linewidth=0)
    if mark.has_spread and not mark.shows_band:
        low, high = (np.asarray(edge) for edge in mark.edges(is_log=chart.y.is_log))
        middle = np.asarray(mark.y, float)
        bars = [middle - low, high - middle]
        axes.errorbar(mark.x, middle, bars, label=label, capsize=2.5, zorder=3, **_style(mark.look))
    else:
        axes.plot(mark.x, np.asarray(mark.y, float), label=label, zorder=3, **_style(mark.look))


@_mark.register
def _(mark: marks.Band, axes: Axes, chart: Chart) -> None:
    colour = colour_of(mark.look.colour)
    axes.fill_between(mark.x, mark.low, mark.high, color=colour, alpha=0.3, linewidth=0, label=plain(mark.name))


@_mark.register
def _(mark: marks.Dots, axes: Axes, chart: Chart) -> None:
    colour, label = colour_of(mark.look.colour), plain(mark.name)
    marker = _MARKERS[mark.look.marker]
    axes.plot(
        mark.x.numpy(), mark.y.numpy(), marker, color=colour, markersize=2.6, alpha=0.55, markeredgewidth=0, label=label
    )


@_mark.register
def _(mark: marks.Strip, axes: Axes, chart: Chart) -> None:
    colour = colour_of(mark.look.colour)
    for_dots = list(zip(*mark.dots, strict=True)) or [(), ()]
    axes.plot(*for_dots, "o", color=colour, markersize=4, alpha=0.55, markeredgewidth=0)
    if mark.mean is not None:
        axes.plot([mark.mean] * 2, [mark.place - 0.32, mark.place + 0.32], color=colour, linewidth=2)
        axes.errorbar([mark.mean], [mark.place], xerr=[mark.std or 0.0], color=colour, linewidth=1.2, capsize=2.5)


@_mark.register
def _(mark: marks.Histogram, axes: Axes, chart: Chart) -> None:
    width = float(mark.middles[1] - mark.middles[0])
    axes.bar(mark.middles.numpy(), mark.counts.numpy(), width, color=colour_of(mark.look.colour))


@_mark.register
def _(mark: marks.Heat, axes: Axes, chart: Chart) -> None:
    ends = [colour_of("paper"), colour_of("f")]
    colours = LinearSegmentedColormap.from_list("heat", ends).with_extremes(bad=colour_of("shaded"))
    norm = Normalize(100 * mark.low, 100, clip=True)
    shares = np.ma.masked_invalid(100 * mark.means.double().numpy())
    axes.imshow(shares, cmap=colours, norm=norm, aspect="auto")
    if shares.size <= _MOST_CELLS:
        for (row, column), share in np.ndenumerate(shares):
            ink = "black" if share is np.ma.masked else _ink_on(colours(norm(float(share))))
            text = mark.texts[row][column] or "–"
            axes.text(column, row, text, ha="center", va="center", fontsize="small", color=ink)
    is_below = shares.count() > 0 and float(shares.min()) < 100 * mark.low
    figure = axes.figure
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, extend="min" if is_below else "neither")
    small = points_of("legend.fontsize")
    lines = wrapped(f"{mark.label}, %", chart.size[1] - 1.2, small)  # the bar is about as high as its axes
    bar.set_label(plain("\n".join(lines)), fontsize=small)


def _ink_on(colour: tuple[float, float, float, float]) -> str:
    red, green, blue, _ = colour
    # Relative luminance as in WCAG, with a gamma of 2.2: black on what is lighter than 0.18, white on the rest, which
    # gives the larger contrast of the two.
    light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return "black" if light > 0.18 else "white"


@_mark.register
def _(mark: marks.Region, axes: Axes, chart: Chart) -> None:
    low, high = float(mark.grid[0]), float(mark.grid[-1])
    colours = ListedColormap([colour_of(name) for name in mark.colours])
    axes.imshow(
        mark.values.numpy().astype(float), cmap=colours, vmin=0, vmax=1, extent=(low, high, low, high), origin="lower",
        interpolation="nearest",
    )  # fmt: skip


@_mark.register
def _(mark: marks.Boundary, axes: Axes, chart: Chart) -> None:
    colour, style = colour_of(mark.look.colour), _DASHES[mark.look.dash]
    # Values of one sign everywhere have no boundary on this map, and matplotlib would warn.
    if float(mark.values.min()) < 0 < float(mark.values.max()):
        values = mark.values.double().numpy()
        axes.contour(mark.grid, mark.grid, values, levels=[0.0], colors=colour, linestyles=style, linewidths=1.3)
    axes.plot([], [], color=colour, linestyle=style, linewidth=1.3, label=plain(mark.name))


@_mark.register
def _(mark: Level, axes: Axes, chart: Chart) -> None:
    line = axes.axhline if mark.axis == "y" else axes.axvline
    style = _DASHES[mark.look.dash]
    # A line without a name is an axis of coordinates.
    width = 1.0 if mark.name else 0.5
    line(mark.value, color=colour_of(mark.look.colour), linestyle=style, linewidth=width, label=plain(mark.name))


@_mark.register
def _(mark: Zone, axes: Axes, chart: Chart) -> None:
    colour = colour_of(mark.look.colour)
    axes.axvspan(mark.low, mark.high, color=colour, alpha=0.35, linewidth=0, label=plain(mark.name))
