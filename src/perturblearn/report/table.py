"""The table of a run's measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.config import ExperimentConfig
from perturblearn.experiment import MEASURES

HEADS = ("measure", "mean", "std", "median", "n", "measured on")


@dataclass(frozen=True)
class Row:
    """One measure: its name, its numbers as text, and what it was measured on.

    Args:
        name: as in ``summary``.
        numbers: mean, standard deviation, median, number of values.
        measured_on: in words, for a control with the share of its draws that g beats.
    """

    name: str
    numbers: tuple[str, str, str, str]
    measured_on: str


def table_rows(summary: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The rows of the table, in the order of the experiment; a maximum over a grid of one is left out."""
    shown = [name for name in MEASURES if name in summary]
    return [
        _row(name, summary[name])
        for name in shown
        if not (name.endswith("_max") and summary[name] == summary[name.removesuffix("_max")])
    ]


def table_text(rows: Sequence[Row], config: ExperimentConfig) -> str:
    """The table as aligned plain text."""
    cells = [HEADS, *((row.name, *row.numbers, row.measured_on) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADS) - 1)]
    lines = [
        "  ".join(
            (
                line[0].ljust(widths[0]),
                *(line[column].rjust(widths[column]) for column in range(1, len(widths))),
                line[-1],
            )
        ).rstrip()
        for line in cells
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join((title(config), rule, lines[0], rule, *lines[1:], rule))


def title(config: ExperimentConfig) -> str:
    """What was run, in one line."""
    attack = config.attack
    classes = f" {' vs '.join(config.data.classes)}" if config.data.classes else ""
    pixels = f" on {attack.pixels} coordinates" if attack.pixels else ""
    source = "bare perturbations" if attack.source == "none" else f"{attack.source} sources"
    seeds = f"{len(config.seeds)} seed" + "s" * (len(config.seeds) > 1)
    # A path's last part tells what it was; the whole would not fit a line.
    data = config.data.provider if config.data.path is None else f"{config.data.provider}:{Path(config.data.path).name}"
    return (
        f"{config.name}: {data}{classes}, {attack.norm} epsilon {attack.epsilon:g}{pixels}, {source}, "
        f"targets {attack.targets}, {seeds}"
    )


def _row(name: str, values: Mapping[str, Any]) -> Row:
    measured_on = MEASURES[name]
    if "beaten" in values:
        measured_on += f"; g beats {values['beaten']:.0%} of draws"
        if values["at_chance"] is False:
            measured_on += "; mean NOT at chance"
    known = sum(value is not None for value in values["values"])
    numbers = (_number(values["mean"]), _number(values["std"]), _number(values["median"]), str(known))
    return Row(name, numbers, measured_on)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
