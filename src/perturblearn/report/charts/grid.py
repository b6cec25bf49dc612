"""Charts of an audit and of a transfer matrix."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

import torch

from perturblearn.experiment import HELDOUT, ROUTES, Pair, RouteName, Summary
from perturblearn.report.charts.description import SHARE_LIMITS, Axis, Chart, Level, Picture
from perturblearn.report.charts.marks import Band, Curve, Heat, Mark
from perturblearn.report.charts.palette import CHANCE, CONTROLS, LINEAR, F, G, Look, series_looks
from perturblearn.report.words import NORMS, attack_text, values_text
from perturblearn.results import Audit, Result, TransferMatrix, size_of

_WIDE = 10.0
"""Sizes further apart than this, as a ratio, are drawn on a logarithmic axis."""
_BAND = 0.35
"""Half the width of a band around a single size, as a share of the room at the axis' ends."""
_ATTACK = "attack"


def audit_picture(audit: Audit, title: str) -> Picture:
    """An audit's charts side by side."""
    charts = audit_charts(audit)
    return Picture(charts, title, charts[0].note, columns=3)


def audit_charts(audit: Audit) -> list[Chart]:
    """Accuracy of every learner over the sizes of each norm; one chart where every norm has a single size.

    Points are means over the seeds with one standard deviation; the band reaches from the least to the largest draw of
    any learner's controls.
    """
    by_norm: dict[str, list[Result]] = {}
    for cell in audit.cells:
        by_norm.setdefault(cell.config.attack.norm, []).append(cell)
    if len(by_norm) > 1 and all(len({_size(cell) for cell in cells}) == 1 for cells in by_norm.values()):
        names = [attack_text(cells[0].config.attack) for cells in by_norm.values()]
        places = {norm: float(number) for number, norm in enumerate(by_norm)}
        axis = Axis.of_names(_ATTACK, names)
        title = "Accuracy of g by attack"
        return [_chart(audit, audit.cells, title, axis, lambda cell: places[cell.config.attack.norm])]
    title = "Accuracy of g over perturbation size"
    return [
        _chart(audit, cells, f"{title}, {NORMS[norm]}", _sizes_axis(cells), _size) for norm, cells in by_norm.items()
    ]


def why_picture(audit: Audit, title: str) -> Picture:
    """The chart of an audit's routes."""
    return Picture([why_chart(audit)], title)


def why_chart(audit: Audit) -> Chart:
    """Accuracy of every route beside its control; combinations of one route stand side by side."""
    ran = [each for each in audit.routes if each.reached is not None]
    names: list[RouteName] = list(dict.fromkeys(each.name for each in ran))
    marks: list[Mark] = []
    for label, look, aside in (
        ("control of the route", Look("control", None, "plus"), 0.12),
        ("route", _bare(G), -0.12),
    ):
        places: list[float] = []
        found: list[Summary] = []
        for place, name in enumerate(names):
            of_route = [each for each in ran if each.name == name]
            for number, each in enumerate(of_route):
                values = each.reached if label == "route" else each.control
                if values is not None:
                    places.append(place + aside + 0.5 * ((number + 0.5) / len(of_route) - 0.5))
                    found.append(values)
        spread = [values["std"] or 0.0 for values in found]
        marks.append(Curve(label, places, [values["mean"] for values in found], look, spread, has_bars=True))
    cell = audit.cells[0]
    return Chart(
        "Accuracy by route",
        Axis.of_names("why g may have learned", [ROUTES[name].title for name in names]),
        Axis("accuracy on clean held-out inputs", limits=SHARE_LIMITS, is_share=True),
        marks,
        [Level("chance", cell.chance, CHANCE)],
        note=f"Points are {values_text(cell)}; each route has a control of its own, and routes overlap.",
        size=(7.0, 3.4),
    )


def _chart(audit: Audit, cells: Sequence[Result], title: str, axis: Axis, place: Callable[[Result], float]) -> Chart:
    """A chart of cells, each at its place along the axis; several of one place have one perturbed set."""
    places = sorted({place(cell) for cell in cells})
    learners = list(dict.fromkeys(cell.learner for cell in audit.cells))
    by_place = {at: [cell for cell in cells if place(cell) == at] for at in places}
    has_names = axis.label == _ATTACK
    marks = _controls(axis, by_place, is_joined=not has_names)
    # A linear classifier knows no learner: cells of one place have one perturbed set, and those that fitted it agree.
    probed = {
        at: known[0]
        for at, of_place in by_place.items()
        if (known := [values["mean"] for each in of_place if (values := each.summary.get(HELDOUT.linear_probe))])
    }
    if probed:
        look = _bare(LINEAR) if has_names else LINEAR
        marks.append(Curve("linear classifier of the same set", list(probed), list(probed.values()), look))
    for number, (learner, look) in enumerate(zip(learners, series_looks(len(learners)), strict=True)):
        own = sorted((cell for cell in cells if cell.learner == learner), key=place)
        if not own:
            continue
        # Aside of each other, so that their bars do not hide one another.
        aside = 0.15 * (number - (len(learners) - 1) / 2)
        g = [cell.summary[HELDOUT.perturbation] for cell in own]
        marks.append(
            Curve(
                f"g: {audit.short_names[learner]}",
                [_shifted(axis, place(cell), aside) for cell in own],
                [values["mean"] for values in g],
                _bare(look) if has_names else look,
                [values["std"] or 0.0 for values in g],
                has_bars=True,
            )
        )
    drawn = "bar" if len(places) == 1 else "band"
    return Chart(
        title,
        axis,
        Axis("accuracy on clean held-out inputs", limits=SHARE_LIMITS, is_share=True),
        marks,
        [
            Level("f", statistics.fmean(_means(cells, HELDOUT.standard)), Look(F.colour, "dash")),
            Level("chance", cells[0].chance, CHANCE),
        ],
        note=f"Points are {values_text(cells[0])}; the grey {drawn} "
        "reaches from the least to the largest draw of the controls.",
        size=(4.4, 3.4),
    )


def _bare(look: Look) -> Look:
    """Without the line, which would join what has no order."""
    return Look(look.colour, None, look.marker)


def _controls(axis: Axis, by_place: dict[float, list[Result]], *, is_joined: bool) -> list[Mark]:
    """A band from the least to the largest draw, with the mean, over all places or around each."""
    draws = {
        at: [draw for cell in cells for values in cell.controls.values() for draw in values["values"]]
        for at, cells in by_place.items()
    }
    ends = {at: (min(of), statistics.fmean(of), max(of)) for at, of in draws.items() if of}
    if is_joined and len(ends) > 1:
        parts = [list(ends.items())]
    else:  # a band needs two ends
        parts = [[(_shifted(axis, at, side * _BAND), of) for side in (-1, 1)] for at, of in ends.items()]
    marks: list[Mark] = []
    for part in parts:
        x, (low, mean, high) = [at for at, _ in part], zip(*(of for _, of in part), strict=True)
        marks += [Band("controls, all draws", x, low, high, CONTROLS), Curve("controls, mean", x, mean, CONTROLS)]
    return marks


def _sizes_axis(cells: Sequence[Result]) -> Axis:
    """Sizes with a tick at each, and some room at both ends."""
    texts = dict(sorted(size_of(cell.config.attack) for cell in cells))
    sizes = list(texts)
    is_log = sizes[0] > 0 and sizes[-1] > _WIDE * sizes[0]
    is_epsilon = all(text == f"{size:g}" for size, text in texts.items())
    axis = Axis("perturbation size ε" if is_epsilon else "coordinates changed", is_log, (sizes[0], sizes[-1]), texts)
    return Axis(axis.label, is_log, (_shifted(axis, sizes[0], -1.0), _shifted(axis, sizes[-1], 1.0)), texts)


def _shifted(axis: Axis, at: float, share: float) -> float:
    """A place moved along an axis by a share of the room at its ends, which is an eighth of its length."""
    assert axis.limits is not None
    forward, back = (math.log, math.exp) if axis.is_log else (float, float)
    length = forward(axis.limits[1]) - forward(axis.limits[0])
    return back(forward(at) + share * (0.12 * length or 1.0))


def _means(cells: Iterable[Result], name: str) -> list[float]:
    return [mean for cell in cells if (mean := cell.summary[name]["mean"]) is not None]


def _size(cell: Result) -> float:
    return size_of(cell.config.attack)[0]


def transfer_picture(matrix: TransferMatrix, title: str) -> Picture:
    """A transfer matrix's charts side by side."""
    charts = transfer_charts(matrix)
    return Picture(charts, title, charts[0].note)


def transfer_charts(matrix: TransferMatrix) -> list[Chart]:
    """Accuracy of g, and how often another network gives f's perturbed inputs their target, pair by pair."""
    first = matrix.first
    rows, columns = ([matrix.short_names[name] for name in names] for names in (matrix.rows, matrix.columns))
    shown = [
        ("accuracy of g on clean held-out inputs", "learned by", first.chance, _accuracy),
        ("how often the target is reached", "on another network, trained on clean data", 0.0, _fooling),
    ]
    charts = []
    for label, across, low, of_pair in shown:
        cells = [[of_pair(matrix, (row, column)) for column in matrix.columns] for row in matrix.rows]
        means, stds = (torch.tensor([[cell[place] for cell in of_row] for of_row in cells]) for place in (0, 1))
        charts.append(
            Chart(
                label[0].upper() + label[1:],
                Axis.of_names(across, columns),
                Axis.of_names("perturbations of", rows, down=True),
                [Heat(rows, columns, means, stds, low, label, ("perturbations of", across))],
                note=f"In %, {values_text(first)}.",
                size=(max(3.2, 0.95 * len(columns)) + 1.9, max(1.5, 0.62 * len(rows)) + 1.3),
            )
        )
    return charts


def _accuracy(matrix: TransferMatrix, pair: Pair) -> tuple[float, float]:
    return _mean_std(matrix.cells[pair].summary[HELDOUT.perturbation])


def _fooling(matrix: TransferMatrix, pair: Pair) -> tuple[float, float]:
    return _mean_std(matrix.fooling_of(pair).success)


def _mean_std(values: Summary | None) -> tuple[float, float]:
    """Mean and standard deviation, each NaN where it was not measured."""
    mean, std = (None, None) if values is None else (values["mean"], values["std"])
    return math.nan if mean is None else mean, math.nan if std is None else std
