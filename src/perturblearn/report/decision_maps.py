"""Decision maps as figures [NeurIPS24, section 5; ICLR24, section 4]."""

from __future__ import annotations

from typing import Literal

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from perturblearn.theory import DecisionMap

# Okabe and Ito's palette, which the colour-blind can tell apart.
_POSITIVE, _NEGATIVE, _BLACK = "#0072B2", "#D55E00", "#000000"
_LIGHT_POSITIVE, _LIGHT_NEGATIVE = "#B9D9EE", "#F6CFB4"
_SHADED = "#D9D9D9"
_LINE_STYLES: dict[str, Literal["--", ":"]] = {"fhat": "--", "ghat": ":"}
_MOST_SAMPLES = 1000


def draw_decision_map(
    drawn: DecisionMap,
    *,
    title: str = "",
    axes_names: tuple[str, str] = ("$a$", "$b$"),
    line_names: tuple[str, str] = (r"$\hat f$ = 0", r"$\hat g$ = 0"),
) -> Figure:
    """Three panels over one plane: f, g, and where they agree.

    A region's colour is the sign of the network, a solid line its boundary; dashed is fhat = 0 and dotted ghat = 0 (the
    limits' boundaries for networks without a bias), each where the map has them. Dots are the projected samples.

    Args:
        drawn: a map with the values ``f`` and ``g``, and possibly ``fhat`` and ``ghat``.
        title: above the panels.
        axes_names: of the two coordinates.
        line_names: of the dashed and of the dotted line, for the legend.
    """
    figure = Figure(figsize=(10.2, 3.9), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    extent = (float(drawn.grid[0]), float(drawn.grid[-1])) * 2
    for axes, name, prediction in zip(panels, ("f", "g", None), ("fhat", "ghat", None), strict=True):
        if name is None:
            _draw_agreement(axes, drawn, extent)
        else:
            _draw_network(axes, drawn, name, extent)
        for line in ("fhat", "ghat") if prediction is None else (prediction,):
            if line in drawn.values:
                _draw_line(axes, drawn, line)
        _draw_samples(axes, drawn)
        axes.set_xlim(extent[0], extent[1])
        axes.set_ylim(extent[2], extent[3])
        axes.set_aspect("equal")
        axes.set_xlabel(axes_names[0])
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel(axes_names[1])
    share = float(drawn.agreement("f", "g").double().mean())
    for axes, text in zip(panels, ("$f$", "$g$", f"sign $f$ = sign $g$ (white, {share:.0%})"), strict=True):
        axes.set_title(text, fontsize=10)
    figure.legend(handles=_legend(drawn, line_names), loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    if title:
        figure.suptitle(title, fontsize=9, wrap=True)
    return figure


def draw_map_of(drawn: DecisionMap, *, has_bias: bool, title: str) -> Figure:
    """A map as `draw_map` makes it, with what its axes and lines are.

    Args:
        drawn: the map.
        has_bias: whether it is NeurIPS24's, in the plane of the class means, or ICLR24's, in that of f's mean units.
        title: above the panels.
    """
    if has_bias:
        return draw_decision_map(drawn, title=title, axes_names=("$a$ (mean of +1)", "$b$ (mean of -1)"))
    return draw_decision_map(
        drawn,
        title=title,
        axes_names=("$v$ (mean positive unit of $f$)", "$u$ (mean negative unit)"),
        line_names=("boundary of $f$'s limit", "boundary of $g$'s limit"),
    )


def _draw_network(axes: Axes, drawn: DecisionMap, name: str, extent: tuple[float, ...]) -> None:
    signs = (drawn.values[name] > 0).double().numpy()
    axes.contourf(drawn.grid, drawn.grid, signs, levels=[-0.5, 0.5, 1.5], colors=[_LIGHT_NEGATIVE, _LIGHT_POSITIVE])
    _contour(axes, drawn, drawn.values[name], "-")


def _draw_agreement(axes: Axes, drawn: DecisionMap, extent: tuple[float, ...]) -> None:
    same = drawn.agreement("f", "g").double().numpy()
    axes.contourf(drawn.grid, drawn.grid, same, levels=[-0.5, 0.5, 1.5], colors=[_SHADED, "white"])


def _draw_line(axes: Axes, drawn: DecisionMap, name: str) -> None:
    _contour(axes, drawn, drawn.values[name], _LINE_STYLES[name])


def _contour(axes: Axes, drawn: DecisionMap, values: Tensor, style: str) -> None:
    # A value of one sign everywhere has no boundary on this map, and matplotlib would warn.
    if float(values.min()) < 0 < float(values.max()):
        axes.contour(
            drawn.grid,
            drawn.grid,
            values.double().numpy(),
            levels=[0.0],
            colors=_BLACK,
            linestyles=style,
            linewidths=1.3,
        )


def _draw_samples(axes: Axes, drawn: DecisionMap) -> None:
    if drawn.samples is None or drawn.labels is None:
        return
    chosen = torch.linspace(0, len(drawn.samples) - 1, min(_MOST_SAMPLES, len(drawn.samples))).long()
    samples, labels = drawn.samples[chosen], drawn.labels[chosen]
    for sign, colour in ((1, _POSITIVE), (-1, _NEGATIVE)):
        shown = samples[labels == sign]
        axes.plot(shown[:, 0], shown[:, 1], "o", color=colour, markersize=1.8, alpha=0.5, markeredgewidth=0)


def _legend(drawn: DecisionMap, line_names: tuple[str, str]) -> list[Line2D]:
    def dot(colour: str, label: str) -> Line2D:
        return Line2D([], [], linestyle="", marker="o", markersize=4, color=colour, label=label)

    names = dict(zip(_LINE_STYLES, line_names, strict=True))
    lines = [
        Line2D([], [], color=_BLACK, linestyle=style, label=names[name])
        for name, style in _LINE_STYLES.items()
        if name in drawn.values
    ]
    samples = [] if drawn.samples is None else [dot(_POSITIVE, "sample, +1"), dot(_NEGATIVE, "sample, -1")]
    return [*samples, Line2D([], [], color=_BLACK, label="network = 0"), *lines]
