"""Charts of figures, studies and audits: curves with their spread beside what was published or predicted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from perturblearn.papers import Chart
from perturblearn.report.pages.charts import Spec, chart_text
from perturblearn.results import PointRow, ShownPanel, curve_of

COLOURS = ("@f", "@g", "@agreement", "@other", "@fifth", "@control")
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
_DASHES = ("solid", "dash", "dot", "dashdot")
_OF_MEASURES = {"standard_accuracy": "@f", "perturbation_accuracy": "@g", "agreement": "@agreement"}


def line_with_spread(
    name: str,
    x: Sequence[Any],
    means: Sequence[float],
    spreads: Sequence[float],
    *,
    colour: str,
    dash: str = "solid",
    symbol: str = "circle",
    meta: str = "",
) -> list[Spec]:
    """A curve with a band of one standard deviation, as two traces that the legend shows as one.

    A single point, and points over names, have bars instead.

    Args:
        name: in the legend, plain.
        x, means, spreads: its points.
        colour: by its name in ``page.css``, such as ``@g``.
        dash, symbol: of the line and of its points.
        meta: what a filter of the page knows it by.
    """
    shown = chart_text(name)
    there_and_back = [*x, *reversed(x)]
    edge = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
    edge += [mean - spread for mean, spread in reversed(list(zip(means, spreads, strict=True)))]
    band: Spec = {
        "x": there_and_back,
        "y": edge,
        "mode": "lines",
        "fill": "toself",
        "fillcolor": f"{colour}/0.18",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        "legendgroup": shown,
        "meta": meta,
    }
    curve: Spec = {
        "x": list(x),
        "y": list(means),
        "customdata": list(spreads),
        "mode": "lines+markers",
        "name": shown,
        "legendgroup": shown,
        "line": {"color": colour, "width": 1.8, "dash": dash},
        "marker": {"color": colour, "size": 6, "symbol": symbol},
        "hovertemplate": f"{shown} at %{{x}}: %{{y:.4f}} ± %{{customdata:.4f}}<extra></extra>",
        "meta": meta,
    }
    if not any(spreads):
        return [curve]
    if len(x) == 1 or any(isinstance(each, str) for each in x):
        bars = {"type": "data", "array": list(spreads), "color": colour, "thickness": 1.2, "width": 4}
        return [{**curve, "error_y": bars}]
    return [band, curve]


def panel_chart(panel: ShownPanel, rows: Sequence[PointRow], curves: Sequence[str], *, uncertainty: float) -> Spec:
    """One panel of a figure: means over the seeds, and the published points as rings.

    Args:
        panel: which.
        rows: its rows.
        curves: all measures of the figure, so that one has one colour in every panel.
        uncertainty: how far a published value may be off, either way.
    """
    colours, dashes = looks_of(curves)
    symbols = dict(zip(dashes, cycle(_SYMBOLS), strict=False))
    data: list[Spec] = []
    for measure in dict.fromkeys(row.measure for row in rows):
        name, way = curve_of(measure)
        drawn = [row for row in rows if row.measure == measure and row.mean is not None]
        data += line_with_spread(
            measure.replace("_", " "),
            [row.x for row in drawn],
            [row.mean or 0.0 for row in drawn],
            [row.std or 0.0 for row in drawn],
            colour=colours[name],
            dash=dashes[way],
            symbol=symbols[way],
            meta=measure,
        )
    for name in colours:
        known = {row.x: row for row in rows if row.published is not None and curve_of(row.measure)[0] == name}
        if not known:
            continue
        data.append(
            {
                "x": list(known),
                "y": [row.published for row in known.values()],
                "error_y": {
                    "type": "constant",
                    "value": uncertainty,
                    "color": colours[name],
                    "thickness": 1,
                    "width": 3,
                },
                "mode": "markers",
                "name": f"{name.replace('_', ' ')}, published",
                "marker": {"color": colours[name], "size": 10, "symbol": "circle-open", "line": {"width": 2}},
                "hovertemplate": f"published at %{{x}}: %{{y:.3f}} ± {uncertainty:g}<extra></extra>",
                "meta": next(row.measure for row in known.values()),
            }
        )
    layout = {
        "xaxis": {
            "title": {"text": chart_text((panel.x or "").replace("_", " "))},
            "type": "category" if any(isinstance(row.x, str) for row in rows) else "log" if panel.log_x else "linear",
        },
        "yaxis": {"range": [-0.03, 1.05], "type": "linear"},
        "showlegend": False,  # the page has one for all panels
        "margin": {"t": 12},
    }
    return {"data": data, "layout": layout}


def legend_of(curves: Sequence[str]) -> list[dict[str, str]]:
    """Every measure of a figure with the colour and the dash that it has in all panels."""
    colours, dashes = looks_of(curves)
    return [
        {
            "measure": curve,
            "name": curve.replace("_", " "),
            "colour": colours[curve_of(curve)[0]].removeprefix("@"),
            "dash": {"solid": "solid", "dot": "dotted"}.get(dashes[curve_of(curve)[1]], "dashed"),
        }
        for curve in curves
    ]


def looks_of(curves: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Colours by measure, and dashes by the way of computing it."""
    names = list(dict.fromkeys(curve_of(curve)[0] for curve in curves))
    ways = list(dict.fromkeys(curve_of(curve)[1] for curve in curves))
    taken = {_OF_MEASURES[name] for name in names if name in _OF_MEASURES}
    rest = cycle([colour for colour in COLOURS if colour not in taken])
    colours = {name: _OF_MEASURES.get(name) or next(rest) for name in names}
    return colours, dict(zip(ways, cycle(_DASHES), strict=False))


def analysis_chart(chart: Chart) -> Spec:
    """A chart of a study: bands are standard deviations over the seeds, dashed is what was not measured."""
    data: list[Spec] = []
    measured = [line for line in chart.lines if not line.is_reference]
    for number, line in enumerate(measured):
        spreads = [0.0] * len(line.x) if line.spread is None else list(line.spread)
        if chart.log_y:  # such an axis has no place for a band that reaches 0
            spreads = [min(spread, mean / 2) for spread, mean in zip(spreads, line.y, strict=True)]
        data += line_with_spread(
            line.label,
            list(line.x),
            list(line.y),
            spreads,
            colour=COLOURS[number % len(COLOURS)],
            symbol=_SYMBOLS[number % len(_SYMBOLS)],
            dash=_DASHES[number // len(COLOURS) % len(_DASHES)],
        )
    for number, line in enumerate(line for line in chart.lines if line.is_reference):
        data.append(
            {
                "x": list(line.x),
                "y": list(line.y),
                "mode": "lines",
                "name": chart_text(line.label),
                "line": {"color": "@ink", "width": 1.4, "dash": _DASHES[1 + number % 3]},
            }
        )
    layout = {
        "xaxis": {"title": {"text": chart_text(chart.x)}, "type": "log" if chart.log_x else "linear"},
        "yaxis": {"title": {"text": chart_text(chart.y)}, "type": "log" if chart.log_y else "linear"},
    }
    return {"data": data, "layout": layout}
