"""The pages of an audit and of a transfer matrix."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perturblearn.config import to_toml
from perturblearn.experiment import HELDOUT
from perturblearn.report.audit import HEADS, AuditReport
from perturblearn.report.grid_figures import HeatMap, heat_maps
from perturblearn.report.pages.charts import Spec, chart_text
from perturblearn.report.pages.curves import COLOURS, line_with_spread
from perturblearn.report.pages.page import render, shown_toml
from perturblearn.report.pages.run_page import shown_examples
from perturblearn.report.transfer import TransferReport
from perturblearn.report.words import data_text
from perturblearn.results import Audit, Examples, Result, TransferMatrix, size_of

_WIDE = 10.0
"""Epsilons further apart than this, as a ratio, are drawn on a logarithmic axis."""
_LEARNERS = ("@g", *(colour for colour in COLOURS if colour not in ("@f", "@g", "@control")))
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


def audit_page(audit: Audit, folder: Path) -> str:
    """An audit's page: what is learned from the perturbations, beside controls and what leaks to a linear classifier.

    Args:
        audit: what was measured.
        folder: where its examples lie.

    Raises:
        StoreError: a file of the folder is damaged.
    """
    norms = list(dict.fromkeys(cell.config.attack.norm for cell in audit.cells))
    of_norm = {norm: [cell for cell in audit.cells if cell.config.attack.norm == norm] for norm in norms}
    charts = [(norm, len({_size(cell) for cell in own}) > 1, _norm_chart(own, audit)) for norm, own in of_norm.items()]
    name = audit.short_names[audit.model]
    return render(
        "grid.html",
        ["examples.js"],
        kind="Audit",
        name=audit.name,
        title=AuditReport(audit).title.removeprefix(f"{audit.name}: "),
        question=f"What do the perturbations of {name} teach a network that has seen nothing else of "
        f"{data_text(audit.cells[0].config)}, and how much of it is more than linear leakage?",
        answer=audit.verdict,
        remarks=[*AuditReport(audit).details, *audit.warnings],
        charts=[
            (
                f"Perturbations in {norm}. Points are means over the seeds with one standard deviation; the grey "
                f"{'band' if several else 'bar'} reaches from the least to the largest draw of the controls.",
                f"Accuracy of g over epsilon, {norm}",
                spec,
            )
            for norm, several, spec in charts
        ],
        tables=[("Every combination", HEADS, AuditReport(audit).lines, range(2, 9))],
        legend=AuditReport(audit).legend,
        examples=_examples(folder, audit.cells[0]),
        command=audit.command,
        cells=_cells(folder),
        key=audit.key,
        made_with=audit.versions,
        seconds=audit.seconds,
        toml=shown_toml(to_toml(audit.cells[0].config)),
    )


def transfer_page(matrix: TransferMatrix, folder: Path) -> str:
    """A transfer matrix's page.

    Args:
        matrix: what was measured.
        folder: where its examples lie.

    Raises:
        StoreError: a file of the folder is damaged.
    """
    first = next(iter(matrix.cells.values()))
    short = matrix.short_names
    names = [short[name] for name in matrix.rows], [short[name] for name in matrix.columns]
    return render(
        "grid.html",
        ["examples.js"],
        kind="Transfer matrix",
        name=matrix.name,
        title=TransferReport(matrix).title.removeprefix(f"{matrix.name}: "),
        question="Which networks learn from whose perturbations, and which ones do the same perturbations fool?",
        answer=matrix.reading,
        remarks=[],
        charts=[
            (
                f"{heat.title.capitalize()}, {heat.columns}; mean over the seeds.",
                heat.title.capitalize(),
                _heat_chart(heat, *names),
            )
            for heat in heat_maps(matrix)
        ],
        tables=[
            (head.capitalize(), lines[0], lines[1:], range(1, len(lines[0])))
            for head, lines in TransferReport(matrix).tables
        ],
        legend=[],
        examples=_examples(folder, first, "perturbations of "),
        command=matrix.command,
        cells=_cells(folder),
        key=matrix.key,
        made_with=matrix.versions,
        seconds=matrix.seconds,
        toml=shown_toml(to_toml(first.config)),
    )


def _norm_chart(cells: Sequence[Result], audit: Audit) -> Spec:
    """Accuracy of every learner on held-out inputs over the sizes of one norm."""
    sizes = sorted({_size(cell) for cell in cells})
    texts = dict(size_of(cell.config.attack) for cell in cells)
    learners = list(dict.fromkeys(cell.learner for cell in cells))
    data = _control_band(cells, sizes)
    for number, learner in enumerate(learners):
        own = sorted((cell for cell in cells if cell.learner == learner), key=_size)
        # Of one size alone, learners would hide each other.
        aside = 1 + 0.06 * (number - (len(learners) - 1) / 2) if len(sizes) == 1 else 1.0
        data += _learner(own, audit.short_names[learner], number, aside)
    data += _probe([cell for cell in cells if cell.learner == learners[0]])
    f = statistics.fmean(cell.summary[HELDOUT.standard]["mean"] for cell in cells)
    levels = [("f", f, "@f", "dash"), ("chance", cells[0].chance, "@ink", "dot")]
    across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1}
    beside = {
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 11},
    }
    is_epsilon = all(text == f"{size:g}" for size, text in texts.items())
    layout: Spec = {
        "xaxis": {
            "title": {"text": "epsilon" if is_epsilon else "coordinates changed"},
            "type": "log" if sizes[0] > 0 and sizes[-1] > _WIDE * sizes[0] else "linear",
            "tickvals": sizes,
            "ticktext": [chart_text(texts[size]) for size in sizes],
            **({"range": [0.7 * sizes[0], 1.3 * sizes[0]]} if len(sizes) == 1 and sizes[0] > 0 else {}),
        },
        "yaxis": {"title": {"text": "accuracy on clean held-out inputs"}, "range": [-0.03, 1.05], "tickformat": ".0%"},
        "shapes": [
            {**across, "y0": level, "y1": level, "line": {"color": colour, "width": 1.2, "dash": dash}}
            for _, level, colour, dash in levels
        ],
        "annotations": [{**beside, "y": level, "text": text} for text, level, _, _ in levels],
    }
    return {"data": data, "layout": layout}


def _size(cell: Result) -> float:
    return size_of(cell.config.attack)[0]


def _learner(own: Sequence[Result], name: str, number: int, aside: float) -> list[Spec]:
    """One learner's accuracy over the sizes, with one standard deviation."""
    measured = [cell.summary["perturbation_accuracy_heldout"] for cell in own]
    colour = _LEARNERS[number % len(_LEARNERS)]
    means, spreads = [each["mean"] for each in measured], [each["std"] or 0.0 for each in measured]
    places = [aside * _size(cell) for cell in own]
    symbol = _SYMBOLS[number % len(_SYMBOLS)]
    return line_with_spread(f"g: {name}", places, means, spreads, colour=colour, symbol=symbol)


def _probe(cells: Sequence[Result]) -> list[Spec]:
    """What a linear classifier of the perturbed sets reaches; the sets are the same for every learner."""
    probed = sorted((cell for cell in cells if "linear_probe_heldout" in cell.summary), key=_size)
    if not probed:
        return []
    return [
        {
            "x": [_size(cell) for cell in probed],
            "y": [cell.summary["linear_probe_heldout"]["mean"] for cell in probed],
            "mode": "lines+markers",
            "name": "linear classifier of the same set",
            "line": {"color": "@control", "width": 1.4, "dash": "dot"},
            "marker": {"color": "@control", "size": 7, "symbol": "x"},
        }
    ]


def _control_band(cells: Sequence[Result], sizes: Sequence[float]) -> list[Spec]:
    """What the controls' draws reach at each size."""
    draws = {
        size: [
            draw
            for cell in cells
            if size_of(cell.config.attack)[0] == size
            for values in cell.controls.values()
            for draw in values["values"]
        ]
        for size in sizes
    }
    known = {size: values for size, values in draws.items() if values}
    if not known:
        return []
    low, high = [min(values) for values in known.values()], [max(values) for values in known.values()]
    middle = [statistics.fmean(values) for values in known.values()]
    if len(known) == 1:
        errors = {
            "type": "data",
            "symmetric": False,
            "array": [high[0] - middle[0]],
            "arrayminus": [middle[0] - low[0]],
            "color": "@control",
        }
        marker = {"color": "@control", "size": 7, "symbol": "line-ew-open"}
        return [
            {"x": list(known), "y": middle, "mode": "markers", "name": "controls", "marker": marker, "error_y": errors}
        ]
    return [
        {
            "x": [*known, *reversed(known)],
            "y": [*high, *reversed(low)],
            "mode": "lines",
            "fill": "toself",
            "fillcolor": "@control/0.25",
            "line": {"width": 0},
            "hoverinfo": "skip",
            "name": "controls",
            "showlegend": True,
        }
    ]


def _heat_chart(heat: HeatMap, rows: Sequence[str], columns: Sequence[str]) -> Spec:
    means = [[None if cell is None else cell["mean"] for cell in row] for row in heat.values]
    trace: Spec = {
        "type": "heatmap",
        "z": means,
        "x": [chart_text(name) for name in columns],
        "y": [chart_text(name) for name in rows],
        "zmin": heat.low,
        "zmax": 1,
        "colorscale": [[0, "@paper"], [1, "@f"]],
        "texttemplate": "%{z:.1%}",
        "hovertemplate": "perturbations of %{y}, %{x}: %{z:.1%}<extra></extra>",
        "colorbar": {"tickformat": ".0%", "thickness": 12},
    }
    layout = {
        "xaxis": {"title": {"text": chart_text(heat.columns)}, "type": "category"},
        "yaxis": {"title": {"text": "perturbations of"}, "type": "category", "autorange": "reversed"},
    }
    return {"data": [trace], "layout": layout}


def _examples(folder: Path, cell: Result, whose: str = "") -> list[dict[str, Any]]:
    """Of every attack, or of every network."""
    found = [Examples.load(path) for path in sorted((folder / "examples").glob("*.safetensors"))]
    return [{"name": each.name, **shown_examples(each, cell.config, what=f"{whose}{each.name}")} for each in found]


def _cells(folder: Path) -> list[str]:
    """The commands that make each combination again."""
    return [shlex.join(("perturblearn", "run", str(path))) for path in sorted((folder / "cells").glob("*.toml"))]
