"""Colours, markers and dashes: what f, g, their controls and everything else look like in every picture and page.

Hues are those of Okabe and Ito, which the colour-blind can tell apart, darkened or lightened until each has a
contrast of at least 3 with its background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dash = Literal["solid", "dash", "dot", "dashdot"]
Marker = Literal["circle", "square", "triangle", "diamond", "inverted", "plus", "cross", "ring"]

COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#14171b"),
    "ink": ("#1b1f24", "#e8eaed"),
    "soft": ("#57606a", "#a9b1ba"),
    "line": ("#d5dae0", "#363c44"),
    "f": ("#0072b2", "#56b4e9"),
    "g": ("#d55e00", "#ff8f4a"),
    "agreement": ("#009e73", "#2fc79a"),
    "control": ("#707880", "#a0a8b0"),
    "other": ("#a3488b", "#e08fc6"),
    "fifth": ("#8a6100", "#f0c04a"),
    "sixth": ("#3f8fb8", "#9fd8ef"),
    "positive": ("#6a3d9a", "#b79ae0"),
    "negative": ("#8f6a00", "#e0b84a"),
    "light-positive": ("#ddd1ec", "#3b2f55"),
    "light-negative": ("#f4e6b8", "#57451a"),
    "shaded": ("#d9d9d9", "#3a4048"),
}
"""By name, the colour on white and the one on a dark page, where it is the CSS variable of that name."""


@dataclass(frozen=True)
class Look:
    """How a series is drawn.

    Args:
        colour: its name in `COLOURS`.
        dash: of its line; None for points alone.
        marker: of its points; None for a line alone.
    """

    colour: str
    dash: Dash | None = "solid"
    marker: Marker | None = None


F = Look("f", marker="circle")
G = Look("g", marker="circle")
AGREEMENT = Look("agreement", marker="circle")
LINEAR = Look("ink", "dash", "cross")
UNPERTURBED = Look("control", "dot", "circle")
PERMUTED = Look("control", "dash", "plus")
CONTROLS = Look("control")
CHANCE = Look("ink", "dot")
POSITIVE = Look("positive", None, "circle")
NEGATIVE = Look("negative", None, "plus")
THEORY: tuple[Look, ...] = tuple(Look("ink", dash) for dash in ("dash", "dot", "dashdot"))
"""Predictions, in their order; a picture has three at most."""

LOOK_OF_PARTY = {"f": "f", "perturbations": "other", "g": "g"}
"""Colours where f, the perturbations and g are compared."""

OF_MEASURES = {
    "standard_accuracy": F,
    "perturbation_accuracy": G,
    "agreement": AGREEMENT,
    "linear_probe": LINEAR,
    "unperturbed_control": UNPERTURBED,
    "permuted_control": PERMUTED,
}
"""By the measure's name without its ending ``_heldout``."""

SERIES = ("g", "agreement", "other", "fifth", "sixth", "ink")
"""Colours of several curves of one measure, such as networks that learn; none is that of f or of a control."""
DASHES: tuple[Dash, ...] = ("solid", "dash", "dot", "dashdot")
_MARKERS: tuple[Marker, ...] = ("circle", "square", "diamond", "triangle", "plus", "cross", "inverted")


def series_looks(count: int) -> list[Look]:
    """Looks of so many curves: colours and markers go round, dashes change after every round of colours."""
    rounds = len(SERIES)
    return [
        Look(SERIES[n % rounds], DASHES[n // rounds % len(DASHES)], _MARKERS[n % len(_MARKERS)]) for n in range(count)
    ]


def css() -> str:
    """The colours as CSS variables: light ones on ``:root``, dark ones where its ``data-theme`` is ``dark``."""
    light, dark = ("".join(f"--{name}:{both[theme]};" for name, both in COLOURS.items()) for theme in (0, 1))
    return f':root{{{light}}}:root[data-theme="dark"]{{{dark}}}'
