"""Many runs as one piece of work, those of a sweep, a figure or a study, with a record of every run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.prepared import Prepared
from perturblearn.api.run import check_device
from perturblearn.api.stores import record_store
from perturblearn.classifiers import forget_calls
from perturblearn.config import Keep, Keys, config_tree, describe
from perturblearn.errors import ConfigError, DataError, PerturbLearnError
from perturblearn.experiment import Experiment, Outcome, Point, SeedMeasures, key_of, plan_together, run_together
from perturblearn.graph import Executor, Plan, collecting_nothing
from perturblearn.results import SCHEMA, DataSize
from perturblearn.store import Collection, Record, RecordStore, State

WRITE_EVERY = 0.5
"""Seconds between two writes of records: a run whose record an interruption loses has its measures in the store."""


@dataclass(frozen=True)
class PreparedRuns(Prepared[list[Outcome]]):
    """Runs that are ready to be done together; a failed run does not stop the others.

    Args:
        label: what people call them all.
        points: the experiments; every seed of each is a run.
        keep: what is kept of a run besides its record: ``measures``, ``weights`` or ``all``.
        data_dir: where named data are stored.
        request: what the user asked for, for the record of them all.

    Raises:
        ConfigError: an experiment names a device that this machine does not have.
        DataError: the data's files are missing or cannot be read.
    """

    label: str
    points: Sequence[Point]
    keep: Keep = "measures"
    data_dir: PathLike | None = None
    request: Keys = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people call them all."""
        return self.label

    @cached_property
    def runs(self) -> tuple[tuple[int, Experiment], ...]:
        """Every run, an experiment of one seed, with the number of its point."""
        data_dir = None if self.data_dir is None else Path(self.data_dir)
        runs: list[tuple[int, Experiment]] = []
        forget_calls()
        with collecting_nothing():
            for number, point in enumerate(self.points):
                check_device(point.config.device)
                runs.extend((number, experiment) for experiment in _experiment(point, data_dir).of_each_seed())
        return tuple(runs)

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """The runs by their key, each once."""
        with collecting_nothing():
            return {experiment.key: experiment for _, experiment in self.runs}

    def _computed_key(self) -> str:
        return key_of([experiment for _, experiment in self.runs])

    def sizes(self, outcomes: Sequence[Outcome]) -> dict[int, DataSize]:
        """The size of the data of every point at which a run has finished, by the point's number."""
        finished = {outcome.key for outcome in outcomes if outcome.measured is not None}
        return {
            number: DataSize.of(experiment.outline)
            for number, experiment in reversed(self.runs)
            if experiment.key in finished
        }

    def plan(self, options: RunOptions) -> Plan:
        """What would run, and what is finished."""
        return plan_together(self.experiments.values(), options.stages, keep=self.keep, force=options.force)

    def run(self, options: RunOptions) -> list[Outcome]:
        """Run what is not finished.

        Returns:
            The outcome of every run, in order.

        Raises:
            StoreError: the records cannot be read or written.
        """
        log = _RunLog(self, None if options.out is None else record_store(Path(options.out)))
        unfinished = log.unfinished(force=options.force, retry=options.retry)
        log.begin()
        try:
            run_together(
                unfinished,
                options.stages,
                keep=self.keep,
                among=self.experiments.values(),
                force=options.force,
                watch=options.watcher,
                make_executor=options.make_executor,
                finished=log.note,
            )
        except BaseException:
            log.end("interrupted")
            raise
        log.end("failed" if log.errors else "finished")
        return log.outcomes()


def _experiment(point: Point, data_dir: Path | None) -> Experiment:
    """The runs of a point; an error in them names it."""
    try:
        return Experiment(point.config, data_dir=data_dir)
    except (ConfigError, DataError) as error:
        if not point.values:
            raise
        raise type(error)(f"at the point {describe(point.values)}: {error}") from None


class _RunLog:
    """The outcomes of the runs so far, in memory and in the records."""

    def __init__(self, runs: PreparedRuns, records: RecordStore | None) -> None:
        self._runs = runs
        self._records = records
        self._measured: dict[str, SeedMeasures] = {}
        self.errors: dict[str, str] = {}
        self._unwritten: list[Record] = []
        self._known: dict[str, Record] = {}
        self._written = time.monotonic()

    def unfinished(self, *, force: bool, retry: bool) -> list[Experiment]:
        """The runs that are still to be done; what is known of the others is read from the records."""
        experiments = self._runs.experiments
        if self._records is not None:
            self._known = self._records.read_many(experiments)
            self._name_known(self._records)
        unfinished: list[Experiment] = []
        for key, experiment in experiments.items():
            known = self._known.get(key)
            if known is not None and not force and experiment.is_identified:
                if known.state == "finished" and known.result is not None:
                    self._measured[key] = SeedMeasures.from_dict(known.result["seeds"][0])
                elif known.state == "failed" and not retry:
                    self.errors[key] = known.error or ""
            # Weights and sets may have been removed or never been kept, so the plan has to look for them.
            if key not in self.errors and (key not in self._measured or self._runs.keep != "measures"):
                unfinished.append(experiment)
        return unfinished

    def _name_known(self, records: RecordStore) -> None:
        """Record finished runs that were made under other names under these runs' name as well."""
        named = {(record.key, record.name) for record in records.read_all(self._known)}
        for key, known in self._known.items():
            config = self._runs.experiments[key].config
            if known.state == "finished" and (key, config.name) not in named:
                self._unwritten.append(replace(known, name=config.name, config=config_tree(config), folder=None))

    def begin(self) -> None:
        """Record that the runs have begun."""
        self._write_collection("running")

    def note(self, experiment: Experiment, executor: Executor, error: Exception | None) -> None:
        """Record how one run ended."""
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
            return  # its record may be that of a single run, which names its folder
        seconds = {stage: executor.seconds.get(stage, 0.0) for stage in experiment.stage_keys}
        tree = config_tree(config)
        self._unwritten.append(Record(key, config.name, state, tree, result, sentence, seconds=seconds))
        if time.monotonic() > self._written + WRITE_EVERY:
            self._write()

    def end(self, state: State) -> None:
        """Record how they ended."""
        self._write()
        self._write_collection(state)

    def outcomes(self) -> list[Outcome]:
        """The outcome of every run."""
        return [
            Outcome(
                number,
                experiment.config.seeds[0],
                experiment.key,
                self._measured.get(experiment.key),
                self.errors.get(experiment.key),
            )
            for number, experiment in self._runs.runs
        ]

    def _write(self) -> None:
        if self._records is not None and self._unwritten:
            self._records.write_many(self._unwritten)
        self._unwritten.clear()
        self._written = time.monotonic()

    def _write_collection(self, state: State) -> None:
        if self._records is not None:
            keys = tuple(experiment.key for _, experiment in self._runs.runs)
            self._records.write_collection(
                Collection(self._runs.key, self._runs.name, state, dict(self._runs.request), keys)
            )
