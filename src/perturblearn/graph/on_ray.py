"""Running a plan on Ray: on many cores, on many machines, on shares of GPUs."""

from __future__ import annotations

import os
import uuid
import warnings
from collections import Counter
from contextlib import ExitStack, suppress

from perturblearn.errors import StoreError
from perturblearn.graph.cluster import PATIENCE, Cluster, connected, require_ray
from perturblearn.graph.dispatch import Dispatcher
from perturblearn.graph.execute import Done, Executor, Progress, Watcher
from perturblearn.graph.plan import Plan
from perturblearn.graph.remote import Packed, Place, TaskReport, execute_task
from perturblearn.graph.stage import AnyStage, Stored
from perturblearn.graph.tasks import cut
from perturblearn.store import ArtefactStore, DamagedArtefact, Drafts

VARIABLES = "PERTURBLEARN_"
"""How the environment variables begin that tasks see as this process does."""


class RayExecutor(Executor):
    """Runs the stages of a plan in Ray's processes, with the results of `Executor` at as many threads.

    This process alone writes to the store. What several tasks need stays where it was made, and Ray runs them there if
    it can. A task whose process or machine dies is repeated, and so is one whose result is lost while others need it.

    Args:
        plan, store, watch, done: as for `Executor`.
        address: of a Ray cluster, ``auto`` for the one that runs on this machine; None starts Ray here for this run.
        cpus: CPUs per task, which is also how many threads it has.
        gpus: GPUs per task, or the share of one.

    Raises:
        ConfigError: Ray is not installed; once it runs: nothing answers at the address, or no machine is large enough.
    """

    def __init__(
        self,
        plan: Plan,
        store: ArtefactStore | None = None,
        watch: Watcher | None = None,
        done: Done | None = None,
        *,
        address: str | None = None,
        cpus: int = 1,
        gpus: float = 0.0,
    ) -> None:
        require_ray()
        super().__init__(plan, store, watch, done)
        self._address = address
        self._cpus = cpus
        self._gpus = gpus
        self._total = len(plan.to_run)
        self._ended = 0

    def run(self, *, keep_going: bool = False) -> None:
        """Run every stage of the plan that is not finished, inputs first; see `Executor.run`."""
        self._begin(keep_going=keep_going)
        pieces = cut(self.plan)
        if not pieces:
            return
        with ExitStack() as stack:
            stack.enter_context(connected(self._address))
            variables = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
            place = Place(uuid.uuid4().hex, os.getcwd(), variables, self._cpus, self._place_of_drafts(stack))
            patience = PATIENCE if self._address else 0.0
            cluster = Cluster(execute_task, cpus=self._cpus, gpus=self._gpus, patience=patience)
            dispatcher = Dispatcher(self, pieces, cluster, place)
            stack.callback(dispatcher.cancel)
            dispatcher.run()

    def _place_of_drafts(self, stack: ExitStack) -> tuple[str, int | None, str] | None:
        if self._store is not None:
            with suppress(StoreError):  # told when a result cannot be written either
                sign = stack.enter_context(self._store.scratch())
                return str(self._store.folder.resolve()), self._store.limit, str(sign.resolve())
        return None

    def _count_users(self) -> Counter[str]:
        # No stage runs in this process, so none asks for results here.
        return Counter()

    def has_ended(self, key: str) -> bool:
        """Whether the stage with this key has run, or failed."""
        return key in self.seconds or key in self.errors

    def is_there(self, stage: AnyStage) -> bool:
        """Whether its result can be had without running it."""
        return stage.key in self._memory or self._may_read(stage)

    def pack(self, stage: AnyStage) -> Packed:
        """A result that is there, for others."""
        assert isinstance(stage, Stored), "only what can be written is sent"
        if self._store is not None and stage.key not in self._memory:
            with suppress(DamagedArtefact, KeyError):  # told, removed and made again below
                return Packed.of(self._store.read(stage.key))
        return Packed.of(stage.dump(self.result(stage)))

    def receive(self, stages: dict[str, AnyStage], report: TaskReport) -> None:
        """Keep what others report of some stages, by key; what was reported before does not count again."""
        for warning in report.warnings:
            warnings.warn(warning, stacklevel=2)
        for key, seconds in report.seconds.items():
            if key not in stages:  # made on demand, maybe in several places
                self.seconds[key] = self.seconds.get(key, 0.0) + seconds
        for key, stage in stages.items():
            if self.has_ended(key):
                continue
            if key in report.errors:
                self.give_up(stage, report.errors[key])
                continue
            if key in report.results:
                self._receive(stage, report.results[key])
            self._settle_drafts(stage, report.drafts.get(key))
            self.seconds[key] = report.seconds[key]
            self._work_done += stage.work
            self._ended += 1
            self._done(stage, None)
            took = self.seconds[key]
            self._watch(Progress(stage, self._ended, self._total, 1, 1, "", self._share(0), took, True))

    def give_up(self, stage: AnyStage, error: Exception) -> None:
        """Note an error for all who need the stage.

        Raises:
            Exception: the error, unless others are to go on.
        """
        if not self._keeps_going:
            raise error
        if self.has_ended(stage.key):  # its result was lost, and could not be made again
            self.errors[stage.key] = error
            return
        self._work_done += stage.work
        self._ended += 1
        self._fail(stage, error)

    def _receive(self, stage: AnyStage, packed: Packed) -> None:
        assert isinstance(stage, Stored), "only what can be written is sent"
        artefact = packed.artefact
        if self._store is not None:
            self._write(self._store, stage, artefact)
        if self._is_only_copy(stage) or self._users[stage.key] > 0:
            self._memory[stage.key] = stage.load(artefact)

    def _settle_drafts(self, stage: AnyStage, drafts: Drafts | None) -> None:
        if drafts is None:
            return
        if self.plan.is_kept(stage):
            drafts.clear()
        else:  # an interruption loses what is passed on, but not the drafts
            self._drafts[stage.key] = drafts

    def forget(self, key: str) -> None:
        """Nobody needs a result any more that was passed on."""
        if key in self._drafts:
            self._drafts.pop(key).clear()
