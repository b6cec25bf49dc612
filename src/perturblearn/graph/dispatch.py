"""Sending the pieces of a plan to other processes, and receiving what they report."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from perturblearn.errors import PerturbLearnError
from perturblearn.graph.plan import Plan
from perturblearn.graph.remote import Packed, Place, Step, Task, TaskReport, packed_input, packed_stage
from perturblearn.graph.schedule import Schedule
from perturblearn.graph.stage import AnyStage
from perturblearn.graph.tasks import Piece, Unit

MOST_DEATHS = 4
"""After so many processes have died of a piece, its stages count as failed."""
EARLY_DEATH = 0.2
"""How much of a death it is if a process dies before it begins: that says more of the process than of the piece."""
DISTANT_DEATH = 0.04
"""And if a whole machine dies or a value is lost: no piece is to blame, but none may try for ever."""
AHEAD = 2
"""How many tasks are on their way for each that can run."""


class ProcessDied(Exception):
    """The process of a task died."""


class MachineDied(ProcessDied):
    """And so did all others of its machine: no task is to blame for it more than another one."""


class ValueLost(Exception):
    """A value that was an argument of a call has been lost with the machine, or the process, that had made it."""


class Calls(Protocol):
    """Where tasks run: calls of `execute_task` elsewhere. References to values may be compared, and be arguments."""

    def slots(self) -> int:
        """How many run at once."""
        ...

    def put(self, value: Any) -> Any:
        """A reference to a value of this process."""
        ...

    def call(self, *arguments: Any) -> Any:
        """Begin a call; references among the arguments become their values."""
        ...

    def wait(self, calls: Sequence[Any]) -> list[Any]:
        """Calls that have yielded something or have ended; none if nothing happens for a while."""
        ...

    def next(self, call: Any) -> Any:
        """A reference to what a call has yielded.

        Raises:
            ProcessDied: it has ended before.
        """
        ...

    def get(self, reference: Any) -> Any:
        """The value of a reference.

        Raises:
            ProcessDied: there is none, because the call has died, or it is lost.
            ValueLost: one that was an argument of the call is.
        """
        ...

    def is_lost(self, reference: Any) -> bool:
        """Whether its value can be had no more; False if that is not known."""
        ...

    def cancel(self, calls: Iterable[Any]) -> None:
        """End calls that nobody needs any more."""
        ...


class Receiver(Protocol):
    """Keeps what comes back."""

    plan: Plan
    errors: dict[str, Exception]

    def has_ended(self, key: str) -> bool:
        """Whether a stage has run, or failed."""
        ...

    def is_there(self, stage: AnyStage) -> bool:
        """Whether its result can be had without running it."""
        ...

    def pack(self, stage: AnyStage) -> Packed:
        """A result that is there."""
        ...

    def receive(self, stages: dict[str, AnyStage], report: TaskReport) -> None:
        """Keep what is reported of some stages, by key."""
        ...

    def give_up(self, stage: AnyStage, error: Exception) -> None:
        """Note that a stage has failed."""
        ...

    def forget(self, key: str) -> None:
        """Nobody needs what a stage has passed on any more."""
        ...


@dataclass(eq=False)
class _Sent:
    """A task on its way.

    Args:
        pieces: their numbers.
        steps: what it has not done yet.
        given, passed: references to what it was given and has passed on, by key.
        seconds: how long its stages took so far, by key.
        has_begun: whether its process has come as far as that.
    """

    pieces: list[int]
    steps: deque[Step]
    given: dict[str, Any]
    passed: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    has_begun: bool = False


class Dispatcher:
    """Sends pieces as tasks until all have run.

    Args:
        receiver: keeps what comes back.
        pieces: of the receiver's plan.
        calls: where they run.
        place: what is the same for all tasks.
    """

    def __init__(self, receiver: Receiver, pieces: Sequence[Piece], calls: Calls, place: Place) -> None:
        self._receiver = receiver
        self._calls = calls
        self._place = place
        self._stages = {stage.key: stage for stage in receiver.plan.stages}
        self._order = {key: number for number, key in enumerate(self._stages)}
        makers = Counter(key for piece in pieces for key in {key for unit in piece.units for key in unit.on_demand})
        self._reused = {key for key, count in makers.items() if count > 1}
        self._schedule = Schedule(pieces, {key: self._stages[key] for key in makers})
        self._passed: dict[str, Any] = {}
        self._deaths: defaultdict[int, float] = defaultdict(float)
        self._sent: dict[Any, _Sent] = {}

    def run(self) -> None:
        """Send what can run, and receive what is reported, until every piece is finished."""
        while not self._schedule.is_finished:
            slots = self._calls.slots()
            while len(self._sent) < AHEAD * slots and (numbers := self._schedule.take(slots)):
                self._send(numbers)
            for call in self._calls.wait(list(self._sent)):
                self._receive(call)

    def cancel(self) -> None:
        """End what is on its way."""
        self._calls.cancel(self._sent)

    def _send(self, numbers: Sequence[int]) -> None:
        left: dict[int, tuple[Unit, ...]] = {}
        for number in numbers:
            piece = self._schedule.pieces[number]
            lost = [key for key in piece.needs if not self._can_give(key)]
            if lost:
                self._schedule.repeat(number, lost)
            else:
                left[number] = piece.left(self._receiver.has_ended, self._can_give)
        for number in [number for number, units in left.items() if not units]:
            del left[number]
            self._finish(number)
        if not left:
            return
        run = {stage.key for units in left.values() for unit in units for stage in unit.stages}
        needed = {key for units in left.values() for unit in units for key in unit.needs} - run
        given = {key: self._give(key) for key in sorted(needed, key=self._order.__getitem__)}
        task = self._task(left, tuple(given))
        steps = deque(step for step in task.steps if step.do != "run")
        self._sent[self._calls.call(task, *given.values())] = _Sent(list(left), steps, given)

    def _can_give(self, key: str) -> bool:
        return key in self._passed or key in self._receiver.errors or self._receiver.is_there(self._stages[key])

    def _give(self, key: str) -> Any:
        if key in self._receiver.errors:
            return self._receiver.errors[key]
        if key in self._passed:
            return self._passed[key]
        reference = self._calls.put(self._receiver.pack(self._stages[key]))
        if self._schedule.is_asked_for(key):
            self._passed[key] = reference
        return reference

    def _task(self, left: dict[int, tuple[Unit, ...]], given: tuple[str, ...]) -> Task:
        plan = self._receiver.plan
        run = [stage for units in left.values() for unit in units for stage in unit.stages]
        groups = {tuple(member.key for member in plan.group(stage)) for stage in run}
        on_demand = {key for units in left.values() for unit in units for key in unit.on_demand}
        whole = on_demand.union(*groups)
        bare = {source.key for key in whole for source in self._stages[key].inputs} - whole
        return Task(
            tuple(
                packed_stage(self._stages[key]) if key in whole else packed_input(self._stages[key])
                for key in sorted(whole | bare, key=self._order.__getitem__)
            ),
            tuple(group for group in groups if len(group) > 1),
            tuple(self._steps(left)),
            given,
            frozenset(stage.key for stage in run if plan.is_kept(stage)),
            frozenset(on_demand & self._reused),
            self._place,
        )

    def _steps(self, left: dict[int, tuple[Unit, ...]]) -> list[Step]:
        """A piece alone reports each unit, so that little is lost if it dies; several report once, at the end."""
        steps = [Step("begin")]
        unreported: list[str] = []
        for number, units in left.items():
            for unit in units:
                keys = tuple(stage.key for stage in unit.stages)
                steps.append(Step("run", keys))
                steps += [Step("pass", (key,)) for key in keys if key in self._schedule.pieces[number].passes]
                if len(left) == 1:
                    steps.append(Step("report", keys))
                unreported += keys
        return steps if len(left) == 1 else [*steps, Step("report", tuple(unreported))]

    def _receive(self, call: Any) -> None:
        sent = self._sent[call]
        step = sent.steps[0]
        try:
            reference = self._calls.next(call)
            report: TaskReport | None = None if step.do == "pass" else self._calls.get(reference)
        except (ProcessDied, ValueLost) as trouble:
            del self._sent[call]
            self._repeat(sent, trouble)
            return
        sent.steps.popleft()
        if step.do == "pass":
            sent.passed[step.keys[0]] = reference
        elif report is None:
            sent.has_begun = True
        else:
            sent.seconds.update(report.seconds)
            self._receiver.receive({key: self._stages[key] for key in step.keys}, report)
        if not sent.steps:
            del self._sent[call]
            self._passed |= sent.passed
            self._schedule.note(sent.pieces, sent.seconds)
            for number in sent.pieces:
                self._finish(number)

    def _finish(self, number: int) -> None:
        for key in self._schedule.finish(number):
            self._passed.pop(key, None)
            self._receiver.forget(key)

    def _repeat(self, sent: _Sent, trouble: ProcessDied | ValueLost) -> None:
        if isinstance(trouble, ValueLost):
            given = {key: value for key, value in sent.given.items() if not isinstance(value, Exception)}
            for key in [key for key, value in given.items() if self._calls.is_lost(value)] or given:
                if self._passed.get(key) is given[key]:  # else another one has been made meanwhile
                    del self._passed[key]
        for number in sent.pieces:
            # Of several pieces none is known to be the reason.
            if len(sent.pieces) == 1:
                self._deaths[number] += _weight(trouble, sent)
            if self._deaths[number] < MOST_DEATHS:
                self._schedule.repeat(number)
                continue
            for stage in self._schedule.pieces[number].stages:
                if not self._can_give(stage.key):
                    self._receiver.give_up(stage, _sentence(stage, str(trouble)))
            self._finish(number)


def _weight(trouble: ProcessDied | ValueLost, sent: _Sent) -> float:
    """How much of a death it is for the piece of a task."""
    if isinstance(trouble, (MachineDied, ValueLost)):
        return DISTANT_DEATH
    return 1.0 if sent.has_begun else EARLY_DEATH


def _sentence(stage: AnyStage, reason: str) -> PerturbLearnError:
    seed = "" if stage.drawn_with is None else f", seed {stage.drawn_with}"
    return PerturbLearnError(
        f"{stage.label}{seed}: one process after the other died of it ({reason}), as they do that "
        "need more memory than there is; give each task more of a machine with --cpus, and repeat it"
    )
