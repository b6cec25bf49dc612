"""A transfer matrix: perturbations of one architecture, learned by another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from perturblearn.config import config_tree
from perturblearn.experiment import Pair, chance_of
from perturblearn.report.examples import Examples
from perturblearn.report.grid import (
    HeatMap,
    aligned,
    attack_text,
    cell_from_dict,
    cell_to_dict,
    controls_of,
    data_text,
    frame_of,
    has_learned,
    html_lines,
    html_table,
    load_grid,
    mean_of,
    mean_text,
    plural,
    short_names,
    with_spread,
    write_grid,
)
from perturblearn.report.reading import read_transfer
from perturblearn.report.result import Result
from perturblearn.store import ArtefactStore, versions

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

Value = TypeVar("Value")

TRANSFER_SCHEMA = 1
"""Version of the matrix's JSON form; raised when a key changes its meaning or goes."""
_CORNER = "perturbations of"
_FOOLING = ("success", "error")


@dataclass(frozen=True)
class TransferMatrix:
    """How well networks learn from perturbations of networks of other architectures, and of their own.

    Args:
        cells: a result for every pair of a row, the network f whose perturbations they are, and a column, the network g
            that learns from them; both as configurations name them. All over the same seeds.
        fooling: by the same pairs, how often the perturbed inputs of A fool a B that was trained on clean data:
            ``success`` (share that B gives the target, where that is not the label) and ``error`` (share that B no
            longer gives the true label, of what it recognises unperturbed), each with ``mean``, ``std`` and ``values``,
            one per seed of the cell. A pair, one of its two numbers, or a mean or value is absent or None where it was
            not measured.
        key: hash of all cells' stages.
        name: as the user calls the matrix.
        command: makes it again; empty if that takes objects.
        folder: where it was written to; None if nowhere.
        seconds: time spent in the stages that ran.
        versions: of the packages that made it.
    """

    cells: Mapping[Pair, Result]
    fooling: Mapping[Pair, Mapping[str, Any]]
    key: str
    name: str
    command: str = ""
    folder: Path | None = None
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=versions)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> TransferMatrix:
        """The matrix that lies in a folder.

        Raises:
            StoreError: there is none, it is damaged, or a newer version wrote it.
        """
        return load_grid(folder, "transfer", TRANSFER_SCHEMA, _from_dict)

    @property
    def rows(self) -> list[str]:
        """The networks f whose perturbations are learned from."""
        return list(dict.fromkeys(standard for standard, _ in self.cells))

    @property
    def columns(self) -> list[str]:
        """The networks g that learn from them."""
        return list(dict.fromkeys(perturbation for _, perturbation in self.cells))

    @property
    def reading(self) -> str:
        """What the numbers mean, in at most three sentences, with no more certainty than the seeds allow."""
        fooling = {}
        for pair, cell in self.cells.items():
            success = self._fooling(pair, "success")
            if success is not None:
                by_seed = zip((seed["seed"] for seed in cell.seeds), success["values"], strict=True)
                fooling[pair] = {seed: value for seed, value in by_seed if value is not None}
        return read_transfer(self.cells, fooling, self.short_names)

    def to_dict(self) -> dict[str, Any]:
        """The matrix as JSON values: the content of ``transfer.json`` and of ``--json``.

        ``config`` is the first cell's; every cell holds under ``changes`` where its own differs, by dotted name.
        """
        first = next(iter(self.cells.values())).config
        return {
            "schema": TRANSFER_SCHEMA,
            "kind": "transfer matrix",
            "name": self.name,
            "key": self.key,
            "command": self.command,
            "folder": None if self.folder is None else str(self.folder),
            "reading": self.reading,
            "cells": [
                {
                    "standard": pair[0],
                    "perturbation": pair[1],
                    "beats_controls": has_learned(cell),
                    "fooling": {part: _as_dict(self._fooling(pair, part)) for part in _FOOLING},
                    **cell_to_dict(cell, first),
                }
                for pair, cell in self.cells.items()
            ],
            "config": config_tree(first),
            "versions": dict(self.versions),
            "seconds": self.seconds,
        }

    def to_frame(self) -> pandas.DataFrame:
        """One row per f, g and seed: both networks, how often B is fooled, the seed, and `Result.to_frame`'s columns.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return frame_of([(self._columns_of(pair), cell) for pair, cell in self.cells.items()])

    @property
    def heat_maps(self) -> list[HeatMap]:
        """Accuracy of g, and how often B gives A's perturbed inputs their target."""
        chance = chance_of(next(iter(self.cells.values())).seeds)
        fooling = self._table(lambda pair: self._fooling(pair, "success"))
        return [
            HeatMap("accuracy of g on clean held-out inputs", self._table(self._accuracy), chance, "learned by"),
            HeatMap("how often their target is reached", fooling, 0.0, "on another network, trained on clean data"),
        ]

    def plot(self) -> Figure:
        """`heat_maps` in a matplotlib figure."""
        from perturblearn.report.grid_figures import plot_heat_maps

        short = self.short_names
        return plot_heat_maps(
            self.heat_maps,
            rows=[short[name] for name in self.rows],
            columns=[short[name] for name in self.columns],
            title=self.title,
        )

    def write(
        self, store: ArtefactStore, folder: Path, examples: Mapping[str, Examples] | None = None
    ) -> TransferMatrix:
        """Write ``transfer.json``, ``transfer.png``, ``table.csv``, configurations and examples, all at once.

        Args:
            store: lends the scratch space, on the same disk as the folder.
            folder: where to; an older one in its place is replaced.
            examples: perturbed inputs, by whose perturbations they have.

        Returns:
            The matrix, which now knows its folder.

        Raises:
            StoreError: the folder cannot be written.
        """
        finished = replace(self, folder=folder)
        short = self.short_names
        write_grid(
            store,
            folder,
            kind="transfer",
            content=finished.to_dict(),
            figure=self.plot(),
            table=[self._numbers(pair) for pair in self.cells],
            configs=[(f"{short[pair[0]]}-{short[pair[1]]}", cell.config) for pair, cell in self.cells.items()],
            examples=examples or {},
        )
        return finished

    @property
    def short_names(self) -> dict[str, str]:
        """By the name that a configuration holds, how a network is called where room is scarce."""
        return short_names([*self.rows, *self.columns])

    @property
    def title(self) -> str:
        """What was measured, in one line."""
        first = next(iter(self.cells.values()))
        attack = first.config.attack
        source = "bare perturbations" if attack.is_bare else f"{attack.source} sources"
        return (
            f"{self.name}: transfer of perturbations, {data_text(first.config)}, {attack.name}, "
            f"{attack_text(attack)}, {source}, targets {attack.targets}, {plural(len(first.seeds), 'seed')}"
        )

    @property
    def matrices(self) -> list[tuple[str, list[list[str]]]]:
        """What is printed: heads and lines, the first of which names the columns."""
        chance = chance_of(next(iter(self.cells.values())).seeds)
        short = self.short_names
        shown: list[tuple[str, Callable[[Pair], str]]] = [
            (
                f"accuracy of g on clean held-out inputs, over the seeds; chance {chance:.3f}",
                lambda pair: with_spread(self._accuracy(pair)),
            ),
            (
                "the same of its controls, unperturbed / permuted",
                lambda pair: _both(
                    mean_text(controls_of(self.cells[pair]).get(name)) for name in ("unperturbed", "permuted")
                ),
            ),
            (
                "how often perturbed inputs fool another network, trained on clean data: to their target / from their "
                "true label",
                lambda pair: _both(with_spread(self._fooling(pair, part), digits=2) for part in _FOOLING),
            ),
        ]
        return [
            (
                head,
                [
                    [_CORNER, *(short[name] for name in self.columns)],
                    *([short[row], *line] for row, line in zip(self.rows, self._table(cell), strict=True)),
                ],
            )
            for head, cell in shown
        ]

    def _table(self, value: Callable[[Pair], Value]) -> list[list[Value]]:
        """A value for every cell, row by row."""
        return [[value((row, column)) for column in self.columns] for row in self.rows]

    def _accuracy(self, pair: Pair) -> Mapping[str, Any]:
        return self.cells[pair].summary["perturbation_accuracy_heldout"]

    def _fooling(self, pair: Pair, part: str) -> Mapping[str, Any] | None:
        return (self.fooling.get(pair) or {}).get(part)

    def _columns_of(self, pair: Pair) -> dict[str, Any]:
        values = {part: self._fooling(pair, part) for part in _FOOLING}
        return {
            "standard": pair[0],
            "perturbation": pair[1],
            **{f"fooling_{part}": None if found is None else found["values"] for part, found in values.items()},
        }

    def _numbers(self, pair: Pair) -> dict[str, Any]:
        """A line of ``table.csv``."""
        cell, accuracy = self.cells[pair], self._accuracy(pair)
        controls, fooling = controls_of(cell), {part: self._fooling(pair, part) for part in _FOOLING}
        return {
            "standard": pair[0],
            "perturbation": pair[1],
            "standard_accuracy_heldout": cell.summary["standard_accuracy_heldout"]["mean"],
            "perturbation_accuracy_heldout": accuracy["mean"],
            "perturbation_accuracy_heldout_std": accuracy["std"],
            "unperturbed_control_heldout": mean_of(controls.get("unperturbed")),
            "permuted_control_heldout": mean_of(controls.get("permuted")),
            "beats_controls": has_learned(cell),
            **{f"fooling_{part}": mean_of(found) for part, found in fooling.items()},
            **{f"fooling_{part}_std": None if found is None else found["std"] for part, found in fooling.items()},
            "seeds": len(cell.seeds),
        }

    def __str__(self) -> str:
        lines = [line for head, matrix in self.matrices for line in (head, *aligned(matrix), "")]
        rule = "-" * max(map(len, lines))
        return "\n".join((self.title, rule, *lines[:-1], rule, "", self.reading))

    def _repr_html_(self) -> str:
        tables = (html_lines([head]) + html_table(matrix[0], matrix[1:]) for head, matrix in self.matrices)
        return html_lines([self.title]) + "".join(tables) + html_lines([self.reading])


def _both(texts: Iterable[str]) -> str:
    """Two numbers in one cell; one dash where neither was measured."""
    text = " / ".join(texts)
    return "-" if text == "- / -" else text


def _as_dict(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else dict(values)


def _from_dict(content: dict[str, Any], folder: Path) -> TransferMatrix:
    pairs = [(cell["standard"], cell["perturbation"]) for cell in content["cells"]]
    cells = [cell_from_dict(cell, content["config"], content["versions"]) for cell in content["cells"]]
    return TransferMatrix(
        cells=dict(zip(pairs, cells, strict=True)),
        fooling={pair: cell["fooling"] for pair, cell in zip(pairs, content["cells"], strict=True)},
        key=content["key"],
        name=content["name"],
        command=content.get("command", ""),
        folder=folder,
        seconds=content["seconds"],
        versions=content["versions"],
    )
