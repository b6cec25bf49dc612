"""Many experiments from one file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.prepared import Prepared
from perturblearn.api.runs import PreparedRuns
from perturblearn.api.stores import record_store
from perturblearn.api.tracking import track as hand_on
from perturblearn.config import JSON, Keys, Sweep, resolve_sweep
from perturblearn.experiment import MakeExecutor, Point
from perturblearn.graph import Plan, Watcher
from perturblearn.results import SweepResult

SweepLike = Keys | str | os.PathLike[str]


def sweep(
    file: SweepLike,
    *,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
    out: PathLike | None = None,
    cache_dir: PathLike | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    retry: bool = False,
    executor: str | MakeExecutor = "in_process",
    track: str | Sequence[str] = (),
    watch: Watcher | None = None,
) -> SweepResult:
    """Run an experiment at every point of a sweep, for every seed; a failed run does not stop the others.

    Args:
        file: path of a TOML file, or a nested mapping: an experiment's keys, and a section ``[sweep]`` whose parts
            ``grid``, ``zip`` and ``random`` say what varies.
        overrides: keys by dotted name, ``{"seeds": 5, "sweep.keep": "weights"}``.
        data_dir: where named data are stored or downloaded to; by default ``PERTURBLEARN_DATA``.
        out: folder for the sweep's own folder, the records of its runs and the store of finished stages; None writes
            none of them.
        cache_dir, cache_size: a cache instead of that store, and its limit; see `learn_from_perturbations`.
        force: repeat runs and stages that are finished.
        retry: repeat runs that failed before; otherwise they keep their error.
        executor: where stages run: ``"in_process"``, ``"ray"``, or what `perturblearn.executor` returns. The numbers
            are the same.
        track, watch: as in `learn_from_perturbations`.

    Returns:
        The result: prints as a table, lists failed runs, converts to a dict or a pandas frame.

    Raises:
        ConfigError: the section or a point is not valid; then nothing has run.
        DataError: the data's files cannot be found or read.
        StoreError: a folder or the records cannot be written.

    Example:
        >>> result = sweep({"seeds": 1, "sweep": {"grid": {"attack.epsilon": [0.5, 1.0]}}})
        >>> len(result.points), len(result.failed)
        (2, 0)
    """
    options = RunOptions(
        out=out,
        cache_dir=cache_dir,
        cache_size=cache_size,
        force=force,
        retry=retry,
        executor=executor,
        track=track,
        watch=watch,
    )
    prepared = prepare_sweep(file, overrides=overrides, data_dir=data_dir)
    return prepared.run(options)


def prepare_sweep(file: SweepLike, *, overrides: Keys | None = None, data_dir: PathLike | None = None) -> PreparedSweep:
    """What `sweep` does with these arguments, validated and not yet done."""
    resolved = resolve_sweep(file, overrides)
    points = tuple(Point(values, config) for values, config in resolved.points())
    return PreparedSweep(resolved, PreparedRuns(resolved.name, points, resolved.keep, data_dir, resolved.tree))


@dataclass(frozen=True)
class PreparedSweep(Prepared[SweepResult]):
    """A sweep that is ready to run.

    Args:
        sweep: what the user asked for.
        runs: its runs.
    """

    sweep: Sweep
    runs: PreparedRuns

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        return self.sweep.name

    def _computed_key(self) -> str:
        return self.runs.key

    def plan(self, options: RunOptions) -> Plan:
        """What would run, and what is finished."""
        return self.runs.plan(options)

    def describe(self, plan: Plan) -> str:
        """A plan in short: how many points and runs, the axes, and the totals of the stages."""
        axes = [f"  {axis}" for axis in self.sweep.axes]
        heading = f"{len(self.runs.points):,} points, {len(self.runs.runs):,} runs:"
        return "\n".join((heading, *axes, "", plan.describe(in_short=True)))

    def counts(self, plan: Plan) -> dict[str, JSON]:
        """The same as JSON values."""
        return {
            "name": self.name,
            "key": self.key,
            "n_points": len(self.runs.points),
            "n_runs": len(self.runs.runs),
            "axes": [{"kind": axis.kind, "keys": list(axis.settings), "n": len(axis)} for axis in self.sweep.axes],
            "stages": plan.counts(),
        }

    def run(self, options: RunOptions) -> SweepResult:
        """Run what is not finished, in memory or into a folder."""
        started = time.perf_counter()
        before = 0 if options.out is None or options.force else self._count_finished(Path(options.out))
        outcomes = self.runs.run(options)
        seconds = time.perf_counter() - started
        points, sizes = self.runs.points, self.runs.sizes(outcomes)
        result = SweepResult.of(
            self.sweep, self.key, points, outcomes, sizes=sizes, finished_before=before, seconds=seconds
        )
        if options.out is None or options.results is None:
            return result
        written = result.write(options.results, self.folder_in(options.out))
        hand_on(written, options.trackers, options.out)
        return written

    def _count_finished(self, out: Path) -> int:
        """Runs whose measures are in the records, so that they need not be done again."""
        keys = [experiment.key for _, experiment in self.runs.runs]
        states = record_store(out).states(keys)
        return sum(states.get(key) == "finished" for key in keys)
