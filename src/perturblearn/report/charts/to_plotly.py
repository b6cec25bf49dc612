"""Charts as plotly's descriptions; ``@f`` in them is the palette's colour of f, light or dark as the page is."""

from __future__ import annotations

import base64
import html
import math
import textwrap
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from perturblearn.report.charts import marks
from perturblearn.report.charts.description import Axis, Chart, Level, Zone
from perturblearn.report.charts.marks import Values
from perturblearn.report.charts.palette import Look

Spec = dict[str, Any]
"""A chart as JSON values: ``data`` and ``layout``."""
_MAP_POINTS = 200
"""A side of a decision map, at most."""
_MOST_DOTS = 600
"""Dots of one kind, at most."""
_NAMED_CELLS, _WRITTEN_CELLS = 2500, 144
"""Cells of a heat map up to which each tells its names, and has its number written."""
_LINE, _TITLE = 14, 36
"""Letters of a line: of a name at a tick, and of an axis's title, as three charts side by side have room."""
_SYMBOLS = {
    "circle": "circle", "square": "square", "triangle": "triangle-up", "inverted": "triangle-down",
    "diamond": "diamond", "plus": "cross", "cross": "x", "ring": "circle-open",
}  # fmt: skip


def to_plotly(chart: Chart, *, legend: bool = True) -> Spec:
    """A chart as plotly takes it, but for its title and note.

    Args:
        chart: what to draw.
        legend: whether the chart has a legend of its own.
    """
    data: list[Spec] = []
    for mark in chart.marks:
        data += _traces(mark, chart)
    named: set[str] = set()
    for trace in data:  # series of one name have one entry
        trace.setdefault("showlegend", "name" in trace and trace["name"] not in named)
        named |= {trace["name"]} if trace["showlegend"] else set()
    layout: Spec = {
        "xaxis": _axis(chart.x),
        "yaxis": _axis(chart.y),
        "shapes": [_shape(reference) for reference in chart.references],
        "annotations": [_label(level) for level in chart.references if isinstance(level, Level)],
        "showlegend": legend and bool(named),
        "bargap": 0,
    }
    if not layout["showlegend"]:
        layout["margin"] = {"t": 24 if layout["annotations"] else 12}
    if chart.is_square:
        layout["xaxis"]["constrain"], layout["yaxis"]["scaleanchor"] = "domain", "x"
    return {"data": data, "layout": layout}


def chart_text(text: object) -> str:
    """A name as plotly shows it as it is: no markup, no template, no colour."""
    escaped = html.escape(str(text), quote=False).replace("%{", "&#37;{").replace("\n", "<br>")
    return f"&#64;{escaped[1:]}" if escaped.startswith("@") else escaped


def packed(values: Tensor) -> Spec:
    """A tensor as plotly reads it from few bytes, (n,) or (rows, columns)."""
    kind = "i1" if values.dtype == torch.int8 else "f4"
    array = values.detach().cpu().to(torch.int8 if kind == "i1" else torch.float32).contiguous().numpy()
    packed_values: Spec = {"dtype": kind, "bdata": base64.b64encode(array.tobytes()).decode()}
    return packed_values if values.ndim == 1 else {**packed_values, "shape": ",".join(map(str, values.shape))}


def _evenly_filled(text: str, letters: int) -> str:
    """The text in as few lines of at most so many letters as it takes, of about one length."""
    lines = textwrap.wrap(text, letters)
    while letters > 1 and len(narrower := textwrap.wrap(text, letters := letters - 1)) <= len(lines):
        lines = narrower
    return "\n".join(lines)


def _axis(axis: Axis) -> Spec:
    title = _evenly_filled(axis.label, _TITLE)
    made: Spec = {"title": {"text": chart_text(title)}, "type": "log" if axis.is_log else "linear"}
    if axis.limits is not None:
        made["range"] = [math.log10(end) for end in axis.limits] if axis.is_log else list(axis.limits)
    if axis.ticks is not None:
        # A turned name that would leave the chart is not shown at all, so long ones are broken into lines.
        names = [_evenly_filled(str(text), _LINE) for text in axis.ticks.values()]
        made |= {"tickvals": list(axis.ticks), "ticktext": [chart_text(name) for name in names]}
        made["autotickangles"] = [0, -30, -90]  # names that end at their tick; the last one would leave the chart
    elif axis.is_share:
        made["tickformat"] = ".0%"
    return made


def _numbers(values: Values) -> list[float | None]:
    """Numbers as JSON has them; what is not finite leaves a gap."""
    return [value if math.isfinite(value) else None for value in map(float, values)]


def _shape(reference: Level | Zone) -> Spec:
    if isinstance(reference, Zone):
        ends: Spec = {"yref": "paper", "x0": reference.low, "x1": reference.high, "y0": 0, "y1": 1}
        return {"type": "rect", **ends, "fillcolor": f"@{reference.look.colour}/0.35", "line": {"width": 0}}
    along, across = ("y", "x") if reference.axis == "y" else ("x", "y")
    ends = {f"{along}0": reference.value, f"{along}1": reference.value, f"{across}0": 0, f"{across}1": 1}
    return {"type": "line", f"{across}ref": "paper", **ends, "line": {**_line(reference.look), "width": 1.2}}


def _label(level: Level) -> Spec:
    place: Spec = {"xref": "paper", "x": 1, "xanchor": "right", "y": level.value}
    if level.axis == "x":
        place = {"yref": "paper", "y": 1, "x": level.value}
    return {**place, "yanchor": "bottom", "text": chart_text(level.name), "showarrow": False, "font": {"size": 11}}


def _line(look: Look) -> Spec:
    return {"color": f"@{look.colour}", "dash": look.dash or "solid"}


def _marker(look: Look, size: int) -> Spec:
    marker: Spec = {"color": f"@{look.colour}", "symbol": _SYMBOLS[look.marker or "circle"], "size": size}
    return {**marker, "size": 10, "line": {"width": 2}} if look.marker == "ring" else marker


@singledispatch
def _traces(mark: object, chart: Chart) -> list[Spec]:
    raise NotImplementedError(type(mark))


@_traces.register
def _(mark: marks.Curve, chart: Chart) -> list[Spec]:
    name, x, y = chart_text(mark.name), list(mark.x), _numbers(mark.y)
    lines, markers = mark.look.dash is not None, mark.look.marker is not None or len(x) == 1
    # Series beside each other over one tick are a little off its place, which a number would not say.
    where = "%{text}" if chart.x.ticks else f"{chart_text(chart.x.label)} %{{x}}"
    curve: Spec = {
        "x": x,
        "y": y,
        "mode": "+".join(["lines"] * lines + ["markers"] * markers),
        "name": name,
        "legendgroup": name,
        "meta": mark.key,
        "line": {**_line(mark.look), "width": 1.8},
        "hovertemplate": f"{name}, {where}: %{{y:.4~g}}<extra></extra>",
    }
    if markers:
        curve["marker"] = _marker(mark.look, 6)
    if ticks := chart.x.ticks:
        curve["text"] = [chart_text(ticks[min(ticks, key=lambda tick: abs(tick - place))]) for place in x]
    if mark.spread is None:
        return [curve]
    curve["customdata"] = list(mark.spread)
    curve["hovertemplate"] = f"{name}, {where}: %{{y:.4f}} ± %{{customdata:.4f}}<extra></extra>"
    if mark.shows_band:
        low, high = mark.edges(is_log=chart.y.is_log)
        band = _filled(x, low, high, mark.look, 0.18)
        return [{**band, "showlegend": False, "legendgroup": name, "meta": mark.key}, curve]
    if mark.has_spread:
        low, high = mark.edges(is_log=chart.y.is_log)
        ends = [(top - float(middle), float(middle) - end) for top, middle, end in zip(high, mark.y, low, strict=True)]
        bars: Spec = {"type": "data", "symmetric": False, "color": f"@{mark.look.colour}", "thickness": 1.2, "width": 4}
        curve["error_y"] = {**bars, "array": [up for up, _ in ends], "arrayminus": [down for _, down in ends]}
    return [curve]


def _filled(x: list[float], low: list[float], high: list[float], look: Look, alpha: float) -> Spec:
    return {
        "x": [*x, *reversed(x)],
        "y": [*high, *reversed(low)],
        "mode": "lines",
        "fill": "toself",
        "fillcolor": f"@{look.colour}/{alpha}",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


@_traces.register
def _(mark: marks.Band, chart: Chart) -> list[Spec]:
    filled = _filled(list(mark.x), list(mark.low), list(mark.high), mark.look, 0.25)
    return [{**filled, "name": chart_text(mark.name)}]


@_traces.register
def _(mark: marks.Dots, chart: Chart) -> list[Spec]:
    count = len(mark.x)
    shown = torch.linspace(0, count - 1, min(count, _MOST_DOTS)).round().long()
    name, x, y = (chart_text(text) for text in (mark.name, chart.x.label, chart.y.label))
    return [
        {
            "x": packed(mark.x[shown]),
            "y": packed(mark.y[shown]),
            "mode": "markers",
            "name": name,
            "marker": {**_marker(mark.look, 5), "opacity": 0.55},
            "hovertemplate": f"{name}<br>{x}: %{{x:.3f}}<br>{y}: %{{y:.3f}}<extra></extra>",
        }
    ]


@_traces.register
def _(mark: marks.Strip, chart: Chart) -> list[Spec]:
    name, colour = chart_text(mark.name), f"@{mark.look.colour}"
    dots: Spec = {
        "x": [value for value, _ in mark.dots],
        "y": [place for _, place in mark.dots],
        "mode": "markers",
        "marker": {"color": colour, "size": 7, "opacity": 0.5},
        "hovertemplate": f"{name}: %{{x:.4f}}<extra></extra>",
    }
    if mark.mean is None:
        return [dots]
    spread = mark.std or 0.0
    bar: Spec = {"color": colour, "size": 26, "symbol": "line-ns", "line": {"width": 3, "color": colour}}
    mean: Spec = {
        "x": [mark.mean],
        "y": [mark.place],
        "mode": "markers",
        "marker": bar,
        "error_x": {"type": "data", "array": [spread], "color": colour, "thickness": 1.5, "width": 4},
        "hovertemplate": f"{name}, mean %{{x:.4f}} ± {spread:.4f}<extra></extra>",
    }
    return [dots, mean]


@_traces.register
def _(mark: marks.Histogram, chart: Chart) -> list[Spec]:
    bars: Spec = {"type": "bar", "x": packed(mark.middles), "y": packed(mark.counts), "showlegend": False}
    hover = f"{chart_text(mark.name)} %{{x:.2f}}: %{{y}}<extra></extra>"
    return [{**bars, "marker": {"color": f"@{mark.look.colour}"}, "hovertemplate": hover}]


@_traces.register
def _(mark: marks.Heat, chart: Chart) -> list[Spec]:
    trace: Spec = {
        "type": "heatmap",
        "z": packed(mark.means),
        "zmin": mark.low,
        "zmax": 1,
        "colorscale": [[0, "@paper"], [1, "@f"]],
        "hovertemplate": "%{z:.1%}<extra></extra>",
        "hoverongaps": False,
        "colorbar": {"tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
    }
    cells = mark.means.numel()
    if cells <= _NAMED_CELLS:
        row, column = map(chart_text, mark.words)
        trace["hovertemplate"] = f"{row} %{{customdata[1]}}, {column} %{{customdata[0]}}: %{{z:.1%}}<extra></extra>"
        trace["customdata"] = [[[chart_text(name), chart_text(of)] for name in mark.columns] for of in mark.rows]
    if cells <= _WRITTEN_CELLS:
        texts = [[chart_text(text) for text in of_row] for of_row in mark.texts]
        trace |= {"text": texts, "texttemplate": "%{text}", "textfont": {"size": 11}}
    return [trace]


@_traces.register
def _(mark: marks.Region, chart: Chart) -> list[Spec]:
    step = _step(mark.grid)
    plane: Spec = {
        "type": "heatmap",
        "x": packed(mark.grid[::step]),
        "y": packed(mark.grid[::step]),
        "zmin": 0,
        "zmax": 1,
    }
    colours = [[place, f"@{name}"] for place, name in enumerate(mark.colours)]
    values = packed(mark.values[::step, ::step].to(torch.int8))
    return [{**plane, "z": values, "colorscale": colours, "showscale": False, "hoverinfo": "skip"}]


@_traces.register
def _(mark: marks.Boundary, chart: Chart) -> list[Spec]:
    from contourpy import contour_generator

    # The lines themselves take a hundredth of the bytes of the values that plotly would draw them from.
    grid, values = mark.grid.double().numpy(), mark.values.double().numpy()
    lines = [torch.from_numpy(line) for line in contour_generator(grid, grid, values).lines(0.0)]
    gap = torch.full((1, 2), math.nan, dtype=torch.float64)
    points = torch.cat([part for line in lines for part in (line, gap)]) if lines else gap
    name = chart_text(mark.name)
    return [
        {
            "x": packed(points[:, 0]),
            "y": packed(points[:, 1]),
            "mode": "lines",
            "name": name,
            "line": {**_line(mark.look), "width": 1.6},
            "hovertemplate": f"{name}<extra></extra>",
        }
    ]


def _step(grid: Tensor) -> int:
    """Every how-manieth line of a map is kept, so that a page opens quickly."""
    return max(1, len(grid) // _MAP_POINTS)
