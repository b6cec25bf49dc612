"""Results handed on to experiment trackers, under the names that they have in `result.json` and in a sweep's tables."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from perturblearn.api.trackers import TRACKERS, TrackedRun
from perturblearn.config import JSON, ExperimentConfig, fields, value_of
from perturblearn.errors import ConfigError
from perturblearn.experiment import numbers_of
from perturblearn.graph import content_key
from perturblearn.results import TRACKING, Audit, Result, SweepResult, TransferMatrix, size_of


def tracker_names(track: str | Sequence[str]) -> tuple[str, ...]:
    """The trackers that are asked for, each once.

    Args:
        track: their names, as a sequence or with commas between them.

    Raises:
        ConfigError: there is no such tracker, or it is not installed.
    """
    names = [name.strip() for name in track.split(",")] if isinstance(track, str) else track
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f"track has {name!r}, but a tracker is one of {', '.join(TRACKERS)}; name one of these")
        if find_spec(name) is None:
            raise ConfigError(f"track has {name!r}, which is not installed; pip install 'perturblearn[{name}]'")
    return tuple(dict.fromkeys(names))


def track(result: Any, names: Sequence[str], out: str | os.PathLike[str]) -> None:
    """Hand a finished result on to trackers. What a tracker already has is not handed on again.

    Args:
        result: a run, sweep, audit or transfer matrix.
        names: of the trackers.
        out: the folder of results, in which trackers without a server write.

    Warns:
        UserWarning: a tracker cannot be used; the result itself is complete.
    """
    if not names:
        return
    folder = Path(out).absolute() / TRACKING
    runs = list(_tracked_runs(result))
    for name in names:
        try:
            TRACKERS[name](runs, folder)
        except Exception as error:  # noqa: BLE001 - whatever a tracker does, it must not lose a finished result
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(f"{name} could not take the result ({reason}); the result itself is complete", stacklevel=3)


def _tracked_runs(result: Any) -> Iterator[TrackedRun]:
    """What trackers call runs: the run itself, a sweep's points, or the combinations of an audit or a matrix."""
    match result:
        case Result():
            yield _of_cell(result, result.config.name)
        case Audit():
            for cell in result.cells:
                attack = cell.config.attack
                yield _of_cell(cell, f"{result.name} {cell.learner} {attack.norm} {size_of(attack)[1]}")
        case TransferMatrix():
            for (standard, perturbation), cell in result.cells.items():
                yield _of_cell(cell, f"{result.name} {standard} {perturbation}")
        case SweepResult():
            for point, found in zip(result.points, result.table, strict=True):
                runs = [run for run in result.runs if run.point == found.number and run.error is None]
                name = f"{result.sweep.name} {found.number}"
                yield TrackedRun(
                    name,
                    content_key([name, result.key]),
                    _settings(point.config),
                    {run.seed: _known(run.numbers) for run in runs},
                    _known({**({} if found.size is None else found.size.to_dict()), **found.statistics}),
                )
        case _:
            raise AssertionError(f"{type(result).__name__} is not tracked")


def _of_cell(cell: Result, name: str) -> TrackedRun:
    """A run, or a combination of settings of several."""
    seeds = {seed.seed: _known(numbers_of(seed)) for seed in cell.seeds}
    summary = {
        f"{measure}_{statistic}": value
        for measure, values in cell.summary.items()
        for statistic in ("mean", "std")
        if (value := values[statistic]) is not None
    }
    return TrackedRun(name, content_key([name, cell.key]), _settings(cell.config), seeds, summary)


def _known(numbers: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _settings(config: ExperimentConfig) -> dict[str, JSON]:
    """By dotted key its value."""
    found = {name: value_of(config, name) for name, _ in fields()}
    return {name: value for name, value in found.items() if value is not None}
