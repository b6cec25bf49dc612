"""Figures of an audit and of a transfer matrix."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from perturblearn.experiment import Summary
from perturblearn.results import Result, TransferMatrix, short_names, size_of

# Okabe and Ito's palette, which the colour-blind can tell apart; grey and black are what learners are compared with.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREY, _BLACK = "#7F7F7F", "#000000"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class HeatMap:
    """A table of numbers in colours.

    Args:
        title: what the numbers are.
        values: row by row, mean and deviation of every cell; None, or a mean of None, where nothing was measured.
        low: where the colours begin; they end at 1.
        columns: what the columns are.
    """

    title: str
    values: Sequence[Sequence[Summary | None]]
    low: float
    columns: str


_WIDE = 10.0
"""Epsilons further apart than this, as a ratio, are drawn on a logarithmic axis."""
_LEVEL = 10
"""Characters up to which names of columns stand side by side; longer ones are turned."""
_BAND = 0.35
"""Half the width of a band around one epsilon, as a share of the panel's half."""


def heat_maps(matrix: TransferMatrix) -> list[HeatMap]:
    """Accuracy of g, and how often B gives A's perturbed inputs their target."""
    pairs = [[(row, column) for column in matrix.columns] for row in matrix.rows]
    reached = [[matrix.cells[pair].summary["perturbation_accuracy_heldout"] for pair in row] for row in pairs]
    fooling = [[matrix.fooling_of(pair).success for pair in row] for row in pairs]
    return [
        HeatMap("accuracy of g on clean held-out inputs", reached, matrix.first.chance, "learned by"),
        HeatMap("how often their target is reached", fooling, 0.0, "on another network, trained on clean data"),
    ]


def plot_matrix(matrix: TransferMatrix, title: str) -> Figure:
    """`heat_maps` in a figure."""
    short = matrix.short_names
    names = [short[name] for name in matrix.rows], [short[name] for name in matrix.columns]
    return plot_heat_maps(heat_maps(matrix), rows=names[0], columns=names[1], title=title)


def plot_audit(cells: Sequence[Result], title: str) -> Figure:
    """Held-out accuracy of g over epsilon: a panel per norm, a line per learner.

    Bars are the standard deviation over the seeds; the band reaches from the least to the largest draw of any learner's
    controls.

    Args:
        cells: of an audit.
        title: of the whole figure.
    """
    norms = list(dict.fromkeys(cell.config.attack.norm for cell in cells))
    learners = list(dict.fromkeys(cell.learner for cell in cells))
    is_single = len({(cell.config.attack.norm, size_of(cell.config.attack)) for cell in cells}) == len(norms)
    figure = Figure(figsize=(2.6 + (2.2 if is_single else 3.4) * len(norms), 3.8), layout="constrained")
    panels = figure.subplots(1, len(norms), sharey=True, squeeze=False)[0]
    for axes, norm in zip(panels, norms, strict=True):
        _draw_norm(axes, [cell for cell in cells if cell.config.attack.norm == norm], learners)
        axes.set_title(norm, fontsize=10)
    panels[0].set_ylabel("accuracy on clean held-out inputs", fontsize=9)
    # A panel may lack what another one has, such as the probe; learners come first.
    found = [entry for axes in panels for entry in zip(*axes.get_legend_handles_labels(), strict=True)]
    entries = {label: handle for handle, label in sorted(found, key=lambda entry: not entry[1].startswith("g: "))}
    figure.legend(list(entries.values()), list(entries), loc="outside right center", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=8, wrap=True)
    return figure


def _draw_norm(axes: Axes, cells: Sequence[Result], learners: Sequence[str]) -> None:
    sizes = sorted({size_of(cell.config.attack)[0] for cell in cells})
    place, around = _axis(axes, sizes, cells)
    axes.axhline(cells[0].summary["standard_accuracy_heldout"]["mean"], color=_BLACK, linewidth=0.9, label="f")
    axes.axhline(cells[0].chance, color=_BLACK, linewidth=0.9, linestyle=":", label="chance")
    by_size = {size: [cell for cell in cells if size_of(cell.config.attack)[0] == size] for size in sizes}
    _draw_controls(axes, by_size, around)
    _draw_probe(axes, by_size)
    names = short_names(learners)
    for index, learner in enumerate(learners):
        own = sorted((cell for cell in cells if cell.learner == learner), key=lambda cell: size_of(cell.config.attack))
        if not own:
            continue
        measured = [cell.summary["perturbation_accuracy_heldout"] for cell in own]
        shift = index - (len(learners) - 1) / 2
        axes.errorbar(
            [place(size_of(cell.config.attack)[0], shift) for cell in own],
            [values["mean"] for values in measured],
            yerr=[values["std"] or 0.0 for values in measured],
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=5,
            linewidth=1.4,
            capsize=2.5,
            label=f"g: {names[learner]}",
            zorder=3,
        )
    axes.set_ylim(-0.03, 1.03)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _axis(
    axes: Axes, sizes: Sequence[float], cells: Sequence[Result]
) -> tuple[Callable[[float, float], float], Callable[[float], tuple[float, float]]]:
    """Ticks at the sizes that were tried, and the limits.

    Returns:
        Where a learner is drawn, by size and number of steps aside, so that bars do not hide each other; and the ends
        of a band around a single size.
    """
    texts = dict(size_of(cell.config.attack) for cell in cells)
    logarithmic = sizes[0] > 0 and sizes[-1] > _WIDE * sizes[0]
    forward, back = (math.log, math.exp) if logarithmic else (float, float)
    low, high = forward(sizes[0]), forward(sizes[-1])
    room = 0.12 * (high - low) if high > low else 1.0
    if logarithmic:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sizes, [texts[size] for size in sizes], rotation=45 if len(sizes) > 6 else 0)
    axes.set_xlim(back(low - room), back(high + room))
    is_epsilon = all(text == f"{size:g}" for size, text in texts.items())
    axes.set_xlabel("epsilon" if is_epsilon else "coordinates changed", fontsize=9)

    def place(size: float, shift: float) -> float:
        return back(forward(size) + 0.15 * room * shift)

    def around(size: float) -> tuple[float, float]:
        return back(forward(size) - _BAND * room), back(forward(size) + _BAND * room)

    return place, around


def _draw_controls(
    axes: Axes, by_size: Mapping[float, Sequence[Result]], around: Callable[[float], tuple[float, float]]
) -> None:
    draws = {
        size: [draw for cell in cells for values in cell.controls.values() for draw in values["values"]]
        for size, cells in by_size.items()
    }
    drawn = {size: values for size, values in draws.items() if values}
    if not drawn:
        return
    across = [*drawn]
    low, high = [min(values) for values in drawn.values()], [max(values) for values in drawn.values()]
    mean = [statistics.fmean(values) for values in drawn.values()]
    if len(across) == 1:  # a band needs two ends
        across, low, high, mean = list(around(across[0])), low * 2, high * 2, mean * 2
    axes.fill_between(across, low, high, color=_GREY, alpha=0.3, linewidth=0, label="controls, all draws")
    axes.plot(across, mean, color=_GREY, linewidth=1, label="controls, mean")


def _draw_probe(axes: Axes, by_size: Mapping[float, Sequence[Result]]) -> None:
    # It knows no learner: all cells of one attack have one perturbed set, and those that fitted it agree.
    probed = {
        size: [cell.summary["linear_probe_heldout"] for cell in cells if "linear_probe_heldout" in cell.summary]
        for size, cells in by_size.items()
    }
    known = {size: values[0]["mean"] for size, values in probed.items() if values}
    if known:
        axes.plot(
            [*known],
            [*known.values()],
            color=_BLACK,
            linestyle="--",
            linewidth=1,
            marker="x",
            markersize=5,
            label="linear classifier",
        )


def plot_heat_maps(maps: Sequence[HeatMap], *, rows: Sequence[str], columns: Sequence[str], title: str) -> Figure:
    """Heat maps side by side, with the numbers in their cells.

    Args:
        maps: all of the same rows and columns.
        rows, columns: how the networks are called.
        title: of the whole figure.
    """
    width, height = max(3.2, 0.95 * len(columns)) + 1.9, max(1.5, 0.62 * len(rows)) + 1.5
    figure = Figure(figsize=(len(maps) * width, height), layout="constrained")
    grid = figure.subplots(1, len(maps), sharey=True, squeeze=False)[0]
    turned = max(map(len, columns)) > _LEVEL
    for axes, shown in zip(grid, maps, strict=True):
        _draw_heat(figure, axes, shown)
        axes.set_xticks(range(len(columns)), columns, fontsize=8)
        if turned:
            axes.tick_params(axis="x", rotation=30)
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.set_xlabel(shown.columns, fontsize=9)
        axes.set_title(shown.title, fontsize=9)
    grid[0].set_ylabel("perturbations of", fontsize=9)
    figure.suptitle(title, fontsize=8, wrap=True)
    return figure


def _draw_heat(figure: Figure, axes: Axes, shown: HeatMap) -> None:
    scale, blues = Normalize(shown.low, 1, clip=True), colormaps["Blues"].with_extremes(bad="#DDDDDD")
    colours = ScalarMappable(scale, blues)
    means = [[None if cell is None else cell["mean"] for cell in row] for row in shown.values]
    known = np.ma.masked_invalid([[math.nan if mean is None else mean for mean in row] for row in means])
    axes.imshow(known, cmap=blues, norm=scale, aspect="auto")
    for row, of_row in enumerate(shown.values):
        for column, cell in enumerate(of_row):
            _write(axes, row, column, cell, colours)
    is_below = any(mean is not None and mean < shown.low for of_row in means for mean in of_row)
    bar = figure.colorbar(colours, ax=axes, extend="min" if is_below else "neither")
    bar.ax.tick_params(labelsize=8)


def _write(axes: Axes, row: int, column: int, cell: Mapping[str, Any] | None, colours: ScalarMappable) -> None:
    if cell is None or cell["mean"] is None:
        axes.text(column, row, "-", ha="center", va="center", fontsize=8, color=_BLACK)
        return
    red, green, blue, _ = colours.to_rgba(cell["mean"])
    # Relative luminance as in WCAG, with a gamma of 2.2: black on what is lighter than 0.18, white on the rest, which
    # gives the larger contrast of the two.
    light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    spread = "" if cell["std"] is None else f"\n$\\pm$ {cell['std']:.3f}"
    text = f"{cell['mean']:.3f}{spread}"
    axes.text(column, row, text, ha="center", va="center", fontsize=8, color=_BLACK if light > 0.18 else "white")
