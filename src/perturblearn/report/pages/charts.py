"""Charts of a run as plotly's descriptions, in colours by their names in ``page.css``: ``@f`` is that of f."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from perturblearn.experiment import HELDOUT, AccuracyNames, ClassMeasures, Comparison, SeedMeasures, Summaries, Summary
from perturblearn.theory import DecisionMap

Spec = dict[str, Any]
"""A chart: ``data`` and ``layout``."""

_MOST_POINTS = 400
"""Of a training curve; more could not be told apart."""
_MAP_POINTS = 200
"""A side of a decision map."""
_NAMED_CELLS, _NAMED_TICKS = 2500, 60
"""Cells of a heat map that tell their names, and names along an axis."""
_LONG = 24
"""Letters of a name along an axis; the cells tell all of it."""
_MOST_SAMPLES = 600
"""Dots of a scatter."""


def chart_text(text: object) -> str:
    """A name as plotly shows it as it is: no markup, no template, no colour."""
    escaped = html.escape(str(text), quote=False).replace("%{", "&#37;{")
    return f"&#64;{escaped[1:]}" if escaped.startswith("@") else escaped


def packed(values: Tensor) -> Spec:
    """A tensor as plotly reads it from few bytes, (n,) or (rows, columns)."""
    kind = "i1" if values.dtype == torch.int8 else "f4"
    array = values.detach().cpu().to(torch.int8 if kind == "i1" else torch.float32).contiguous().numpy()
    packed_values: Spec = {"dtype": kind, "bdata": base64.b64encode(array.tobytes()).decode()}
    return packed_values if values.ndim == 1 else {**packed_values, "shape": ",".join(map(str, values.shape))}


def measures_chart(summary: Summaries, *, chance: float, part: AccuracyNames = HELDOUT) -> Spec:
    """Every seed and every draw of the controls as a dot, with their mean and one standard deviation.

    Args:
        summary: of a run.
        chance: what guessing reaches.
        part: the inputs that accuracies are taken on; agreement is always that on held-out inputs.
    """
    named = (
        (part.standard, "f, accuracy", "@f"),
        (part.perturbation, "g, accuracy", "@g"),
        ("agreement", "f and g agree", "@agreement"),
        (part.linear_probe, "linear classifier", "@other"),
        (part.controls["unperturbed"], "unperturbed control", "@control"),
        (part.controls["permuted"], "permuted control", "@control"),
    )
    shown = [(label, colour, summary[name]) for name, label, colour in named if name in summary]
    data: list[Spec] = []
    for place, (label, colour, values) in enumerate(reversed(shown)):
        dots = [value for value in values["values"] if value is not None]
        # Spread evenly over a narrow band, so that equal values stay visible.
        across = [place + 0.44 * ((index + 0.5) / len(dots) - 0.5) for index in range(len(dots))]
        data.append(
            {
                "x": dots,
                "y": across,
                "mode": "markers",
                "marker": {"color": colour, "size": 7, "opacity": 0.5},
                "hovertemplate": f"{label}: %{{x:.4f}}<extra></extra>",
            }
        )
        if values["mean"] is not None:
            spread = values["std"] or 0.0
            data.append(
                {
                    "x": [values["mean"]],
                    "y": [place],
                    "mode": "markers",
                    "marker": {
                        "color": colour,
                        "size": 26,
                        "symbol": "line-ns",
                        "line": {"width": 3, "color": colour},
                    },
                    "error_x": {"type": "data", "array": [spread], "color": colour, "thickness": 1.5, "width": 4},
                    "hovertemplate": f"{label}, mean %{{x:.4f}} ± {spread:.4f}<extra></extra>",
                }
            )
    clean_samples = "the clean samples of f (agreement: held-out)"
    labels = [f"{label}<br><b>{_percent(values)}</b>" for label, _, values in reversed(shown)]
    layout = {
        "showlegend": False,
        "xaxis": {
            "range": [-0.02, 1.02],
            "tickformat": ".0%",
            "title": {"text": f"share of {'clean held-out inputs' if part.is_heldout else clean_samples}"},
        },
        "yaxis": {"tickvals": list(range(len(shown))), "ticktext": labels, "range": [-0.6, len(shown) - 0.4]},
        "shapes": [
            {
                "type": "line",
                "x0": chance,
                "x1": chance,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": "@ink", "width": 1, "dash": "dot"},
            }
        ],
        "annotations": [
            {
                "x": chance,
                "yref": "paper",
                "y": 1.0,
                "yanchor": "bottom",
                "text": "chance",
                "showarrow": False,
                "font": {"size": 11},
            }
        ],
    }
    return {"data": data, "layout": layout}


def losses_chart(curves: Sequence[tuple[int, str, Tensor]]) -> Spec:
    """Mean training loss before each epoch's step.

    Args:
        curves: seed, role (``f`` or ``g``) and losses, (epochs,).
    """
    data = []
    first = curves[0][0]
    for seed, role, losses in curves:
        places = _thinned(len(losses))
        data.append(
            {
                "x": [place + 1 for place in places],
                "y": [round(value, 7) if math.isfinite(value) else None for value in losses[places].tolist()],
                "mode": "lines" if len(places) > 1 else "markers",
                "name": role,
                "legendgroup": role,
                "showlegend": seed == first,
                "opacity": 0.75,
                "line": {"color": f"@{role}", "width": 1.5, "dash": "solid" if role == "f" else "dash"},
                "hovertemplate": f"{role}, seed {seed}, epoch %{{x}}: %{{y:.4g}}<extra></extra>",
            }
        )
    layout = {
        "xaxis": {"title": {"text": "epoch"}, "type": "linear"},
        "yaxis": {"title": {"text": "mean training loss"}, "type": "linear"},
    }
    return {"data": data, "layout": layout}


def confusion_chart(classes: Sequence[ClassMeasures]) -> Spec:
    """What g takes each class for: shares of the held-out inputs of a true class, mean over the seeds.

    Args:
        classes: per seed.
    """
    counts = torch.tensor([of_seed.confusion for of_seed in classes], dtype=torch.float64)
    present = torch.tensor([of_seed.n_heldout for of_seed in classes], dtype=torch.float64)
    shares = (counts / present.clamp_min(1)[:, :, None]).mean(dim=0)
    names = classes[0].names
    return _heatmap(shares, names, names, ("label that g gives", "true class"), ("called", "of true"))


def rates_chart(seeds: Sequence[SeedMeasures]) -> Spec:
    """Accuracy of g on held-out inputs for every pair of learning rates, mean over the seeds."""
    of_f = list(dict.fromkeys(pair.standard_lr for pair in seeds[0].grid))
    of_g = list(dict.fromkeys(pair.perturbation_lr for pair in seeds[0].grid))
    found: dict[tuple[float, float], list[float]] = {}
    for pair in (pair for seed in seeds for pair in seed.grid):
        found.setdefault((pair.standard_lr, pair.perturbation_lr), []).append(pair.measures[HELDOUT.perturbation])
    values = torch.tensor([[_mean(found[row, column]) for column in of_g] for row in of_f])
    columns, rows = ([f"{rate:g}" for rate in rates] for rates in (of_g, of_f))
    return _heatmap(values, columns, rows, ("learning rate of g", "learning rate of f"), ("g", "f"))


def theory_charts(of_seed: Comparison) -> list[tuple[str, Spec]]:
    """Outputs of both networks over their predictions, and the cosines of perturbations and theirs, with titles."""
    found = [
        _outputs_chart(of_seed, predicted, network)
        for predicted, network in (("fhat", "f"), ("ghat", "g"))
        if predicted in of_seed.outputs and network in of_seed.outputs
    ]
    return [*found, _cosines_chart(of_seed)]


def _outputs_chart(of_seed: Comparison, predicted: str, network: str) -> tuple[str, Spec]:
    across, up = of_seed.outputs[predicted].double(), of_seed.outputs[network].double()
    across = across / (across.abs().max() or 1)
    places = torch.tensor(_thinned(len(up), _MOST_SAMPLES))
    data: list[Spec] = []
    for sign, colour, name in ((1, "@f", "+1"), (-1, "@g", "-1")):
        shown = places[of_seed.labels[places] == sign]
        data.append(
            {
                "x": packed(across[shown]),
                "y": packed(up[shown]),
                "mode": "markers",
                "name": f"true class {name}",
                "marker": {"color": colour, "size": 5, "opacity": 0.55, "symbol": "circle" if sign > 0 else "x"},
                "hovertemplate": f"{predicted} %{{x:.3f}}, {network} %{{y:.3f}}<extra></extra>",
            }
        )
    share = of_seed.numbers[f"{'standard' if network == 'f' else 'perturbation'}_sign_agreement"]
    title = f"{network} and {predicted}" + ("" if share is None else f": one sign on {share:.1%} of held-out inputs")
    layout = {
        "xaxis": {"title": {"text": f"{predicted}, largest = 1"}, "zerolinecolor": "@soft"},
        "yaxis": {"title": {"text": network}, "zerolinecolor": "@soft"},
    }
    return title, {"data": data, "layout": layout}


def _cosines_chart(of_seed: Comparison) -> tuple[str, Spec]:
    counts = torch.histc(of_seed.cosines.double(), 81, -1, 1)
    bars: Spec = {
        "type": "bar",
        "x": packed(torch.linspace(-1, 1, 81)),
        "y": packed(counts),
        "marker": {"color": "@agreement"},
        "hovertemplate": "cosine %{x:.2f}: %{y}<extra></extra>",
    }
    chance = of_seed.numbers["cosine_similarity_random"] or 0.0
    random = {"type": "rect", "yref": "paper", "x0": -chance, "x1": chance, "y0": 0, "y1": 1}
    layout = {
        "xaxis": {"title": {"text": "cosine of perturbation and t, signed"}, "range": [-1.03, 1.03]},
        "yaxis": {"title": {"text": "perturbations"}},
        "bargap": 0,
        "showlegend": False,
        "shapes": [{**random, "fillcolor": "@control/0.35", "line": {"width": 0}}],
    }
    size = of_seed.numbers["cosine_similarity"]
    title = "Perturbations and their prediction" + ("" if size is None else f": {size:.3f} in size (band: random)")
    return title, {"data": [bars], "layout": layout}


def map_charts(drawn: DecisionMap, *, has_bias: bool) -> list[tuple[str, Spec]]:
    """Three maps over one plane with their titles: f, g, and where they agree.

    Args:
        drawn: a map with the values ``f`` and ``g``, and possibly ``fhat`` and ``ghat``.
        has_bias: whether it is NeurIPS24's, in the plane of the class means, or ICLR24's, in that of f's mean units.
    """
    step = max(1, len(drawn.grid) // _MAP_POINTS)
    grid = drawn.grid[::step]
    values = {name: each[::step, ::step].double() for name, each in drawn.values.items()}
    names = (
        ("a (mean of +1)", "b (mean of -1)") if has_bias else ("v (mean positive unit of f)", "u (mean negative unit)")
    )
    lines = ("fhat = 0", "ghat = 0") if has_bias else ("boundary of f's limit", "boundary of g's limit")
    axis = {"x": packed(grid), "y": packed(grid)}
    share = float(drawn.agreement("f", "g").double().mean())
    panels: list[tuple[str, Spec]] = []
    for title, shown in (("f", "f"), ("g", "g"), (f"sign f = sign g on {share:.0%} of the plane", None)):
        if shown is None:
            region = (values["f"].sign() == values["g"].sign()).to(torch.int8)
            colours = [[0, "@shaded"], [1, "@paper"]]
            drawn_lines = [name for name in ("fhat", "ghat") if name in values]
        else:
            region = (values[shown] > 0).to(torch.int8)
            colours = [[0, "@light-negative"], [1, "@light-positive"]]
            drawn_lines = [name for name in (f"{shown}hat",) if name in values]
        data: list[Spec] = [
            {
                **axis,
                "type": "heatmap",
                "z": packed(region),
                "zmin": 0,
                "zmax": 1,
                "colorscale": colours,
                "showscale": False,
                "hoverinfo": "skip",
            }
        ]
        data += [_boundary(axis, values[shown], shown, "solid")] if shown is not None else []
        data += [
            _boundary(axis, values[name], lines[name == "ghat"], "dash" if name == "fhat" else "dot")
            for name in drawn_lines
        ]
        data += _samples(drawn)
        layout = {
            "xaxis": {"title": {"text": names[0]}, "range": [float(grid[0]), float(grid[-1])], "constrain": "domain"},
            "yaxis": {"title": {"text": names[1]}, "range": [float(grid[0]), float(grid[-1])], "scaleanchor": "x"},
        }
        panels.append((title, {"data": data, "layout": layout}))
    return panels


def _boundary(axis: Spec, values: Tensor, name: str, dash: str) -> Spec:
    return {
        **axis,
        "type": "contour",
        "z": packed(values),
        "name": f"{name} = 0" if len(name) == 1 else name,
        "showscale": False,
        "contours": {"start": 0, "end": 0, "size": 1, "coloring": "none"},
        "line": {"color": "@ink", "width": 1.6, "dash": dash},
        "showlegend": True,
        "hovertemplate": f"{name}: %{{z:.3g}}<extra></extra>",
    }


def _samples(drawn: DecisionMap) -> list[Spec]:
    if drawn.samples is None or drawn.labels is None:
        return []
    found = []
    places = torch.tensor(_thinned(len(drawn.samples), _MOST_SAMPLES))
    samples, labels = drawn.samples[places], drawn.labels[places]
    for sign, colour, name in ((1, "@f", "sample, +1"), (-1, "@g", "sample, -1")):
        shown = samples[labels == sign]
        found.append(
            {
                "x": packed(shown[:, 0]),
                "y": packed(shown[:, 1]),
                "mode": "markers",
                "name": name,
                "hoverinfo": "skip",
                "marker": {"color": colour, "size": 4, "opacity": 0.6, "symbol": "circle" if sign > 0 else "x"},
            }
        )
    return found


def _heatmap(
    values: Tensor, columns: Sequence[str], rows: Sequence[str], titles: tuple[str, str], hover: tuple[str, str]
) -> Spec:
    """Shares (rows, columns) as a chart with the first row on top, and as numbers in percent where there is room.

    Args:
        values: in [0, 1].
        columns, rows: their names; too many or too long ones are told when somebody points at a cell.
        titles: of the columns and of the rows.
        hover: words before a column's and a row's name.
    """
    short = [[chart_text(_short(name)) for name in names] for names in (columns, rows)]
    turned = max(map(len, short[0])) > 3
    trace: Spec = {
        "type": "heatmap",
        "z": packed(values),
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "@paper"], [1, "@f"]],
        "hovertemplate": "%{z:.1%}<extra></extra>",
        "colorbar": {"tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
    }
    if len(columns) * len(rows) <= _NAMED_CELLS:
        trace["hovertemplate"] = (
            f"{hover[1]} %{{customdata[1]}}, {hover[0]} %{{customdata[0]}}: %{{z:.1%}}<extra></extra>"
        )
        trace["customdata"] = [[[chart_text(column), chart_text(row)] for column in columns] for row in rows]
    if len(columns) <= 12 and len(rows) <= 12:
        trace |= {"text": [[f"{100 * value:.0f}" for value in row] for row in values.tolist()]}
        trace |= {"texttemplate": "%{text}", "textfont": {"size": 10}}
    axes = [
        {"title": {"text": title}, "tickvals": list(range(len(names))), "ticktext": names}
        if len(names) <= _NAMED_TICKS
        else {"title": {"text": title}}
        for title, names in zip(titles, short, strict=True)
    ]
    layout: Spec = {
        "xaxis": {**axes[0], "tickangle": -45 if turned else 0},
        "yaxis": {**axes[1], "autorange": "reversed"},
        "margin": {"t": 12},
    }
    return {"data": [trace], "layout": layout}


def _short(name: str) -> str:
    return name if len(name) <= _LONG else f"{name[: _LONG - 1]}…"


def _thinned(count: int, most: int = _MOST_POINTS) -> list[int]:
    """Places of a curve, half of them evenly, half densely at the start where most happens; first and last are in."""
    if count <= most:
        return list(range(count))
    even = torch.linspace(0, count - 1, most // 2).round().long()
    dense = torch.logspace(0, math.log10(count), most // 2).round().long() - 1
    return torch.cat((even, dense)).clamp(0, count - 1).unique().tolist()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _percent(values: Summary) -> str:
    if values["mean"] is None:
        return "not measured"
    spread = "" if values["std"] is None else f" ± {100 * values['std']:.1f}"
    return f"{100 * values['mean']:.1f}{spread} %".replace(" ", "\u00a0")
