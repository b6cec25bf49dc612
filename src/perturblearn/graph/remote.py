"""Work for another process: what is sent there, how it is carried out, and what comes back."""

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
from perturblearn.graph.stage import Stage
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
        do: say that the work will ``begin``, ``run`` these stages at once, ``pass`` on the result of the one, or
            ``tell`` how they ended.
        keys: of the stages.
    """

    do: Literal["begin", "run", "pass", "tell"]
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
class Task:
    """Stages to run in another process, one after the other.

    Args:
        stages: the fields of every stage that plays a part, inputs first, with the keys of inputs for the inputs: flat,
            so that no chain of stages is too long to be sent, and none brings along what it was cut from.
        groups: keys of the stages of every group, also of those that are not to run.
        steps: what to do.
        given: keys of the stages whose results come with the task.
        kept: keys of those whose results are told.
        reused: keys of those that are made on demand and that other tasks will ask for too.
        place: where.
    """

    stages: tuple[Mapping[str, Any], ...]
    groups: tuple[tuple[str, ...], ...]
    steps: tuple[Step, ...]
    given: tuple[str, ...]
    kept: frozenset[str]
    reused: frozenset[str]
    place: Place


@dataclass(frozen=True)
class Word:
    """How stages ended: seconds, results that are kept, errors and drafts by key; and what was warned of."""

    seconds: Mapping[str, float]
    results: Mapping[str, Packed]
    errors: Mapping[str, Exception]
    drafts: Mapping[str, Drafts] = field(default_factory=dict)
    warned: Sequence[Warning] = ()


def fields_of(stage: Stage) -> dict[str, Any]:
    """A stage that is to run, as it is sent."""
    return {**vars(stage), "inputs": {name: source.key for name, source in stage.inputs.items()}}


def fields_of_given(stage: Stage) -> dict[str, Any]:
    """A stage of which no more is needed than its result."""
    empty = {"parameters": {}, "inputs": {}, "context": {}}
    return {**vars(stage), **empty}


def carry_out(task: Task, *given: Packed | Exception) -> Iterator[Packed | Exception | Word | None]:
    """Do what a task says.

    Args:
        task: what to do.
        given: the results that come with it, or the errors that they failed with.

    Yields:
        None when it begins; for each step that passes something on, the result or the error that the stage failed with;
        for each that tells something, the word.
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
            yield executor.word(step.keys)


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
            key: "run" if key in to_run else "finished" if stage.kind.is_stored else "on demand"
            for key, stage in stages.items()
        }
        groups = {key: tuple(stages[member] for member in group) for group in task.groups for key in group}
        # The store takes drafts alone: whoever sent the task writes what is kept.
        plan = Plan((), tuple(stages.values()), status, Counter(), groups=groups, passing=frozenset(stages))
        super().__init__(plan, _store_for_drafts(task.place))
        self._goes_on = True
        self._stages = stages
        self._task = task
        self._given: dict[str, Packed] = {}
        self._packed: dict[str, Packed] = {}
        self._sent = task.kept | {step.keys[0] for step in task.steps if step.do == "pass"}
        self._told_seconds: set[str] = set()
        self._warned: list[Warning] = []
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
            self._warned.append(warning.category(warning.message) if is_text else warning.message)  # type: ignore[arg-type]

    def passed(self, key: str) -> Packed | Exception:
        """What others get of a stage."""
        return _sendable(self.errors[key]) if key in self.errors else self._packed[key]

    def word(self, keys: Sequence[str]) -> Word:
        """How these stages ended."""
        kept = [key for key in keys if key in self._task.kept and key not in self.errors]
        seconds = {key: time for key, time in self.seconds.items() if key not in self._told_seconds}
        self._told_seconds.update(seconds)
        warned, self._warned = self._warned, []
        return Word(
            seconds,
            {key: self._packed[key] for key in kept},
            {key: _sendable(self.errors[key]) for key in keys if key in self.errors},
            {key: self._drafts.pop(key) for key in keys if key in self._drafts},
            warned,
        )

    def result(self, stage: Stage) -> Any:
        """The result of a stage of the task; what came with it is unpacked when it is first asked for."""
        if stage.key in self._given and stage.key not in self._memory:
            assert stage.kind.load is not None, "only what can be written is sent"
            self._memory[stage.key] = stage.kind.load(self._given[stage.key].artefact)
        return super().result(stage)

    def _compute(self, stage: Stage, number: int, total: int) -> Any:
        if stage.kind.is_stored:
            return super()._compute(stage, number, total)
        name = f"{self._task.place.run} {stage.key}"
        found = _made.get(name)
        if found is None:
            found = super()._compute(stage, number, total)
            if stage.key in self._task.reused:
                _made.put(name, found)
        return found

    def _keep(self, stage: Stage, result: Any) -> None:
        if stage.key in self._sent:
            assert stage.kind.dump is not None, "only what can be written is sent"
            self._packed[stage.key] = Packed.of(stage.kind.dump(result))
        super()._keep(stage, result)


class Made:
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


_made = Made()


def _bytes_of(result: Any) -> int:
    parts = vars(result).values() if hasattr(result, "__dict__") else ()
    return sum(getattr(part, "nbytes", 0) for part in (result, *parts))


def _rebuilt(stages: Iterable[Mapping[str, Any]]) -> dict[str, Stage]:
    found: dict[str, Stage] = {}
    for fields in stages:
        # As unpickling does it: the key is that of the whole stage, which is not here.
        stage = object.__new__(Stage)
        vars(stage).update({**fields, "inputs": {name: found[key] for name, key in fields["inputs"].items()}})
        found[stage.key] = stage
    return found


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
