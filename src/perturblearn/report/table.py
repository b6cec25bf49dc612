"""The table of a run's measures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.config import ExperimentConfig, SparseAttackConfig
from perturblearn.experiment import COMPARISONS, MEASURES, NETWORK_COMPARISONS

HEADS = ("measure", "mean", "std", "median", "n", "measured on")
_COMPARED = {**COMPARISONS, **NETWORK_COMPARISONS}


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
    shown = [name for name in {**MEASURES, **_COMPARED} if name in summary]
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


def classes_text(classes: Sequence[Mapping[str, Any]]) -> str:
    """`class_lines` as aligned plain text."""
    return _aligned(class_lines(classes))


def class_lines(classes: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Heads, and a line per class in means over the seeds: count, accuracies, agreement, attack success, what g says.

    Args:
        classes: per seed, as `measure_classes` gives them.
    """
    names = classes[0]["names"]
    heads = ("class (held-out)", "n", "f", "g", "agreement", "success", "g says")
    lines: list[tuple[str, ...]] = [heads]
    for row, name in enumerate(names):
        means = [
            _mean_of(of_seed[measure][row] for of_seed in classes)
            for measure in ("standard_accuracy", "perturbation_accuracy", "agreement", "attack_success")
        ]
        counts = [sum(of_seed["confusion"][row][column] for of_seed in classes) for column in range(len(names))]
        total = sum(of_seed["n_heldout"][row] for of_seed in classes)
        often = max(range(len(names)), key=counts.__getitem__)
        says = f"{names[often]} ({counts[often] / total:.0%})" if total else "-"
        lines.append((name, str(classes[0]["n_heldout"][row]), *(_short(mean) for mean in means), says))
    return lines


def groups_text(groups: Sequence[Mapping[str, Any]]) -> str:
    """`group_lines` as aligned plain text."""
    return _aligned(group_lines(groups))


def group_lines(groups: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Heads, and a line per group, in means over the seeds: how many, accuracies and agreement.

    Args:
        groups: per seed, as `measure_groups` gives them.
    """
    lines: list[tuple[str, ...]] = [("group (held-out)", "n", "f", "g", "agreement")]
    for row, name in enumerate(groups[0]["names"]):
        means = [
            _mean_of(of_seed[measure][row] for of_seed in groups)
            for measure in ("standard_accuracy", "perturbation_accuracy", "agreement")
        ]
        lines.append((name, str(groups[0]["n_heldout"][row]), *(_short(mean) for mean in means)))
    return lines


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of as many cells each: names to the left, numbers to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            (line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)))
        )
        for line in lines
    )


def _mean_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def title(config: ExperimentConfig) -> str:
    """What was run, in one line."""
    attack = config.attack
    classes = f" {' vs '.join(config.data.chosen_classes)}" if config.data.chosen_classes else ""
    pixels = f" on {attack.coordinates}" if isinstance(attack, SparseAttackConfig) and attack.coordinates else ""
    source = "bare perturbations" if attack.is_bare else f"{attack.source} sources"
    if config.mixing.is_mixed:
        source += f", {100 * config.mixing.perturbed_share:g} % perturbed among clean ones"
    seeds = f"{len(config.seeds)} seed" + "s" * (len(config.seeds) > 1)
    # A path's last part tells what it was; the whole would not fit a line.
    data = config.data.provider if config.data.path is None else f"{config.data.provider}:{Path(config.data.path).name}"
    size = "" if attack.norm == "l0" and attack.is_search else f" epsilon {attack.epsilon:g}"
    # Two-layer networks go without saying.
    models = [section.model.name for section in (config.standard, config.perturbation)]
    networks = f", f {models[0]}, g {models[1]}" if any(name != "two_layer" for name in models) else ""
    return (
        f"{config.name}: {data}{classes}{networks}, {attack.norm}{size}{pixels}, {source}, "
        f"targets {attack.targets}, {seeds}"
    )


def _row(name: str, values: Mapping[str, Any]) -> Row:
    measured_on = {**_COMPARED, **MEASURES}[name]
    if "beaten" in values:
        measured_on += f"; g beats {values['beaten']:.0%} of draws"
        if values["at_chance"] is False:
            measured_on += "; mean NOT at chance"
    known = sum(value is not None for value in values["values"])
    numbers = (_number(values["mean"]), _number(values["std"]), _number(values["median"]), str(known))
    return Row(name, numbers, measured_on)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
