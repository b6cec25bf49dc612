"""Charts of a study."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from perturblearn.papers import Analysis, Chart

# Okabe and Ito's palette, which the colour-blind can tell apart; black and dashed is what was not measured.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_FEW = 8
"""Places along an axis up to which each is marked."""


def draw_analysis(analysis: Analysis, *, title: str) -> Figure:
    """All charts of an analysis side by side; bands are standard deviations over the seeds.

    Args:
        analysis: with at least one chart.
        title: of the whole figure.
    """
    columns = math.ceil(math.sqrt(len(analysis.charts)))
    rows = -(-len(analysis.charts) // columns)
    figure = Figure(figsize=(4.4 * columns, 0.5 + 3.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, chart in zip(panels, analysis.charts, strict=False):
        _draw(axes, chart)
    for axes in panels[len(analysis.charts) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=9, wrap=True)
    return figure


def _draw(axes: Axes, chart: Chart) -> None:
    measured = [line for line in chart.lines if not line.is_reference]
    for number, line in enumerate(measured):
        colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
        axes.plot(line.x, line.y, marker=marker, color=colour, markersize=4, linewidth=1.2, label=line.label)
        if line.spread is not None:
            band = list(zip(line.y, line.spread, strict=True))
            # A logarithmic axis has no place for a band that reaches 0.
            low = [max(y - std, y / 2) if chart.log_y else y - std for y, std in band]
            axes.fill_between(line.x, low, [y + std for y, std in band], color=colour, alpha=0.15, linewidth=0)
    for line, style in zip((line for line in chart.lines if line.is_reference), ("--", ":", "-."), strict=False):
        axes.plot(line.x, line.y, color="black", linestyle=style, linewidth=1, label=line.label)
    if chart.log_x:
        axes.set_xscale("log")
        places = sorted({place for line in measured for place in line.x})
        if 1 < len(places) <= _FEW:
            axes.set_xticks(places, [f"{place:,.4g}" for place in places])
            axes.xaxis.set_minor_locator(NullLocator())
    if chart.log_y:
        axes.set_yscale("log")
    axes.set_title(chart.title, fontsize=9)
    axes.set_xlabel(chart.x, fontsize=8)
    axes.set_ylabel(chart.y, fontsize=8)
    axes.tick_params(which="both", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=6, frameon=False)
