"""Learning rates chosen without a clean label for g, and the papers' maxima beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SELECTED_BY = {
    "standard": "highest held-out accuracy, the first of equals",
    "perturbation": "lowest loss on the held-out perturbed set",
}
"""The rules, in words."""


_OF_STANDARD = ("standard_accuracy", "standard_accuracy_heldout", "cosine_similarity")


@dataclass(frozen=True)
class Selected:
    """Which learning rates count.

    Args:
        standard, perturbation: positions of those of f and of g.
        maxima: the papers' maximum of each measure over all pairs, by its name with ``_max``.
    """

    standard: int
    perturbation: int
    maxima: Mapping[str, float]


def select(standards: Sequence[Mapping[str, float]], grid: Sequence[Sequence[Mapping[str, float | None]]]) -> Selected:
    """Choose one pair of learning rates from a grid, and take the papers' maximum of each measure over all pairs.

    f's rate is chosen by its held-out accuracy, g's by the lowest loss on a held-out perturbed set: accuracy there is
    blind for bare perturbations, whose sign g's bias decides.

    Args:
        standards: measures of f, one per learning rate of f.
        grid: measures of g, a row per learning rate of f, a column per learning rate of g.
    """
    row = max(range(len(standards)), key=lambda index: standards[index]["standard_accuracy_heldout"])
    column = min(range(len(grid[row])), key=lambda index: _loss(grid[row][index]))
    maxima = {
        f"{name}_max": max(measures[name] for measures in standards) for name in _OF_STANDARD if name in standards[0]
    }
    pairs = [measures for measured in grid for measures in measured]
    for name in ("perturbation_accuracy", "perturbation_accuracy_heldout", "agreement"):
        maxima[f"{name}_max"] = max(_value(measures, name) for measures in pairs)
    return Selected(row, column, maxima)


def _loss(measures: Mapping[str, float | None]) -> float:
    return _value(measures, "perturbed_loss_heldout")


def _value(measures: Mapping[str, float | None], name: str) -> float:
    value = measures[name]
    assert value is not None, f"{name} is always measured"
    return value
