"""A transfer matrix: perturbations of one architecture, learned by another."""

# Pandas is not typed.
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from perturblearn.config import config_tree
from perturblearn.experiment import HELDOUT, FoolingSummary, Pair
from perturblearn.results.cells import config_files, control_columns, frame_of, interval_columns, mean_or_none
from perturblearn.results.data_size import SIZE_COLUMNS
from perturblearn.results.drawing import DrawFigure, Style
from perturblearn.results.files import File, Form, csv_text, json_text
from perturblearn.results.finished import Finished
from perturblearn.results.names import short_names
from perturblearn.results.result import Result
from perturblearn.results.rows import Row
from perturblearn.results.shown import report_on

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class TransferMatrix(Finished):
    """How well networks learn from perturbations of networks of other architectures, and of their own.

    Args:
        cells: a result for every pair of a row, the network f whose perturbations they are, and a column, the network g
            that learns from them; both as configurations name them. All over the same seeds.
        fooling: by the same pairs, how often the perturbed inputs of A fool a B that was trained on clean data, with
            one value per seed of the cell; a pair is absent where it was not measured.
        key: hash of all cells' stages.
        name: as the user calls the matrix.
        command: makes it again; empty if that takes objects.
    """

    form: ClassVar[Form] = Form("transfer.json", "transfer matrix", 1, "transfer matrix", "run the transfer again")

    cells: Mapping[Pair, Result]
    fooling: Mapping[Pair, FoolingSummary]
    key: str
    name: str
    command: str = ""

    @property
    def first(self) -> Result:
        """The first cell."""
        return next(iter(self.cells.values()))

    @property
    def rows(self) -> list[str]:
        """The networks f whose perturbations are learned from."""
        return list(dict.fromkeys(standard for standard, _ in self.cells))

    @property
    def columns(self) -> list[str]:
        """The networks g that learn from them."""
        return list(dict.fromkeys(perturbation for _, perturbation in self.cells))

    @property
    def short_names(self) -> dict[str, str]:
        """By the name that a configuration holds, how a network is called where room is scarce."""
        return short_names([*self.rows, *self.columns])

    @property
    def reading(self) -> str:
        """What the numbers mean, with no more certainty than the seeds allow."""
        return report_on(self).reading

    def fooling_of(self, pair: Pair) -> FoolingSummary:
        """How often the first network's perturbed inputs fool the second one."""
        return self.fooling.get(pair, FoolingSummary())

    def _content(self) -> dict[str, Any]:
        # ``config`` is the first cell's; every cell holds under ``changes`` where its own differs, by dotted name.
        first = self.first.config
        return {
            "name": self.name,
            "key": self.key,
            "command": self.command,
            "reading": self.reading,
            "cells": [
                {
                    "standard": pair[0],
                    "perturbation": pair[1],
                    "beats_controls": cell.has_learned,
                    "fooling": asdict(self.fooling_of(pair)),
                    **cell.as_cell(first),
                }
                for pair, cell in self.cells.items()
            ],
            "config": config_tree(first),
            "seconds": self.seconds,
        }

    @classmethod
    def _from_dict(cls, content: dict[str, Any], folder: Path) -> TransferMatrix:
        pairs: list[Pair] = [(cell["standard"], cell["perturbation"]) for cell in content["cells"]]
        fooling = [FoolingSummary(cell["fooling"]["success"], cell["fooling"]["error"]) for cell in content["cells"]]
        cells = [Result.from_cell(cell, content) for cell in content["cells"]]
        return cls(
            cells=dict(zip(pairs, cells, strict=True)),
            fooling=dict(zip(pairs, fooling, strict=True)),
            key=content["key"],
            name=content["name"],
            command=content.get("command", ""),
            seconds=content["seconds"],
        )

    def to_frame(self) -> pandas.DataFrame:
        """One row per f, g and seed: both networks, how often B is fooled, the seed, and `Result.to_frame`'s columns.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """

        def columns(pair: Pair) -> Row:
            fooling = self.fooling_of(pair)
            return {
                "standard": pair[0],
                "perturbation": pair[1],
                "fooling_success": None if fooling.success is None else fooling.success["values"],
                "fooling_error": None if fooling.error is None else fooling.error["values"],
            }

        return frame_of((columns(pair), cell) for pair, cell in self.cells.items())

    def plot(self, style: Style | None = None) -> Figure:
        """Accuracy of g, and how often B gives A's perturbed inputs their target, as heat maps by matplotlib.

        Args:
            style: as for `Result.plot`.

        Raises:
            ConfigError: the style cannot be used.
        """
        return report_on(self).plot(style)

    def to_csv(self) -> str:
        """A row per cell in CSV."""
        rows = [self._row(pair) for pair in self.cells]
        return csv_text(list(rows[0]), rows)

    def figures(self) -> Iterator[tuple[str, DrawFigure]]:
        """Both heat maps."""
        yield "transfer", lambda _, style: self.plot(style)

    def files(self) -> Iterator[File]:
        """``transfer.json`` and the cells' configurations."""
        short = self.short_names
        yield self.form.file, json_text(self.to_dict())
        yield from config_files(
            [(f"{short[pair[0]]}-{short[pair[1]]}", cell.config) for pair, cell in self.cells.items()]
        )

    def _row(self, pair: Pair) -> Row:
        """A row of ``table.csv``."""
        cell, fooling = self.cells[pair], self.fooling_of(pair)
        g = cell.summary[HELDOUT.perturbation]
        return {
            "standard": pair[0],
            "perturbation": pair[1],
            "standard_accuracy_heldout": cell.summary[HELDOUT.standard]["mean"],
            "perturbation_accuracy_heldout": g["mean"],
            "perturbation_accuracy_heldout_std": g["std"],
            **interval_columns(cell),
            **control_columns(cell),
            "beats_controls": cell.has_learned,
            "fooling_success": mean_or_none(fooling.success),
            "fooling_error": mean_or_none(fooling.error),
            "fooling_success_std": None if fooling.success is None else fooling.success["std"],
            "fooling_error_std": None if fooling.error is None else fooling.error["std"],
            "seeds": len(cell.seeds),
            **(dict.fromkeys(SIZE_COLUMNS) if cell.size is None else cell.size.to_dict()),
        }

    def __repr__(self) -> str:
        return self._describe(repr(self.name), f"{len(self.rows)} x {len(self.columns)} networks")
