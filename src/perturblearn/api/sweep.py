"""Many experiments from one file."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.api.executors import executor as named_executor
from perturblearn.api.many import RunningMany
from perturblearn.api.stores import artefact_store, cache_store, record_store
from perturblearn.config import Sweep, resolve_sweep
from perturblearn.experiment import MakeExecutor, Point
from perturblearn.graph import Executor, Plan, Watcher
from perturblearn.results import SweepResult
from perturblearn.store import ArtefactStore

SweepLike = Mapping[str, Any] | str | os.PathLike[str]


def sweep(
    file: SweepLike,
    *,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    retry: bool = False,
    executor: str | MakeExecutor = "in_process",
    watch: Watcher | None = None,
) -> SweepResult:
    """Run an experiment at every point of a sweep, for every seed; what one run fails with stops no other.

    Args:
        file: path of a TOML file, or nested mapping: an experiment's keys, and a section ``[sweep]`` whose parts
            ``grid``, ``zip`` and ``random`` say what varies.
        overrides: keys by dotted name, ``{"seeds": 5, "sweep.keep": "weights"}``.
        data_dir: where named data lie or are downloaded to; by default ``PERTURBLEARN_DATA``.
        out: folder for the sweep's own folder, the records of its runs and the store of finished stages; None writes
            none of them.
        cache_dir, cache_size: of a cache in place of that store, and its limit; see `learn_from_perturbations`.
        force: repeat runs and stages that are finished.
        retry: repeat runs that have failed before; otherwise they keep their error.
        executor: where stages run: ``"in_process"``, ``"ray"``, or what `perturblearn.executor` gives. The numbers
            are the same.
        watch: called with the progress of each stage.

    Returns:
        The result: prints as a table, lists what failed, converts to a dict or a pandas frame.

    Raises:
        ConfigError: the section is no sweep, or a point is no experiment; nothing has been run then.
        DataError: the data's files cannot be found or read.
        StoreError: a folder or the records cannot be written.

    Example:
        >>> found = sweep({"seeds": 1, "sweep": {"grid": {"attack.epsilon": [0.5, 1.0]}}})
        >>> len(found.points), len(found.failed)
        (2, 0)
    """
    cache = cache_store(cache_dir, cache_size)
    prepared = prepare_sweep(file, overrides=overrides, data_dir=data_dir)
    make_executor = named_executor(executor) if isinstance(executor, str) else executor
    return prepared.run(out, cache, force=force, retry=retry, watch=watch, make_executor=make_executor)


def prepare_sweep(
    file: SweepLike,
    *,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> RunningSweep:
    """What `sweep` does with these arguments, validated and not yet done."""
    resolved = resolve_sweep(file, overrides)
    points = tuple(Point(values, config) for values, config in resolved.points())
    return RunningSweep(resolved, RunningMany(resolved.name, points, resolved.keep, data_dir, resolved.tree))


@dataclass(frozen=True)
class RunningSweep:
    """A sweep that is to be run.

    Args:
        sweep: what was asked for.
        many: its runs.
    """

    sweep: Sweep
    many: RunningMany

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run."""
        return self.many.plan(store, force=force)

    def describe(self, plan: Plan) -> str:
        """The plan in short: how many points and runs, the axes, and the stages' totals."""
        runs, points = len(self.many.runs), len(self.many.points)
        axes = [f"  {axis}" for axis in self.sweep.axes]
        return "\n".join((f"{points:,} points, {runs:,} runs:", *axes, "", plan.describe(in_short=True)))

    def counts(self, plan: Plan) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "name": self.sweep.name,
            "key": self.many.key,
            "n_points": len(self.many.points),
            "n_runs": len(self.many.runs),
            "axes": [{"kind": axis.kind, "keys": list(axis.settings), "n": len(axis)} for axis in self.sweep.axes],
            "stages": plan.counts(),
        }

    def run(
        self,
        out: str | os.PathLike[str] | None,
        cache: ArtefactStore | None = None,
        *,
        force: bool = False,
        retry: bool = False,
        watch: Watcher | None = None,
        make_executor: MakeExecutor = Executor,
    ) -> SweepResult:
        """Run what is not finished, in memory or into a folder named by the sweep's name and the digits of its key.

        Raises:
            StoreError: a folder or the records cannot be written.
        """
        started = time.perf_counter()
        before = 0 if out is None or force else self._count_finished(Path(out))
        outcomes = self.many.run(out, cache, force=force, retry=retry, watch=watch, make_executor=make_executor)
        key, seconds = self.many.key, time.perf_counter() - started
        result = SweepResult.of(self.sweep, key, self.many.points, outcomes, finished_before=before, seconds=seconds)
        if out is None:
            return result
        return result.write(artefact_store(Path(out)), Path(out) / f"{self.sweep.name}-{key[:10]}")

    def _count_finished(self, out: Path) -> int:
        """Runs that need not be done again, because there is a record of what they have measured."""
        keys = [experiment.key for _, experiment in self.many.runs]
        states = record_store(out).states(keys)
        return sum(states.get(key) == "finished" for key in keys)
