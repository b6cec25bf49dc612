"""Work for another process: what is sent there, how it is executed, and what comes back."""

from __future__ import annotations

import os
import pickle
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from perturblearn.errors import StoreError
from perturblearn.graph.execute import Executor
from perturblearn.graph.plan import Plan, Status
from perturblearn.graph.stage import AnyStage, ResultT, Stage, Stored
from perturblearn.store import Artefact, ArtefactStore, Drafts, separate

MOST_MADE, MOST_BYTES = 4, 2**29
"""How many results that were made on demand, and how many bytes of tensors in them, a process keeps for later tasks."""


@dataclass(frozen=True)
class Packed:
    """A result on its way: JSON values, and tensors as a safetensors file."""

    content: Mapping[str, Any]
    tensors: bytes

    @staticmethod
    def of(artefact: Artefact) -> Packed:
        """Pack what a stage leaves behind."""
        from safetensors.torch import save

        return Packed(artefact.content, save(separate(artefact.tensors)) if artefact.tensors else b"")

    @property
    def artefact(self) -> Artefact:
        """What was packed, equal to the bit."""
        from safetensors.torch import load

        return Artefact(self.content, load(self.tensors) if self.tensors else {})


@dataclass(frozen=True)
class Step:
    """One step of a task.

    Args:
        do: announce that the work ``begins``, ``run`` these stages at once, ``pass`` on the result of the one, or
            ``report`` how they ended.
        keys: of the stages.
    """

    do: Literal["begin", "run", "pass", "report"]
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """What is the same for all tasks of a run.

    Args:
        run: a name that no other run has.
        folder: the working folder, for what is named by a relative path.
        environment: variables.
        threads: how many threads a task may use.
        store: folder, limit and sign of the store, for drafts; the sign is a folder that is there while the run goes
            on, for whoever sees the same disk. None where nothing can be written.
    """

    run: str
    folder: str
    environment: Mapping[str, str]
    threads: int
    store: tuple[str, int | None, str] | None


@dataclass(frozen=True)
class SentStage:
    """A stage as it is sent: flat, so that no chain of stages is too long for it.

    Args:
        kind: its class.
        fields: what its fields hold, with a `Reference` in the place of every stage.
    """

    kind: type[AnyStage]
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Reference:
    """Stands for a stage that is sent too."""

    key: str


@dataclass(frozen=True)
class Task:
    """Stages to run in another process, one after the other.

    Args:
        stages: every stage that plays a part, inputs first.
        groups: keys of the stages of every group, also of those that are not to run.
        steps: what to do.
        given: keys of the stages whose results come with the task.
        kept: keys of those whose results are reported.
        reused: keys of those that are made on demand and that other tasks will ask for too.
        place: where.
    """

    stages: tuple[SentStage, ...]
    groups: tuple[tuple[str, ...], ...]
    steps: tuple[Step, ...]
    given: tuple[str, ...]
    kept: frozenset[str]
    reused: frozenset[str]
    place: Place


@dataclass(frozen=True)
class TaskReport:
    """How stages ended: seconds, results that are kept, errors and drafts by key; and the warnings meanwhile."""

    seconds: Mapping[str, float]
    results: Mapping[str, Packed]
    errors: Mapping[str, Exception]
    drafts: Mapping[str, Drafts] = field(default_factory=dict)
    warnings: Sequence[Warning] = ()


def packed_stage(stage: AnyStage) -> SentStage:
    """A stage that is to run, as it is sent."""
    return SentStage(type(stage), {name: _with_references(value) for name, value in vars(stage).items()})


def packed_input(stage: AnyStage) -> SentStage:
    """A stage of which only the result is needed, as it is sent: without what it was made from."""
    return SentStage(type(stage), {"key": stage.key, "inputs": ()})


def execute_task(task: Task, *given: Packed | Exception) -> Iterator[Packed | Exception | TaskReport | None]:
    """Do the steps of a task.

    Args:
        task: what to do.
        given: the results that come with it, or the errors that they failed with.

    Yields:
        None when it begins; for each step that passes something on, the result or the error that the stage failed with;
        for each that reports something, the report.
    """
    _settle(task.place)
    executor = _RemoteExecutor(task, given)
    for step in task.steps:
        if step.do == "begin":
            yield None
        elif step.do == "run":
            executor.run_unit(step.keys)
        elif step.do == "pass":
            yield executor.passed(step.keys[0])
        else:
            yield executor.report(step.keys)


def _settle(place: Place) -> None:
    import torch

    os.environ.update(place.environment)
    with suppress(OSError):  # another machine may have no such folder, and the task no need of it
        os.chdir(place.folder)
    if torch.get_num_threads() != place.threads:
        torch.set_num_threads(place.threads)


class _RemoteExecutor(Executor):
    """Runs the stages of a task, and packs what others need of them."""

    def __init__(self, task: Task, given: Iterable[Packed | Exception]) -> None:
        stages = _rebuilt(task.stages)
        to_run = {key for step in task.steps if step.do == "run" for key in step.keys}
        status: dict[str, Status] = {
            key: "run" if key in to_run else "finished" if stage.is_stored else "on demand"
            for key, stage in stages.items()
        }
        groups = {key: tuple(stages[member] for member in group) for group in task.groups for key in group}
        # The store takes drafts alone: whoever sent the task writes what is kept.
        plan = Plan((), tuple(stages.values()), status, Counter(), groups=groups, passing=frozenset(stages))
        super().__init__(plan, _store_for_drafts(task.place))
        self._keeps_going = True
        self._stages = stages
        self._task = task
        self._given: dict[str, Packed] = {}
        self._packed: dict[str, Packed] = {}
        self._sent = task.kept | {step.keys[0] for step in task.steps if step.do == "pass"}
        self._reported: set[str] = set()
        self._warnings: list[Warning] = []
        for key, found in zip(task.given, given, strict=True):
            if isinstance(found, Exception):
                self.errors[key] = found
            else:
                self._given[key] = found

    def run_unit(self, keys: Sequence[str]) -> None:
        """Run the stages with these keys at once; their errors are noted."""
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("default")
            for key in keys:
                if key not in self.seconds and key not in self.errors:
                    with suppress(Exception):  # noted in ``errors``
                        self._compute(self._stages[key], 1, 1)
                assert key in self.seconds or key in self.errors
                self._release(self._reachable(self._stages[key]))
        for warning in warned:
            is_text = isinstance(warning.message, str)
            self._warnings.append(warning.category(warning.message) if is_text else warning.message)  # type: ignore[arg-type]

    def passed(self, key: str) -> Packed | Exception:
        """What others get of a stage."""
        return _sendable(self.errors[key]) if key in self.errors else self._packed[key]

    def report(self, keys: Sequence[str]) -> TaskReport:
        """How these stages ended."""
        kept = [key for key in keys if key in self._task.kept and key not in self.errors]
        seconds = {key: time for key, time in self.seconds.items() if key not in self._reported}
        self._reported.update(seconds)
        caught, self._warnings = self._warnings, []
        return TaskReport(
            seconds,
            {key: self._packed[key] for key in kept},
            {key: _sendable(self.errors[key]) for key in keys if key in self.errors},
            {key: self._drafts.pop(key) for key in keys if key in self._drafts},
            caught,
        )

    def result(self, stage: Stage[ResultT]) -> ResultT:
        """The result of a stage of the task; what came with it is unpacked when it is first asked for."""
        if stage.key in self._given and stage.key not in self._memory:
            assert isinstance(stage, Stored), "only what can be written is sent"
            self._memory[stage.key] = stage.load(self._given[stage.key].artefact)
        return super().result(stage)

    def _compute(self, stage: AnyStage, number: int, total: int) -> Any:
        if stage.is_stored:
            return super()._compute(stage, number, total)
        name = f"{self._task.place.run} {stage.key}"
        found = _recent.get(name)
        if found is None:
            found = super()._compute(stage, number, total)
            if stage.key in self._task.reused:
                _recent.put(name, found)
        return found

    def _keep(self, stage: AnyStage, result: Any) -> None:
        if stage.key in self._sent:
            assert isinstance(stage, Stored), "only what can be written is sent"
            self._packed[stage.key] = Packed.of(stage.dump(result))
        super()._keep(stage, result)


class RecentResults:
    """The last few results that were made on demand in this process."""

    def __init__(self) -> None:
        self._results: OrderedDict[str, tuple[Any, int]] = OrderedDict()

    def get(self, name: str) -> Any:
        """What is there under a name, or None."""
        if name not in self._results:
            return None
        self._results.move_to_end(name)
        return self._results[name][0]

    def put(self, name: str, result: Any) -> None:
        """Keep a result, unless it is too large, in the place of those that were not used for longest."""
        size = _bytes_of(result)
        if size > MOST_BYTES:
            return
        self._results[name] = result, size
        while len(self._results) > MOST_MADE or sum(size for _, size in self._results.values()) > MOST_BYTES:
            self._results.popitem(last=False)


_recent = RecentResults()


def _bytes_of(result: Any) -> int:
    parts = vars(result).values() if hasattr(result, "__dict__") else ()
    return sum(getattr(part, "nbytes", 0) for part in (result, *parts))


def _rebuilt(sent: Iterable[SentStage]) -> dict[str, AnyStage]:
    found: dict[str, AnyStage] = {}
    for one in sent:
        # As unpickling does it: the key is that of the whole stage, which is not here.
        stage = object.__new__(one.kind)
        vars(stage).update({name: _without_references(value, found) for name, value in one.fields.items()})
        found[stage.key] = stage
    return found


def _with_references(value: Any) -> Any:
    if isinstance(value, Stage):
        return Reference(value.key)
    return tuple(map(_with_references, value)) if isinstance(value, tuple) else value


def _without_references(value: Any, found: Mapping[str, AnyStage]) -> Any:
    if isinstance(value, Reference):
        return found[value.key]
    return tuple(_without_references(one, found) for one in value) if isinstance(value, tuple) else value


def _store_for_drafts(place: Place) -> ArtefactStore | None:
    if place.store is None:
        return None
    folder, limit, sign = place.store
    if not Path(sign).is_dir():
        return None
    try:
        return ArtefactStore(folder, limit=limit)
    except StoreError:
        return None


def _sendable(error: Exception) -> Exception:
    """The error without its traceback, or its words if it cannot be sent."""
    try:
        return pickle.loads(pickle.dumps(error))
    except (pickle.PickleError, TypeError, AttributeError, ImportError, ValueError, RecursionError):
        return RuntimeError(f"{type(error).__name__}: {error}")
