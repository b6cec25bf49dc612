"""The experiment trackers that take results. Each is imported when it is used."""

# None of them need be installed.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.config import Keys

PROJECT = "perturblearn"
"""What trackers call the experiment or project, where their own environment variables do not."""


@dataclass(frozen=True)
class TrackedRun:
    """One run as trackers know it.

    Args:
        name: for people.
        key: hash of the work and the name.
        settings: by dotted key of the configuration, its value.
        seeds: by seed, which is the step, the numbers that it measured.
        summary: mean and deviation of every number over the seeds.
    """

    name: str
    key: str
    settings: Keys
    seeds: Mapping[int, Mapping[str, float]]
    summary: Mapping[str, float]


def to_tensorboard(runs: Sequence[TrackedRun], folder: Path) -> None:
    """Write an event file for each run, in float64."""
    from torch.utils.tensorboard import SummaryWriter

    for run in runs:
        place = folder / "tensorboard" / f"{run.name}-{run.key[:10]}".replace("/", "-")
        if place.exists():
            continue
        scratch = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            with SummaryWriter(scratch) as writer:
                for step, numbers in _steps(run):
                    for name, value in numbers.items():
                        writer.add_scalar(name, value, step, new_style=True, double_precision=True)
                writer.add_text("settings", "\n".join(f"    {name} = {value}" for name, value in run.settings.items()))
            scratch.rename(place)  # whole or not at all
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def to_mlflow(runs: Sequence[TrackedRun], folder: Path) -> None:
    """Log each run to the server that ``MLFLOW_TRACKING_URI`` names, otherwise to ``mlflow.db`` in the folder."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    folder.mkdir(exist_ok=True)
    address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(address)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name)
    for run in runs:
        known = client.search_runs(
            [number], f"tags.`perturblearn.key` = '{run.key}' and attributes.status = 'FINISHED'"
        )
        if known:
            continue
        made = client.create_run(number, run_name=run.name, tags={"perturblearn.key": run.key}).info.run_id
        now = int(1000 * time.time())
        metrics = [Metric(key, value, now, step) for step, numbers in _steps(run) for key, value in numbers.items()]
        # Servers take no more at a time.
        for some in _parts(metrics, 1000):
            client.log_batch(made, metrics=some)
        for some in _parts([Param(key, str(value)) for key, value in run.settings.items()], 100):
            client.log_batch(made, params=some)
        client.set_terminated(made)


def to_wandb(runs: Sequence[TrackedRun], folder: Path) -> None:
    """Log each run as Weights & Biases is set up: online, or into the folder with ``WANDB_MODE=offline``."""
    import wandb

    folder.mkdir(exist_ok=True)
    for run in runs:
        number = run.key[:32]
        if any((folder / "wandb").glob(f"*run-*-{number}")):
            continue
        made = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=number,
            dir=folder,
            config=dict(run.settings),
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )
        for seed, numbers in sorted(run.seeds.items()):
            made.log(dict(numbers), step=seed)
        made.summary.update(dict(run.summary))
        made.finish()


def _parts(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]


def _steps(run: TrackedRun) -> Iterable[tuple[int, Mapping[str, float]]]:
    """The numbers of each seed, whose step it is, and those over all seeds."""
    yield from run.seeds.items()
    yield 0, run.summary


TRACKERS: Mapping[str, Callable[[Sequence[TrackedRun], Path], None]] = {
    "tensorboard": to_tensorboard,
    "mlflow": to_mlflow,
    "wandb": to_wandb,
}
