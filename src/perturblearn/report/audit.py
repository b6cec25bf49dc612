"""An audit: what the perturbations of one network teach others, over norms, sizes and learners."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perturblearn.config import config_tree
from perturblearn.experiment import BEATEN_SHARE, chance_of
from perturblearn.report.examples import Examples
from perturblearn.report.grid import (
    aligned,
    cell_from_dict,
    cell_to_dict,
    controls_of,
    data_text,
    frame_of,
    has_learned,
    html_lines,
    html_table,
    learner_of,
    load_grid,
    mean_of,
    mean_text,
    plural,
    short_names,
    size_of,
    with_spread,
    write_grid,
)
from perturblearn.report.result import Result
from perturblearn.report.verdict import audit_verdict, audit_warnings
from perturblearn.store import ArtefactStore, versions

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

AUDIT_SCHEMA = 1
"""Version of the audit's JSON form; raised when a key changes its meaning or goes."""
HEADS = (
    "learner",
    "norm",
    "epsilon",
    "success",
    "f (clean)",
    "g",
    "unperturbed",
    "permuted",
    "linear",
    "beats controls",
)
"""Of the table."""


@dataclass(frozen=True)
class Audit:
    """What the perturbations of f teach networks that see nothing else, over norms, epsilons and learners.

    Args:
        cells: a result for every combination, all of one f and its data; at least one. What tells them apart is
            ``config.attack`` and ``config.perturbation.model.name``.
        key: hash of all cells' stages.
        name: as the user calls the audit.
        command: makes it again; empty if that takes objects.
        folder: where it was written to; None if nowhere.
        seconds: time spent in the stages that ran.
        versions: of the packages that made it.
    """

    cells: Sequence[Result]
    key: str
    name: str
    command: str = ""
    folder: Path | None = None
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=versions)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Audit:
        """The audit that lies in a folder.

        Raises:
            StoreError: there is none, it is damaged, or a newer version wrote it.
        """
        return load_grid(folder, "audit", AUDIT_SCHEMA, _from_dict)

    @property
    def model(self) -> str:
        """The audited network f, as the configuration names it."""
        return self.cells[0].config.standard.model.name

    @property
    def verdict(self) -> str:
        """What is learned from the perturbations, and how much of it is more than linear leakage: two sentences."""
        return audit_verdict(self.cells, self.short_names)

    @property
    def warnings(self) -> list[str]:
        """What makes the numbers weaker than they look."""
        return audit_warnings(self.cells)

    def to_dict(self) -> dict[str, Any]:
        """The audit as JSON values: the content of ``audit.json`` and of ``--json``.

        ``config`` is the first cell's; every cell holds under ``changes`` where its own differs, by dotted name.
        """
        first = self.cells[0].config
        return {
            "schema": AUDIT_SCHEMA,
            "kind": "audit",
            "name": self.name,
            "key": self.key,
            "command": self.command,
            "folder": None if self.folder is None else str(self.folder),
            "verdict": self.verdict,
            "warnings": self.warnings,
            "model": self.model,
            "cells": [
                {**_coordinates(cell), "beats_controls": has_learned(cell), **cell_to_dict(cell, first)}
                for cell in self.cells
            ],
            "config": config_tree(first),
            "versions": dict(self.versions),
            "seconds": self.seconds,
        }

    def to_frame(self) -> pandas.DataFrame:
        """One row per cell and seed: learner, norm, epsilon, seed, and the columns of `Result.to_frame`.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return frame_of([(_coordinates(cell), cell) for cell in self.cells])

    def plot(self) -> Figure:
        """Accuracy of g over epsilon, a panel per norm and a line per learner, as a matplotlib figure.

        Bars are the standard deviation over the seeds, the band is what the controls' draws reach.
        """
        from perturblearn.report.grid_figures import plot_audit

        return plot_audit(self.cells, self.title)

    def write(self, store: ArtefactStore, folder: Path, examples: Mapping[str, Examples] | None = None) -> Audit:
        """Write ``audit.json``, ``audit.png``, ``table.csv``, the cells' configurations and examples, all at once.

        Args:
            store: lends the scratch space, on the same disk as the folder.
            folder: where to; an older one in its place is replaced.
            examples: perturbed inputs, by what was done to them.

        Returns:
            The audit, which now knows its folder.

        Raises:
            StoreError: the folder cannot be written.
        """
        finished = replace(self, folder=folder)
        short = self.short_names
        write_grid(
            store,
            folder,
            kind="audit",
            content=finished.to_dict(),
            figure=self.plot(),
            table=[_numbers(cell) for cell in self.cells],
            configs=[
                (f"{short[learner_of(cell)]}-{cell.config.attack.norm}-{size_of(cell.config.attack)[1]}", cell.config)
                for cell in self.cells
            ],
            examples=examples or {},
        )
        return finished

    @property
    def short_names(self) -> dict[str, str]:
        """By the name that a configuration holds, how a network is called where room is scarce."""
        return short_names([self.model, *(learner_of(cell) for cell in self.cells)])

    @property
    def title(self) -> str:
        """What was audited, in one line."""
        attack = self.cells[0].config.attack
        attacks = " and ".join(dict.fromkeys(cell.config.attack.name for cell in self.cells))
        source = "bare perturbations" if attack.is_bare else f"{attack.source} sources"
        return (
            f"{self.name}: perturbations of {self.short_names[self.model]}, {data_text(self.cells[0].config)}, "
            f"{attacks}, {source}, targets {attack.targets}, {plural(len(self.cells[0].seeds), 'seed')}"
        )

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The table's lines under `HEADS`."""
        short = self.short_names
        return [_line(cell, short[learner_of(cell)]) for cell in self.cells]

    @property
    def legend(self) -> list[str]:
        """What the table's columns mean."""
        return [
            "success: targets reached on f; the other numbers: accuracy on clean held-out inputs, where chance is "
            f"{chance_of(self.cells[0].seeds):.3f}",
            "linear: a linear classifier of g's perturbed set; beats controls: g beats "
            f"{BEATEN_SHARE:.0%} of the draws of each, and chance",
        ]

    def __str__(self) -> str:
        lines = aligned([HEADS, *self.lines])
        rule = "-" * max(map(len, lines))
        return "\n".join(
            (self.title, rule, lines[0], rule, *lines[1:], rule, *self.legend, "", self.verdict, *self.warnings)
        )

    def _repr_html_(self) -> str:
        table = html_table(HEADS, self.lines)
        return html_lines([self.title]) + table + html_lines([*self.legend, self.verdict, *self.warnings])


def _from_dict(content: dict[str, Any], folder: Path) -> Audit:
    return Audit(
        cells=[cell_from_dict(cell, content["config"], content["versions"]) for cell in content["cells"]],
        key=content["key"],
        name=content["name"],
        command=content.get("command", ""),
        folder=folder,
        seconds=content["seconds"],
        versions=content["versions"],
    )


def _coordinates(cell: Result) -> dict[str, Any]:
    """What tells a cell from the others; of an attack that coordinates alone bound, epsilon is their number."""
    attack = cell.config.attack
    return {"learner": learner_of(cell), "norm": attack.norm, "epsilon": size_of(attack)[0]}


def _numbers(cell: Result) -> dict[str, Any]:
    """A line of ``table.csv``."""
    controls, g = controls_of(cell), cell.summary["perturbation_accuracy_heldout"]
    return {
        **_coordinates(cell),
        "attack_success": cell.summary["attack_success"]["mean"],
        "standard_accuracy_heldout": cell.summary["standard_accuracy_heldout"]["mean"],
        "perturbation_accuracy_heldout": g["mean"],
        "perturbation_accuracy_heldout_std": g["std"],
        "unperturbed_control_heldout": mean_of(controls.get("unperturbed")),
        "permuted_control_heldout": mean_of(controls.get("permuted")),
        "linear_probe_heldout": mean_of(cell.summary.get("linear_probe_heldout")),
        "beats_controls": has_learned(cell),
        "seeds": len(cell.seeds),
    }


def _line(cell: Result, learner: str) -> tuple[str, ...]:
    """A line of the printed table."""
    attack, summary, controls = cell.config.attack, cell.summary, controls_of(cell)
    return (
        learner,
        attack.norm,
        size_of(attack)[1],
        mean_text(summary["attack_success"]),
        mean_text(summary["standard_accuracy_heldout"]),
        with_spread(summary["perturbation_accuracy_heldout"]),
        mean_text(controls.get("unperturbed")),
        mean_text(controls.get("permuted")),
        mean_text(summary.get("linear_probe_heldout")),
        {True: "yes", False: "no", None: "-"}[has_learned(cell)],
    )
