"""Work that a command has validated and not yet done: what it would run, and how it is run and recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.stores import record_store
from perturblearn.api.tracking import track
from perturblearn.config import JSON, config_tree
from perturblearn.errors import StoreError
from perturblearn.experiment import Experiment, key_of, plan_together, run_together
from perturblearn.graph import AnyStage, Executor, Plan, keys_below
from perturblearn.results import FigureOptions
from perturblearn.store import Record, State

R_co = TypeVar("R_co", covariant=True)


class Prepared(ABC, Generic[R_co]):
    """Work that has been validated and not yet done. Every command prepares one, then prints its plan or runs it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What people call it; its folder's name begins with it."""

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that it computes."""
        return self._computed_key()

    @abstractmethod
    def _computed_key(self) -> str:
        """The key; it takes a while for thousands of runs."""

    @abstractmethod
    def plan(self, options: RunOptions) -> Plan:
        """What would run, and what is finished."""

    @abstractmethod
    def run(self, options: RunOptions) -> R_co:
        """Run what is not finished, in memory or into a folder.

        Raises:
            StoreError: a folder or the records cannot be written.
        """

    def describe(self, plan: Plan) -> str:
        """A plan of it, for people."""
        return plan.describe()

    def counts(self, plan: Plan) -> dict[str, JSON]:
        """The same as JSON values."""
        return plan.to_dict()

    def folder_in(self, out: PathLike) -> Path:
        """Folder of its result among the results in ``out``."""
        return Path(out) / f"{self.name}-{self.key[:10]}"


class Recorded(Protocol):
    """A result as its record needs it."""

    @property
    def key(self) -> str:
        """SHA-256 of the work that made it."""
        ...

    @property
    def folder(self) -> Path | None:
        """Where it lies; None for one in memory."""
        ...

    def to_dict(self) -> dict[str, JSON]:
        """It as JSON values."""
        ...

    def complete_figures(self, figures: FigureOptions) -> None:
        """Draw the figures that its folder lacks."""
        ...


S = TypeVar("S", bound=Recorded)


@dataclass(frozen=True, kw_only=True)
class PreparedResult(Prepared[S]):
    """Work that ends with one result of one or more experiments, in a folder and with a record of its own.

    Args:
        experiments: planned and run as one graph.
        beside: stages that are wanted besides.
        command: makes the result again; empty if that takes objects.
    """

    experiments: tuple[Experiment, ...]
    beside: tuple[AnyStage, ...] = ()
    command: str = ""

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        return self.experiments[0].config.name

    def _computed_key(self) -> str:
        return key_of(self.experiments, self.beside)

    def plan(self, options: RunOptions) -> Plan:
        """What would run, and what is finished."""
        return plan_together(self.experiments, options.stages, beside=self.beside, force=options.force)

    def run(self, options: RunOptions) -> S:
        """Run what is not finished, in memory or into a folder with a record beside it, and hand it on to trackers."""
        if options.out is None:
            return self._measured(self._executed(options))
        result = self._finished(options.out, options)
        track(result, options.trackers, options.out)
        return result

    def _finished(self, out: PathLike, options: RunOptions) -> S:
        """The result in its folder, run if it is not finished."""
        folder = self.folder_in(out)
        # A folder's name has only the first digits of the key, so the result itself is asked.
        anew = options.force or not all(experiment.is_identified for experiment in self.experiments)
        finished = None if anew else self._finished_in(folder)
        if finished is None or finished.key != self.key:
            return self._recorded(folder, options)
        self._complete(finished, folder, options)
        self._mend_record(finished, out)
        return finished

    def _executed(self, options: RunOptions) -> Executor:
        return run_together(
            self.experiments,
            options.stages,
            beside=self.beside,
            force=options.force,
            watch=options.watcher,
            make_executor=options.make_executor,
        )

    def _recorded(self, folder: Path, options: RunOptions) -> S:
        """Do the work, and keep a record that says from the first moment on that it runs, and then how it ended."""
        assert options.out is not None
        records, tree = record_store(Path(options.out)), config_tree(self.experiments[0].config)

        def record(state: State, seconds: Mapping[str, float] | None = None, **more: Any) -> None:
            told = {**self._no_seconds, **(seconds or {})}
            records.write(Record(self.key, self.name, state, tree, seconds=told, **more))

        with records.running(self.key, self.name):
            record("running")
            try:
                executor = self._executed(options)
                result = self._written(executor, folder, options)
            except KeyboardInterrupt:
                record("interrupted")
                raise
            except Exception as error:
                # What went wrong first is what people should read, even where it cannot be recorded any more.
                try:
                    record("failed", error=str(error))
                except StoreError as second:
                    error.add_note(str(second))
                raise
            name = None if result.folder is None else result.folder.name
            record("finished", result=result.to_dict(), folder=name, seconds=executor.seconds)
            return result

    @property
    def _no_seconds(self) -> dict[str, float]:
        """Every stage of it, as its record names them from the first moment on: `clean` keeps what a record names."""
        targets = (stage for experiment in self.experiments for stage in experiment.targets)
        return dict.fromkeys(keys_below((*targets, *self.beside)), 0.0)

    def _mend_record(self, finished: S, out: PathLike) -> None:
        """Record that a run has finished whose folder was written and whose record was not, as on a full disk."""
        records = record_store(Path(out))
        with suppress(StoreError):  # a folder that is only read
            known = [record for record in records.read_all([self.key]) if record.name == self.name]
            if known and known[0].state != "finished" and finished.folder is not None:
                told, folder = finished.to_dict(), finished.folder.name
                config, seconds = known[0].config, {**self._no_seconds, **known[0].seconds}
                records.write(Record(self.key, self.name, "finished", config, told, folder=folder, seconds=seconds))

    @abstractmethod
    def _finished_in(self, folder: Path) -> S | None:
        """The result that lies in a folder, if there is one."""

    @abstractmethod
    def _measured(self, executor: Executor) -> S:
        """The result, once everything has run."""

    @abstractmethod
    def _written(self, executor: Executor, folder: Path, options: RunOptions) -> S:
        """The result, written into its folder."""

    def _complete(self, finished: S, folder: Path, options: RunOptions) -> None:
        """Add what these options ask for and the finished result's folder lacks."""
        finished.complete_figures(options.figures)
