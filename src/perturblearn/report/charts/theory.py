"""Charts of a run beside theory: outputs over their predictions, cosines, and decision maps [NeurIPS24; ICLR24]."""

from __future__ import annotations

import torch

from perturblearn.experiment import Comparison
from perturblearn.report.charts.description import Axis, Chart, Level, Picture, Zone
from perturblearn.report.charts.marks import Boundary, Dots, Histogram, Mark, Region
from perturblearn.report.charts.palette import AGREEMENT, CONTROLS, NEGATIVE, POSITIVE, THEORY, Look
from perturblearn.report.words import title as run_title
from perturblearn.results import TheoryComparison
from perturblearn.theory import DecisionMap

_BOUNDARY, _ZERO = Look("ink"), Look("soft")
SYMBOLS = {"fhat": "f̂", "ghat": "ĝ"}
"""Predictions as the papers write them."""
_PREDICTED: dict[str, Look] = {"fhat": THEORY[0], "ghat": THEORY[1]}


def theory_picture(theory: TheoryComparison) -> Picture:
    """Three panels for the first seed: f over f̂, g over ĝ, and the cosines of its perturbations."""
    charts = theory_charts(theory)
    return Picture(
        charts, run_title(theory.config, theory.size), " ".join(dict.fromkeys(chart.note for chart in charts))
    )


def theory_charts(theory: TheoryComparison) -> list[Chart]:
    """Of the first seed, outputs of both networks over their predictions, and cosines of perturbations and theirs."""
    seed, first = next(iter(theory.comparisons.items()))
    found = [
        _outputs_chart(first, predicted, network, seed)
        for predicted, network in (("fhat", "f"), ("ghat", "g"))
        if predicted in first.outputs and network in first.outputs
    ]
    return [*found, _cosines_chart(first, seed)]


def _outputs_chart(of_seed: Comparison, predicted: str, network: str, seed: int) -> Chart:
    across, up = of_seed.outputs[predicted].double(), of_seed.outputs[network].double()
    symbol = SYMBOLS[predicted]
    across = across / (across.abs().max() or 1)
    share = of_seed.numbers[f"{'standard' if network == 'f' else 'perturbation'}_sign_agreement"]
    return Chart(
        f"{network} and {symbol}" + ("" if share is None else f": same sign on {100 * share:.1f} % of held-out inputs"),
        Axis(f"prediction {symbol}(x), scaled to at most 1"),
        Axis(f"output {network}(x)"),
        [
            Dots(f"true class {name}", across[of_seed.labels == sign], up[of_seed.labels == sign], look)
            for sign, look, name in ((1, POSITIVE, "+1"), (-1, NEGATIVE, "−1"))
        ],
        [Level("", 0.0, _ZERO), Level("", 0.0, _ZERO, axis="x")],
        note=f"Dots are held-out inputs of seed {seed}, {len(of_seed.labels):,} in all.",
        size=(3.5, 3.1),
    )


def _cosines_chart(of_seed: Comparison, seed: int) -> Chart:
    size, chance = of_seed.numbers["cosine_similarity"], of_seed.numbers["cosine_similarity_random"] or 0.0
    return Chart(
        "Perturbations rₙ and predicted directions tₙ" + ("" if size is None else f": mean |cos| = {size:.3f}"),
        Axis("signed cosine y′ₙ cos(rₙ, tₙ)", limits=(-1.03, 1.03)),
        Axis("number of perturbations"),
        [
            Histogram(
                "cosine",
                torch.linspace(-1, 1, 81, dtype=torch.float64),
                torch.histc(of_seed.cosines.double(), 81, -1 - 1 / 80, 1 + 1 / 80),
                AGREEMENT,
            )
        ],
        [Zone("random directions", -chance, chance, CONTROLS)],
        note=f"Cosines of {len(of_seed.cosines):,} perturbations of seed {seed}; grey is what random directions reach.",
        size=(3.5, 3.1),
    )


def map_charts(
    drawn: DecisionMap,
    *,
    axes_names: tuple[str, str] = ("a", "b"),
    line_names: tuple[str, str] = ("f̂ = 0", "ĝ = 0"),
) -> list[Chart]:
    """Three maps over one plane: f, g, and where they agree.

    A region's colour is the sign of the network, a solid line its boundary; dashed is f̂ = 0 and dotted ĝ = 0 (the
    limits' boundaries for networks without a bias), each where the map has them. Dots are the projected samples.

    Args:
        drawn: a map with the values ``f`` and ``g``, and possibly ``fhat`` and ``ghat``.
        axes_names: of the two coordinates.
        line_names: of the dashed and of the dotted line.
    """
    names = dict(zip(_PREDICTED, line_names, strict=True))
    limits = (float(drawn.grid[0]), float(drawn.grid[-1]))
    same = drawn.agreement("f", "g")
    samples = []
    if drawn.samples is not None and drawn.labels is not None:
        for sign, look, name in ((1, POSITIVE, "sample, +1"), (-1, NEGATIVE, "sample, −1")):
            shown = drawn.samples[drawn.labels == sign]
            samples.append(Dots(name, shown[:, 0], shown[:, 1], look))

    lines = {
        name: Boundary(names[name], drawn.grid, drawn.values[name], look)
        for name, look in _PREDICTED.items()
        if name in drawn.values
    }

    def chart(title: str, marks: list[Mark], note: str) -> Chart:
        x, y = (Axis(name, limits=limits) for name in axes_names)
        return Chart(title, x, y, [*marks, *samples], note=note, is_square=True, size=(3.5, 3.4))

    charts: list[Chart] = []
    for network in ("f", "g"):
        values = drawn.values[network]
        region = Region(drawn.grid, values > 0, ("light-negative", "light-positive"))
        own = [line for name, line in lines.items() if name == f"{network}hat"]
        boundary = Boundary("decision boundary", drawn.grid, values, _BOUNDARY)
        note = "Violet is +1, amber −1; the solid line is the boundary."
        charts.append(chart(network, [region, boundary, *own], note))
    title = f"sign f = sign g on {100 * float(same.double().mean()):.0f} % of the plane"
    region = Region(drawn.grid, same, ("shaded", "paper"))
    return [*charts, chart(title, [region, *lines.values()], "Grey is where f and g differ.")]


def plane_names(*, has_bias: bool) -> dict[str, tuple[str, str]]:
    """What axes and lines of a map are: NeurIPS24's plane of the class means, or ICLR24's of f's mean units."""
    if has_bias:
        return {"axes_names": ("a (mean of +1)", "b (mean of −1)"), "line_names": ("f̂ = 0", "ĝ = 0")}
    return {
        "axes_names": ("v (mean positive unit of f)", "u (mean negative unit)"),
        "line_names": ("boundary of f's limit", "boundary of g's limit"),
    }
