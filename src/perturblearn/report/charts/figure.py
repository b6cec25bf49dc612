"""Charts of a paper's figure made again, with the published points on top, and of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from perturblearn.papers import Chart as StudyChart
from perturblearn.papers import label_of, published
from perturblearn.report.charts.description import SHARE_LIMITS, Axis, Chart, Picture
from perturblearn.report.charts.marks import Curve
from perturblearn.report.charts.palette import (
    AGREEMENT,
    DASHES,
    OF_MEASURES,
    PERMUTED,
    SERIES,
    THEORY,
    UNPERTURBED,
    Dash,
    F,
    G,
    Look,
    Marker,
    series_looks,
)
from perturblearn.results import PointRow, Reproduction, ShownPanel, curve_of

_FEW = 8
"""Places along an axis up to which each has a tick."""
_WAYS: tuple[Marker, ...] = ("circle", "square", "triangle", "diamond")
_ROLES = {
    "f, ": F,
    "g, ": G,
    "agreement of f and g": AGREEMENT,
    "permuted control": PERMUTED,
    "unperturbed control": UNPERTURBED,
}
"""Looks of a study's curves, by how their names start."""
_SPREAD = "bands and bars are one standard deviation"


@dataclass(frozen=True, eq=False)
class PanelChart:
    """A chart with the panels that it shows: one, or all those that have a single point."""

    panels: Sequence[ShownPanel]
    chart: Chart


def figure_picture(found: Reproduction, title: str) -> Picture:
    """A figure's panels, with one legend."""
    return Picture([each.chart for each in panel_charts(found)], title, _note(found))


def study_picture(charts: Sequence[StudyChart], *, title: str) -> Picture:
    """A study's charts, each of which names its curves."""
    drawn = study_charts(charts)
    # Of charts over names some have rings as well; their note says all that the others' does.
    note = max((chart.note for chart in drawn), key=len)
    return Picture(drawn, title, note, columns=2 if len(charts) < 5 else 3)


def panel_charts(found: Reproduction) -> list[PanelChart]:
    """Means over the seeds with one standard deviation, and published values as rings.

    A colour is a measure; a dash is a way of computing it. Panels of one point each become one chart, with their names
    along its axis.
    """
    of_panel = {panel.number: [row for row in found.rows if row.panel == panel.number] for panel in found.panels}
    drawn = [panel for panel in found.panels if panel.x is not None and of_panel[panel.number]]
    single = [panel for panel in drawn if len({str(row.x) for row in of_panel[panel.number]}) == 1]
    if len(single) < 2:
        single = []
    made = [
        PanelChart([panel], _panel_chart(found, panel, of_panel[panel.number]))
        for panel in drawn
        if panel not in single
    ]
    if single:
        rows = [(row, _title(panel)) for panel in single for row in of_panel[panel.number]]
        title = f"Panels {', '.join(str(panel.number) for panel in single)}"
        made.append(PanelChart(single, _named_chart(found, title, "panel", rows)))
    return made


def _title(panel: ShownPanel) -> str:
    return f"{panel.number}: {panel.name}"


def _panel_chart(found: Reproduction, panel: ShownPanel, rows: Sequence[PointRow]) -> Chart:
    label = label_of(panel.x or "")
    if any(isinstance(row.x, str) for row in rows):
        return _named_chart(found, _title(panel), label, [(row, str(row.x)) for row in rows])
    axis = Axis(label, panel.log_x, ticks=_few_ticks(sorted({row.x for row in rows})) if panel.log_x else None)
    return _chart(found, _title(panel), axis, [(row, row.x) for row in rows])


def _named_chart(found: Reproduction, title: str, label: str, rows: Sequence[tuple[PointRow, str]]) -> Chart:
    """Points over names, where several curves stand side by side."""
    names, curves = (
        list(dict.fromkeys(each)) for each in ([name for _, name in rows], [row.measure for row, _ in rows])
    )
    aside = {curve: 0.12 * (number - (len(curves) - 1) / 2) for number, curve in enumerate(curves)}
    placed = [(row, names.index(name) + aside[row.measure]) for row, name in rows]
    return _chart(found, title, Axis.of_names(label, names), placed, has_names=True)


def _chart(
    found: Reproduction, title: str, axis: Axis, rows: Sequence[tuple[PointRow, float]], *, has_names: bool = False
) -> Chart:
    """A chart of rows, each with its place along the axis."""
    looks, known = curve_looks(found), published(found.name)
    curves, rings = [], {}
    for measure in dict.fromkeys(row.measure for row, _ in rows):
        look, name = looks[measure], curve_of(measure)[0]
        of_ours = [(x, row.mean, row.std or 0.0) for row, x in rows if row.measure == measure and row.mean is not None]
        x, means, spreads = zip(*of_ours, strict=True) if of_ours else ((), (), ())
        bare = Look(look.colour, None, look.marker)
        if x:
            shown = bare if has_names else look
            curves.append(Curve(curve_name(measure), x, means, shown, spreads, has_bars=has_names, key=measure))
        at_seed = [(x, row.at_seed) for row, x in rows if row.measure == measure and row.at_seed is not None]
        if at_seed:
            x, values = zip(*at_seed, strict=True)
            single = Look(look.colour, None if has_names else "dot", "cross")
            curves.append(Curve(f"{curve_name(measure)}, published seed", x, values, single, key=measure))
        theirs = {x: row.published for row, x in rows if row.measure == measure and row.published is not None}
        # Every way of computing a measure has the same published values, so they are drawn once.
        if theirs and name not in rings:
            label, ring = f"{curve_name(name)}, published", Look(look.colour, None, "ring")
            spreads = [0.0 if known is None else known.uncertainty] * len(theirs)
            rings[name] = Curve(label, list(theirs), list(theirs.values()), ring, spreads, has_bars=True, key=measure)
    measured = {curve_of(row.measure)[0] for row in found.rows}
    label, limits = "accuracy" if all("accuracy" in name for name in measured) else "share", SHARE_LIMITS
    if "cosine_similarity" in measured:  # no share, though it lies between 0 and 1 here
        label = "accuracy, or cosine similarity"
    elif any(name.endswith("correlation") for name in measured):
        label, limits = "share, or correlation", (-limits[1], limits[1])
    shares = Axis(label, limits=limits, is_share=label in ("accuracy", "share"))
    return Chart(title, axis, shares, [*curves, *rings.values()], note=_note(found), size=(3.3, 2.8))


def curve_looks(found: Reproduction) -> dict[str, Look]:
    """How every curve of a figure is drawn in all its panels: a colour is a measure, a dash and a marker its way."""
    curves = list(dict.fromkeys(row.measure for row in found.rows))
    ways = list(dict.fromkeys(curve_of(curve)[1] for curve in curves))
    names = list(dict.fromkeys(curve_of(curve)[0] for curve in curves))
    known = {name: OF_MEASURES[name].colour for name in names if name in OF_MEASURES}
    rest = cycle(colour for colour in SERIES if colour not in known.values())
    colours = {name: known.get(name) or next(rest) for name in names}
    of_ways: dict[str, tuple[Dash, Marker]] = dict(zip(ways, cycle(zip(DASHES, _WAYS, strict=True)), strict=False))
    return {curve: Look(colours[name], *of_ways[way]) for curve in curves for name, way in (curve_of(curve),)}


def curve_name(measure: str) -> str:
    """A published measure in words."""
    words = measure.replace("standard_accuracy", "accuracy of f").replace("perturbation_accuracy", "accuracy of g")
    return words.replace("_", " ")


def _note(found: Reproduction) -> str:
    parts = []
    if found.seeds:
        one = len(found.seeds) == 1
        parts.append("values of 1 seed" if one else f"means over {len(found.seeds)} seeds; {_SPREAD}")
    if any(row.at_seed is not None for row in found.rows):
        parts.append("crosses are the published seed with the draws of the paper's script")
    if any(row.published is not None for row in found.rows):
        parts.append("rings are the published values")
    told = "; ".join(parts)
    return f"{told[:1].upper()}{told[1:]}."


def study_charts(charts: Sequence[StudyChart]) -> list[Chart]:
    """A study's charts: what was measured in colours, with one standard deviation, predictions in black.

    A curve looks the same in all of them, and f, g and their agreement as everywhere.
    """
    lines = [line for chart in charts for line in chart.lines]
    measured = list(dict.fromkeys(line.label for line in lines if not line.is_reference))
    predicted = dict.fromkeys(line.label for line in lines if line.is_reference)
    looks = {label: look for label in measured for start, look in _ROLES.items() if label.startswith(start)}
    taken = {look.colour for look in looks.values()}
    free = (look for look in series_looks(len(SERIES) * len(measured)) if look.colour not in taken)
    looks |= {label: next(free) for label in measured if label not in looks}
    looks |= dict(zip(predicted, cycle(THEORY), strict=False))
    return [_study_chart(chart, looks) for chart in charts]


def _study_chart(chart: StudyChart, looks: Mapping[str, Look]) -> Chart:
    if chart.names:
        return _study_chart_of_names(chart, looks)
    measured = [line for line in chart.lines if not line.is_reference]
    predicted = [line for line in chart.lines if line.is_reference]
    marks = [
        Curve(
            line.label,
            list(line.x),
            list(line.y),
            looks[line.label],
            None if line.spread is None else list(line.spread),
        )
        for line in (*measured, *predicted)
    ]
    ticks = _few_ticks(sorted({place for line in measured for place in line.x})) if chart.log_x else None
    return Chart(
        chart.title,
        Axis(chart.x, chart.log_x, ticks=ticks),
        _study_y(chart),
        marks,
        note=_spread_note(chart, "Bands"),
        size=(4.4, 3.4),
    )


def _spread_note(chart: StudyChart, drawn: str) -> str:
    """What shows the spread; nothing is said where a single seed has none."""
    return (
        f"{drawn} are one standard deviation over the seeds." if any(any(x.spread or ()) for x in chart.lines) else ""
    )


def _study_y(chart: StudyChart) -> Axis:
    return Axis(chart.y, chart.log_y, limits=SHARE_LIMITS if chart.is_share else None, is_share=chart.is_share)


def _study_chart_of_names(chart: StudyChart, looks: Mapping[str, Look]) -> Chart:
    """Points over names, the curves' side by side; what others published are rings between them."""
    marks: list[Curve] = []
    for number, line in enumerate(chart.lines):
        look = looks[line.label]
        aside = 0.0 if line.is_reference else 0.12 * (number - (len(chart.lines) - 1) / 2)
        bare = Look(look.colour, None, "ring" if line.is_reference else look.marker)
        spread = None if line.spread is None else list(line.spread)
        marks.append(Curve(line.label, [x + aside for x in line.x], list(line.y), bare, spread, has_bars=True))
    note = _spread_note(chart, "Bars")
    if any(line.is_reference for line in chart.lines):
        note = f"{note} Rings are published numbers, of other networks, sizes or data.".lstrip()
    return Chart(chart.title, Axis.of_names(chart.x, chart.names), _study_y(chart), marks, note=note, size=(4.4, 3.4))


def _few_ticks(places: Sequence[float]) -> dict[float, str] | None:
    """Ticks of an axis whose values are powers, at the places of few points; those too close to others have none."""
    if not 0 < len(places) <= _FEW:
        return None
    *inner, last = places
    apart = (last / places[0]) ** 0.11
    kept: list[float] = []
    for place in inner:
        if not kept or (place > apart * kept[-1] and last > apart * place):
            kept.append(place)
    return {place: f"{place:,.{3 if place < 100 else 4}g}" for place in (*kept, last)}
