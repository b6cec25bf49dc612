"""Which pieces of a plan can run next, and how many of them are worth a task."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from perturblearn.graph.stage import AnyStage
from perturblearn.graph.tasks import Piece

SECONDS = 1.0
"""How long a task of several pieces should take: long enough for sending it to cost little in comparison."""
MOST_PIECES = 250
"""How many pieces a task may have: what was made for it stays in memory until it ends."""

State = Literal["waiting", "ready", "running", "finished"]


class Schedule:
    """The pieces of a plan and how far they are.

    Args:
        pieces: as `cut` returns them.
        on_demand: the stages that are made on demand, by key.
    """

    def __init__(self, pieces: Sequence[Piece], on_demand: dict[str, AnyStage]) -> None:
        self.pieces = pieces
        self._on_demand = on_demand
        self._waits = [set(piece.after) for piece in pieces]
        self._users: list[list[int]] = [[] for _ in pieces]
        self._maker = {key: number for number, piece in enumerate(pieces) for key in piece.passes}
        self._askers = Counter(key for piece in pieces for key in piece.needs)
        self._state: list[State] = ["waiting"] * len(pieces)
        self._ready: list[int] = []
        self._alone: set[int] = set()
        self._pace = _Pace()
        self._unfinished = len(pieces)
        for number, piece in enumerate(pieces):
            for source in piece.after:
                self._users[source].append(number)
            self._put_forward(number)

    @property
    def is_finished(self) -> bool:
        """Whether every piece is."""
        return not self._unfinished

    def is_asked_for(self, key: str) -> bool:
        """Whether pieces that are not finished need a result of others."""
        return self._askers[key] > 0

    def take(self, slots: int) -> list[int]:
        """The pieces of the next task, in order; none if all wait for others.

        Pieces of which nothing is known go alone. Short ones go together, but so that there are tasks for everybody.

        Args:
            slots: how many tasks run at once.
        """
        most = min(MOST_PIECES, len(self._ready) // (2 * max(1, slots)))
        taken: list[int] = []
        expected = 0.0
        while self._ready:
            seconds = self._expect(self._ready[0])
            if taken and (len(taken) >= most or expected + seconds > SECONDS):
                break
            taken.append(heapq.heappop(self._ready))
            self._state[taken[-1]] = "running"
            expected += seconds
        return taken

    def _expect(self, number: int) -> float:
        piece = self.pieces[number]
        if number in self._alone:
            return SECONDS
        return self._pace.expect([*piece.stages, *self._made_for(piece)])

    def _made_for(self, piece: Piece) -> list[AnyStage]:
        return [self._on_demand[key] for key in {key for unit in piece.units for key in unit.on_demand}]

    def note(self, numbers: Iterable[int], seconds: dict[str, float]) -> None:
        """Learn how long the stages of some pieces took, by key; those made on demand that are not there took none."""
        for number in numbers:
            piece = self.pieces[number]
            for stage in piece.stages:
                if stage.key in seconds:
                    self._pace.note(stage, seconds[stage.key])
            for stage in self._made_for(piece):
                self._pace.note(stage, seconds.get(stage.key, 0.0))

    def finish(self, number: int) -> list[str]:
        """A piece is finished; returns the keys of what it was given or has passed again and nobody needs any more."""
        self._state[number] = "finished"
        self._unfinished -= 1
        for user in self._users[number]:
            self._waits[user].discard(number)
            self._put_forward(user)
        piece = self.pieces[number]
        self._askers.subtract(piece.needs)
        # A piece that is repeated because one of its results was lost makes the others again too.
        return [key for key in (*piece.needs, *piece.passes) if not self._askers[key]]

    def repeat(self, number: int, lost: Iterable[str] = ()) -> None:
        """A piece that was taken has to run again, alone.

        Args:
            number: of the piece.
            lost: keys of what it needs and nobody has any more: the pieces that make it run first.
        """
        self._state[number] = "waiting"
        self._alone.add(number)
        for key in lost:
            maker = self._maker[key]
            self._waits[number].add(maker)
            if self._state[maker] == "finished":
                self._unfinished += 1
                self._askers.update(self.pieces[maker].needs)
                self._state[maker] = "waiting"
                self._put_forward(maker)
        self._put_forward(number)

    def _put_forward(self, number: int) -> None:
        if self._state[number] == "waiting" and not self._waits[number]:
            self._state[number] = "ready"
            heapq.heappush(self._ready, number)


class _Pace:
    """How long stages take, judged by those that have run."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._work: defaultdict[str, float] = defaultdict(float)

    def note(self, stage: AnyStage, seconds: float) -> None:
        """Learn from a stage."""
        self._seconds[stage.kind] += seconds
        self._work[stage.kind] += stage.work or 1

    def expect(self, stages: Iterable[AnyStage]) -> float:
        """Seconds that stages may take; those of a kind that never ran count as long."""
        expected = 0.0
        for stage in stages:
            work = self._work[stage.kind]
            if not work:
                return SECONDS
            expected += self._seconds[stage.kind] / work * (stage.work or 1)
        return expected
