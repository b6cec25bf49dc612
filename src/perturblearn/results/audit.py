"""An audit: what the perturbations of one network teach others, over norms, sizes and learners."""

# Pandas is not typed.
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from perturblearn.config import config_tree
from perturblearn.experiment import HELDOUT
from perturblearn.results.cells import config_files, control_columns, frame_of, interval_columns, mean_or_none
from perturblearn.results.data_size import SIZE_COLUMNS
from perturblearn.results.drawing import DrawFigure, Style
from perturblearn.results.files import File, Form, csv_text, json_text
from perturblearn.results.finished import Finished
from perturblearn.results.names import short_names, size_of
from perturblearn.results.result import Result
from perturblearn.results.routes import RouteResult
from perturblearn.results.rows import Row
from perturblearn.results.shown import report_on

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Audit(Finished):
    """What the perturbations of f teach networks that see nothing else, over norms, epsilons and learners.

    Args:
        cells: a result for every combination, all of one f and its data; at least one. What tells them apart is
            ``config.attack`` and ``config.perturbation.model.name``.
        key: hash of all cells' stages.
        name: as the user calls the audit.
        command: makes it again; empty if that takes objects.
        routes: why g learned, route by route; empty if not asked for.
    """

    form: ClassVar[Form] = Form("audit.json", "audit", 1, "audit", "run the audit again")

    cells: Sequence[Result]
    key: str
    name: str
    command: str = ""
    routes: Sequence[RouteResult] = ()

    @property
    def model(self) -> str:
        """The audited network f, as the configuration names it."""
        return self.cells[0].config.standard.model.name

    @property
    def verdict(self) -> str:
        """Whether perturbations teach the classes, and the numbers that say so."""
        return report_on(self).verdict

    @property
    def warnings(self) -> list[str]:
        """What makes the numbers weaker than they look."""
        return report_on(self).warnings

    @property
    def short_names(self) -> dict[str, str]:
        """By the name that a configuration holds, how a network is called where room is scarce."""
        return short_names([self.model, *(cell.learner for cell in self.cells)])

    def _content(self) -> dict[str, Any]:
        # ``config`` is the first cell's; every cell holds under ``changes`` where its own differs, by dotted name.
        first = self.cells[0].config
        return {
            "name": self.name,
            "key": self.key,
            "command": self.command,
            "verdict": self.verdict,
            "warnings": self.warnings,
            "model": self.model,
            "cells": [
                {**_coordinates(cell), "beats_controls": cell.has_learned, **cell.as_cell(first)} for cell in self.cells
            ],
            "routes": [route.to_dict(first) for route in self.routes],
            "config": config_tree(first),
            "seconds": self.seconds,
        }

    @classmethod
    def _from_dict(cls, content: dict[str, Any], folder: Path) -> Audit:
        return cls(
            cells=[Result.from_cell(cell, content) for cell in content["cells"]],
            key=content["key"],
            name=content["name"],
            command=content.get("command", ""),
            routes=tuple(RouteResult.from_dict(route, content) for route in content.get("routes", ())),
            seconds=content["seconds"],
        )

    def to_frame(self) -> pandas.DataFrame:
        """One row per cell and seed: learner, norm, epsilon, seed, and the columns of `Result.to_frame`.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return frame_of((_coordinates(cell), cell) for cell in self.cells)

    def plot(self, style: Style | None = None) -> Figure:
        """Accuracy of g over epsilon, a panel per norm and a line per learner, as a matplotlib figure.

        Bars are the standard deviation over the seeds, the band is what the controls' draws reach.

        Args:
            style: as for `Result.plot`.

        Raises:
            ConfigError: the style cannot be used.
        """
        return report_on(self).plot(style)

    def to_csv(self) -> str:
        """A row per cell in CSV."""
        rows = [_row(cell) for cell in self.cells]
        return csv_text(list(rows[0]), rows)

    def figures(self) -> Iterator[tuple[str, DrawFigure]]:
        """Accuracy of g over epsilon, and that of each route beside its control."""
        yield "audit", lambda _, style: self.plot(style)
        if self.routes:
            yield "why", lambda _, style: report_on(self).plot_why(style)

    def files(self) -> Iterator[File]:
        """``audit.json``, the configurations of cells and routes, and ``why.csv`` with a row per route."""
        yield self.form.file, json_text(self.to_dict())
        if self.routes:
            rows = [route.row for route in self.routes]
            yield "why.csv", csv_text(list(rows[0]), rows)
        cells = [(self._file_name(cell), cell.config) for cell in self.cells]
        ran = ((route, route.result) for route in self.routes)
        routes = [(f"{self._file_name(found)}-{route.name}", found.config) for route, found in ran if found is not None]
        yield from config_files([*cells, *routes])

    def _file_name(self, cell: Result) -> str:
        attack = cell.config.attack
        return f"{self.short_names[cell.learner]}-{attack.norm}-{size_of(attack)[1]}"

    def __repr__(self) -> str:
        return self._describe(repr(self.name), f"{len(self.cells)} combinations", f"{len(self.cells[0].seeds)} seeds")


def _coordinates(cell: Result) -> Row:
    """What tells a cell from the others; of an attack that coordinates alone bound, epsilon is their number."""
    attack = cell.config.attack
    return {"learner": cell.learner, "norm": attack.norm, "epsilon": size_of(attack)[0]}


def _row(cell: Result) -> Row:
    """A row of ``table.csv``."""
    summary, g = cell.summary, cell.summary[HELDOUT.perturbation]
    return {
        **_coordinates(cell),
        "attack_success": summary["attack_success"]["mean"],
        "standard_accuracy_heldout": summary[HELDOUT.standard]["mean"],
        "perturbation_accuracy_heldout": g["mean"],
        "perturbation_accuracy_heldout_std": g["std"],
        **interval_columns(cell),
        **control_columns(cell),
        "linear_probe_heldout": mean_or_none(summary.get(HELDOUT.linear_probe)),
        "beats_controls": cell.has_learned,
        "seeds": len(cell.seeds),
        **(dict.fromkeys(SIZE_COLUMNS) if cell.size is None else cell.size.to_dict()),
    }
