"""Figures like the published ones, with the published points on top."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from perturblearn.results import PointRow, ShownPanel, curve_of

# Okabe and Ito's palette, which the colour-blind can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
Style = Literal["-", "--", ":"]
_STYLES: tuple[Style, ...] = ("-", "--", ":")
_COLUMNS = 4


def plot_reproduction(title: str, panels: Sequence[ShownPanel], rows: Sequence[PointRow]) -> Figure:
    """One plot per panel: means over the seeds with a band of one standard deviation, and published points as rings.

    A colour is a measure; a dashed line is a second way of computing it, a dotted one a prediction.
    """
    columns = min(_COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(max(5.0, 3.1 * columns), 2.7 * lines + 0.9), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).flatten()
    colours, styles = _legend_of(rows)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, [row for row in rows if row.panel == panel.number], colours, styles)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    handles = [Line2D([], [], color=colour, label=name.replace("_", " ")) for name, colour in colours.items()]
    handles += [Line2D([], [], color="black", linestyle=style, label=way) for way, style in styles.items() if way]
    if any(row.published is not None for row in rows):
        handles.append(
            Line2D([], [], linestyle="", marker="o", markerfacecolor="none", color="black", label="published")
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=9, wrap=True)
    return figure


def _legend_of(rows: Sequence[PointRow]) -> tuple[dict[str, str], dict[str, Style]]:
    """Colours by measure and line styles by way."""
    split = [curve_of(row.measure) for row in rows]
    names = dict.fromkeys(name for name, _ in split)
    ways = dict.fromkeys(["", *(way for _, way in split)])
    return dict(zip(names, _COLOURS, strict=False)), dict(zip(ways, _STYLES, strict=False))


def _draw_panel(
    axes: Axes, panel: ShownPanel, rows: Sequence[PointRow], colours: dict[str, str], styles: dict[str, Style]
) -> None:
    for measure in dict.fromkeys(row.measure for row in rows):
        name, way = curve_of(measure)
        drawn = [row for row in rows if row.measure == measure and row.mean is not None]
        x, means = [row.x for row in drawn], [row.mean or 0.0 for row in drawn]
        spreads = [row.std or 0.0 for row in drawn]
        low, high = ([mean + sign * spread for mean, spread in zip(means, spreads, strict=True)] for sign in (-1, 1))
        axes.plot(x, means, styles[way], color=colours[name], linewidth=1.4, marker=".", markersize=3)
        axes.fill_between(x, low, high, color=colours[name], alpha=0.2, linewidth=0)
        if len(x) == 1 and any(spreads):  # a band needs two ends
            axes.errorbar(x, means, spreads, color=colours[name], linewidth=1, capsize=2)
    for name, colour in colours.items():
        known = {row.x: row.published for row in rows if row.published is not None and curve_of(row.measure)[0] == name}
        axes.plot(list(known), list(known.values()), "o", markerfacecolor="none", color=colour, markersize=5)
    if panel.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())  # within one decade they would lie over each other
    axes.set_ylim(-0.03, 1.03)
    axes.tick_params(labelsize=7)
    axes.set_title(f"{panel.number}: {panel.name}", fontsize=8, wrap=True)
    if any(isinstance(row.x, str) for row in rows):
        axes.tick_params(axis="x", labelrotation=45)
    axes.spines[["top", "right"]].set_visible(False)
