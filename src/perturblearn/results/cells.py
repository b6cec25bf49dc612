"""What audits and transfer matrices share: cells that are results, over which there is a table and a folder."""

# Pandas is not typed.
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from perturblearn.config import ExperimentConfig, to_toml
from perturblearn.experiment import HELDOUT, ControlSummary, Spread
from perturblearn.results.examples import Examples
from perturblearn.results.files import File
from perturblearn.results.result import Result
from perturblearn.results.rows import Row, to_frame

if TYPE_CHECKING:
    import pandas

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


def mean_or_none(values: Spread | ControlSummary | None) -> float | None:
    """The mean; None where nothing was measured."""
    return None if values is None else values["mean"]


def control_columns(cell: Result) -> dict[str, float | None]:
    """Means of the controls on held-out inputs, as columns of a table."""
    unperturbed, permuted = cell.controls.get("unperturbed"), cell.controls.get("permuted")
    return {
        "unperturbed_control_heldout": mean_or_none(unperturbed),
        "permuted_control_heldout": mean_or_none(permuted),
    }


def interval_columns(cell: Result) -> dict[str, float | None]:
    """The sampling interval of g's accuracy on held-out inputs, as columns of a table."""
    low, high = cell.summary[HELDOUT.perturbation].get("interval", (None, None))
    return {"perturbation_accuracy_heldout_low": low, "perturbation_accuracy_heldout_high": high}


def frame_of(cells: Iterable[tuple[Row, Result]]) -> pandas.DataFrame:
    """One row per cell and seed: what tells the cell from others, the seed, and the columns of `Result.to_frame`.

    Args:
        cells: with the columns of each; a value that is a list has one entry per seed.

    Raises:
        ModuleNotFoundError: pandas is not installed.
    """
    return to_frame(
        [
            {**{name: value[place] if isinstance(value, list) else value for name, value in columns.items()}, **row}
            for columns, cell in cells
            for place, row in enumerate(cell.rows)
        ]
    )


def config_files(configs: Sequence[tuple[str, ExperimentConfig]]) -> Iterator[File]:
    """The cells' configurations, by what each file is called."""
    for number, (name, config) in enumerate(configs, start=1):
        yield f"cells/{number:02d}-{_NOT_PLAIN.sub('_', name)}.toml", to_toml(config)


def example_files(examples: Mapping[str, Examples]) -> Iterator[File]:
    """Perturbed inputs, by what each file is called."""
    for number, (name, shown) in enumerate(examples.items(), start=1):
        yield f"examples/{number:02d}-{_NOT_PLAIN.sub('_', name)}.safetensors", partial(shown.save, name=name)
