"""Running a plan in this process."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from perturblearn.errors import StoreError
from perturblearn.graph.plan import Plan
from perturblearn.graph.stage import AnyStage, Grouped, Report, Results, ResultT, Stage, Stored
from perturblearn.seeding import derive_seed, reproducible
from perturblearn.store import Artefact, ArtefactStore, DamagedArtefact, Drafts, drafts_in, write_tensors


@dataclass(frozen=True)
class Progress:
    """How far a stage is, for whoever watches.

    Args:
        stage: the stage that is running.
        number, total: its place among the stages that this plan runs, counted from 1; 0 for one made on demand.
        done, steps: how far it is.
        note: what the stage reports, such as its loss.
        share: how much of the plan's work is done, in [0, 1].
        seconds: how long it has run.
        finished: whether it has ended.
        together: how many stages ran at once, once it has ended.
    """

    stage: AnyStage
    number: int
    total: int
    done: int = 0
    steps: int = 1
    note: str = ""
    share: float = 0.0
    seconds: float = 0.0
    finished: bool = False
    together: int = 1


Watcher = Callable[[Progress], None]
Done = Callable[[AnyStage, Exception | None], None]
"""Called once for every stage that was to run: with the error that ended it, or that of an input."""


_LEAST_FOR_THREADS = 1e8
"""Floating-point operations of a step from which on several threads share it: about a millisecond of one core, many
times what threads need to meet."""


class Executor:
    """Runs the stages of a plan, group by group, and serves their results.

    Results that are kept are written when they are complete and read back on demand; all others stay in memory while a
    stage that still has to run may ask for them. A store that cannot be written is warned about once, and what it does
    not take stays in memory.

    Args:
        plan: what to run.
        store: where results go; None keeps them in memory.
        watch: called with each stage's progress.
        done: called with each stage that has ended, once its result is kept.
    """

    def __init__(
        self,
        plan: Plan,
        store: ArtefactStore | None = None,
        watch: Watcher | None = None,
        done: Done | None = None,
    ) -> None:
        self.plan = plan
        self.seconds: dict[str, float] = {}
        self.errors: dict[str, Exception] = {}
        self._store = store
        self._watch: Watcher = watch or _ignore
        self._done: Done = done or _ignore
        self._drafts: dict[str, Drafts] = {}
        self._keeps_going = False
        self._memory: dict[str, Any] = {}
        self._fresh: set[str] = set()
        self._unwritten: set[str] = set()
        self._has_warned = False
        self._users = self._count_users()
        self._nested = 0.0
        self._threads = 0  # until a stage runs: those that all stages have but the small ones
        self._work = sum(stage.work for stage in plan.to_run)
        self._work_done = 0.0

    def run(self, *, keep_going: bool = False) -> None:
        """Run every stage of the plan that is not finished, inputs first.

        Args:
            keep_going: note the error of a stage in ``errors``, for all that need it too, and run the others.

        Raises:
            Exception: whatever the first stage that fails raises, unless others are to go on.
        """
        self._begin(keep_going=keep_going)
        pending = self.plan.to_run
        for number, stage in enumerate(pending, start=1):
            if stage.key not in self.seconds and stage.key not in self.errors:
                try:
                    self._compute(stage, number, len(pending))
                except Exception:
                    if stage.key not in self.errors:
                        raise
            self._release(self._reachable(stage))

    def _begin(self, *, keep_going: bool) -> None:
        self._keeps_going = keep_going
        for sentence in self.plan.unidentified:
            warnings.warn(sentence, stacklevel=3)
        if self._store is not None:
            self._remove_leftover_drafts(self._store)

    def _remove_leftover_drafts(self, store: ArtefactStore) -> None:
        """Remove the drafts of what is finished, left by a process that died between keeping a result and this."""
        for key in drafts_in(store):
            # What was passed on is nowhere; it is done with when all that would use it are finished.
            is_done = key in self.plan.passing or store.has(key)
            if is_done and self.plan.status.get(key) != "run":
                Drafts(store, key).clear()

    @contextmanager
    def holding(self, *stages: AnyStage) -> Generator[None, None, None]:
        """Keep the results of these stages in memory meanwhile, once made."""
        held = set(stages)
        self._users.update(stage.key for stage in held)
        try:
            yield
        finally:
            self._release(held)

    def result(self, stage: Stage[ResultT]) -> ResultT:
        """The result of a stage of the plan: from memory, from the store, or made now.

        A stored result that has been damaged is reported, removed and made again.
        """
        if stage.key in self._memory:
            return self._memory[stage.key]
        if stage.key in self.errors:
            raise self.errors[stage.key].with_traceback(None)
        if self._store is not None and isinstance(stage, Stored) and self._may_read(stage):
            try:
                return stage.load(self._store.read(stage.key))
            except DamagedArtefact as damage:
                warnings.warn(f"{damage}; it is computed again", stacklevel=2)
                with suppress(StoreError):  # told when the new result cannot be written either
                    self._store.remove(stage.key)
            except KeyError:
                pass  # another process cleared the store meanwhile
        return self._compute(stage, 0, 0)

    def place(self, stage: Stored[Any], path: Path) -> None:
        """Put the tensors of a stage's result into a file: that of the store, linked where the disk allows it.

        Args:
            stage: whose result is wanted.
            path: where; nothing may be there.

        Raises:
            OSError: the file cannot be written.
        """
        if self._store is not None and self._may_read(stage):
            with suppress(DamagedArtefact, KeyError):  # told, removed and made again below
                self._store.place(stage.key, path)
                return
        write_tensors(stage.dump(self.result(stage)).tensors, path)

    def _may_read(self, stage: AnyStage) -> bool:
        return self.plan.status[stage.key] == "finished" or stage.key in self._fresh

    def _compute(self, stage: AnyStage, number: int, total: int) -> Any:
        """Run a stage, and with it the stages of its group that have to run as well; returns its result."""
        group = self.plan.group(stage)
        # In a run every member that is not there yet; on demand this one alone.
        wanted = [
            position
            for position, member in enumerate(group)
            if member == stage or (number and self.plan.status[member.key] == "run" and member.key not in self.seconds)
        ]
        members = [group[position] for position in wanted]
        started = time.perf_counter()
        work = sum(member.work for member in members)

        def report(done: int, steps: int, note: str = "") -> None:
            share = self._share(work * done / steps if number else 0)
            self._watch(Progress(stage, number, total, done, steps, note, share, time.perf_counter() - started))

        report(0, 1)
        outer, self._nested = self._nested, 0.0
        found: Any = None
        errors: dict[AnyStage, Exception] = {}
        done: list[AnyStage] = []
        try:
            # Seeded by kind and seed, not by key: code that cannot be identified has another key in every process.
            with reproducible(derive_seed(stage.drawn_with or 0, "stage", stage.kind)):
                self._choose_threads(group)
                for position, result in self._results(stage, group, wanted, report):
                    member = group[position]
                    if isinstance(result, Exception):
                        errors[member] = result
                        continue
                    self._keep(member, result)
                    done.append(member)
                    if member == stage:
                        found = result
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends these stages and those that need them
            errors |= {member: error for member in members if member not in done}
        elapsed = time.perf_counter() - started
        # Inputs made on demand meanwhile count for themselves.
        for member in done:
            self.seconds[member.key] = (elapsed - self._nested) / len(done)
        self._nested = outer + elapsed
        self._work_done += work if number else 0
        for member in done if number else ():
            self._done(member, None)
        for member, error in errors.items():
            if not self._keeps_going:
                raise error
            self._fail(member, error)
        if stage in errors:
            raise errors[stage]
        self._watch(
            Progress(stage, number, total, 1, 1, "", self._share(0), self.seconds[stage.key], True, len(members))
        )
        return found

    def _choose_threads(self, group: Sequence[AnyStage]) -> None:
        """Give a group one thread where more would mostly wait, until the block that restores settings ends.

        By counted operations and never by time, so that the same stages round their sums alike wherever they run.
        """
        import torch

        self._threads = self._threads or torch.get_num_threads()
        threads = 1 if sum(stage.step_operations for stage in group) < _LEAST_FOR_THREADS else self._threads
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    def _fail(self, stage: AnyStage, error: Exception) -> None:
        """Note an error for whoever asks for the stage's result."""
        self.errors[stage.key] = error
        if self.plan.status[stage.key] == "run":
            self._done(stage, error)

    def _results(
        self, stage: AnyStage, group: Sequence[AnyStage], wanted: Sequence[int], report: Report
    ) -> Iterator[tuple[int, Any]]:
        drafts = Drafts(self._store if stage.is_stored and stage.is_identified else None, stage.key)
        result = Results(stage, self.result, report, drafts)
        if isinstance(stage, Grouped):
            yield from stage.run_group(cast("Sequence[Grouped[Any]]", group), wanted, result)
            return
        yield 0, stage.run(result)
        if not drafts.are_used:
            return
        if self.plan.is_kept(stage):  # the result is, by now
            drafts.clear()
        else:  # an interruption loses the result, but not the drafts
            self._drafts[stage.key] = drafts

    def _keep(self, stage: AnyStage, result: Any) -> None:
        if isinstance(stage, Stored) and self._store is not None and self.plan.is_kept(stage):
            self._write(self._store, stage, stage.dump(result))
        # A store with a limit may not have kept it.
        is_there = stage.key in self._fresh and self._store is not None and self._store.has(stage.key)
        is_wanted = self._users[stage.key] > 0 and not (stage.is_read_back and is_there)
        if is_wanted or self._is_only_copy(stage):
            self._memory[stage.key] = result

    def _write(self, store: ArtefactStore, stage: AnyStage, artefact: Artefact) -> None:
        if not stage.is_identified:
            self._unwritten.add(stage.key)
            return
        try:
            store.write(stage.key, artefact, origin=stage.identity, replace=self.plan.force)
            self._fresh.add(stage.key)
        except StoreError as error:
            self._unwritten.add(stage.key)
            if not self._has_warned:
                warnings.warn(f"{error}; the run goes on and keeps its stages in memory", stacklevel=2)
                self._has_warned = True

    def _share(self, work: float) -> float:
        return min(1.0, (self._work_done + work) / self._work) if self._work else 1.0

    def _count_users(self) -> Counter[str]:
        """How many stages that will run may ask for each stage, directly or through one that is made on demand."""
        users: Counter[str] = Counter()
        for stage in self.plan.to_run:
            users.update(source.key for source in self._reachable(stage))
        return users

    def _release(self, stages: Iterable[AnyStage]) -> None:
        for stage in stages:
            self._users[stage.key] -= 1
            self._forget(stage)

    def _reachable(self, stage: AnyStage) -> set[AnyStage]:
        found: set[AnyStage] = set()
        waiting = list(stage.inputs)
        while waiting:
            source = waiting.pop()
            if source in found:
                continue
            found.add(source)
            if not source.is_stored:
                waiting.extend(source.inputs)
        return found

    def _is_only_copy(self, stage: AnyStage) -> bool:
        return self.plan.is_kept(stage) and (self._store is None or stage.key in self._unwritten)

    def _forget(self, stage: AnyStage) -> None:
        if self._users[stage.key] <= 0 and not self._is_only_copy(stage):
            self._memory.pop(stage.key, None)
            if stage.key in self._drafts:  # nobody needs what was passed on any more
                self._drafts.pop(stage.key).clear()


def _ignore(*_: object) -> None:
    """Nobody watches."""
