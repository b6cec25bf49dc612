"""Many experiments as one piece of work: a sweep's, a figure's or a study's, with a record of every run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from perturblearn.api.run import check_device
from perturblearn.api.stores import artefact_store
from perturblearn.config import ExperimentConfig, Keep, config_tree, describe
from perturblearn.errors import ConfigError, DataError, PerturbLearnError
from perturblearn.experiment import (
    Experiment,
    MakeExecutor,
    Outcome,
    Point,
    SeedMeasures,
    key_of,
    plan_together,
    run_together,
)
from perturblearn.graph import Executor, Plan, Watcher, collecting_nothing
from perturblearn.results import SCHEMA
from perturblearn.store import ArtefactStore, Collection, Record, RecordStore

WRITE_EVERY = 0.5
"""Seconds between two writes of records: a run whose record an interruption loses has its measures in the store."""


@dataclass(frozen=True)
class RunningMany:
    """Runs that are to be done together; what one of them fails with does not stop the others.

    Args:
        name: what people call them all.
        points: the experiments; every seed of each is a run.
        keep: what stays of a run: ``measures``, ``weights`` or ``all``; its record always does.
        data_dir: where named data lie.
        asked: what they were asked for with, for the record of them all.

    Raises:
        ConfigError: an experiment wants a device that this machine has not.
        DataError: the data's files are not there or cannot be read.
    """

    name: str
    points: Sequence[Point]
    keep: Keep = "measures"
    data_dir: str | os.PathLike[str] | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def runs(self) -> tuple[tuple[int, Experiment], ...]:
        """Every run, an experiment of one seed, with the number of its point."""
        data_dir = None if self.data_dir is None else Path(self.data_dir)
        found: list[tuple[int, Experiment]] = []
        with collecting_nothing():
            for number, point in enumerate(self.points):
                check_device(point.config.device)
                for seed in point.config.seeds:
                    alone = point.config.seeds == (seed,)
                    config = point.config if alone else point.config.model_copy(update={"seeds": (seed,)})
                    found.append((number, _experiment(point, config, data_dir)))
        return tuple(found)

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """The runs by their key, each once."""
        return {experiment.key: experiment for _, experiment in self.runs}

    @cached_property
    def key(self) -> str:
        """SHA-256 that names them all."""
        return key_of([experiment for _, experiment in self.runs])

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run."""
        return plan_together(self.experiments.values(), store, keep=self.keep, force=force)

    def run(
        self,
        out: str | os.PathLike[str] | None,
        cache: ArtefactStore | None = None,
        *,
        force: bool = False,
        retry: bool = False,
        watch: Watcher | None = None,
        make_executor: MakeExecutor = Executor,
    ) -> list[Outcome]:
        """Run what is not finished.

        Args:
            out: folder beside whose finished stages the records lie; None keeps everything in memory.
            cache: store of finished stages in place of that folder's.
            force: repeat runs that are finished.
            retry: repeat runs that have failed; otherwise these keep their error.
            watch: called with progress.
            make_executor: what executes the plan.

        Returns:
            What came of every run, in order.

        Raises:
            StoreError: the records cannot be read or written.
        """
        if out is None:
            noted = _Notes(self, None)
            store = cache
        else:
            store = artefact_store(Path(out))
            noted = _Notes(self, RecordStore(store.folder / "records.sqlite3"))
            store = store if cache is None else cache
        wanted = noted.sort(force=force, retry=retry)
        noted.begin()
        try:
            run_together(
                wanted,
                store,
                keep=self.keep,
                among=self.experiments.values(),
                force=force,
                watch=watch,
                make_executor=make_executor,
                finished=noted.note,
            )
        except BaseException:
            noted.end("interrupted")
            raise
        noted.end("failed" if noted.errors else "finished")
        return noted.outcomes()


def _experiment(point: Point, config: ExperimentConfig, data_dir: Path | None) -> Experiment:
    """One run; what makes it impossible is said of its point."""
    try:
        return Experiment(config, data_dir=data_dir)
    except (ConfigError, DataError) as error:
        if not point.values:
            raise
        raise type(error)(f"at the point {describe(point.values)}: {error}") from None


class _Notes:
    """What has come of the runs so far, in memory and in the records."""

    def __init__(self, many: RunningMany, records: RecordStore | None) -> None:
        self._many = many
        self._records = records
        self._measured: dict[str, SeedMeasures] = {}
        self.errors: dict[str, str] = {}
        self._unwritten: list[Record] = []
        self._known: dict[str, Record] = {}
        self._written = time.monotonic()

    def sort(self, *, force: bool, retry: bool) -> list[Experiment]:
        """The runs that are still to be done."""
        experiments = self._many.experiments
        self._known = {} if self._records is None else self._records.read_many(experiments)
        wanted: list[Experiment] = []
        for key, experiment in experiments.items():
            known = self._known.get(key)
            if known is not None and not force:
                if known.state == "finished" and known.result is not None:
                    self._measured[key] = SeedMeasures.from_dict(known.result["seeds"][0])
                elif known.state == "failed" and not retry:
                    self.errors[key] = known.error or ""
            # What is kept besides the measures may have gone, or may never have been there.
            is_there = key in self.errors or (key in self._measured and self._many.keep == "measures")
            if not is_there:
                wanted.append(experiment)
        return wanted

    def begin(self) -> None:
        """Record that the runs are being done."""
        self._write_collection("running")

    def note(self, experiment: Experiment, executor: Executor, error: Exception | None) -> None:
        """One run has ended."""
        key, config = experiment.key, experiment.config
        if error is None:
            (measured,) = experiment.measures(executor)
            self._measured[key] = measured
            state, result, sentence = "finished", {"schema": SCHEMA, "kind": "run", "seeds": [measured.to_dict()]}, None
        else:
            sentence = str(error) if isinstance(error, PerturbLearnError) else f"{type(error).__name__}: {error}"
            self.errors[key] = sentence
            state, result = "failed", None
        known = self._known.get(key)
        if self._records is None or (known is not None and known.state == "finished" and error is None):
            return  # a finished run's record may be that of a folder
        seconds = {stage: executor.seconds[stage] for stage in experiment.stage_keys if stage in executor.seconds}
        tree = config_tree(config)
        self._unwritten.append(Record(key, config.name, state, tree, result, sentence, seconds=seconds))
        if time.monotonic() > self._written + WRITE_EVERY:
            self._write()

    def end(self, state: str) -> None:
        """Record how it ended."""
        self._write()
        self._write_collection(state)

    def outcomes(self) -> list[Outcome]:
        """What came of every run."""
        return [
            Outcome(
                number,
                experiment.config.seeds[0],
                experiment.key,
                self._measured.get(experiment.key),
                self.errors.get(experiment.key),
            )
            for number, experiment in self._many.runs
        ]

    def _write(self) -> None:
        if self._records is not None and self._unwritten:
            self._records.write_many(self._unwritten)
        self._unwritten.clear()
        self._written = time.monotonic()

    def _write_collection(self, state: Any) -> None:
        if self._records is not None:
            keys = tuple(experiment.key for _, experiment in self._many.runs)
            self._records.write_collection(
                Collection(self._many.key, self._many.name, state, dict(self._many.asked), keys)
            )
