"""Cutting plans into pieces, their order, and how many of them make a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.graph.kinds import InGroup, Kept, OnDemand, stage

from perturblearn.graph import AnyStage, Plan, make_plan
from perturblearn.graph.schedule import MOST_PIECES, Schedule
from perturblearn.graph.tasks import Piece, cut


@dataclass(frozen=True)
class Node:
    """A stage to be drawn: its kind, the places of its inputs among those before, its work, whether it is finished."""

    kind: str
    inputs: tuple[int, ...]
    work: float
    is_finished: bool


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans of up to 12 stages, stored, grouped and on demand, some of them finished."""
    made: list[AnyStage] = []
    finished: set[str] = set()
    for number in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(("stored", "stored", "on demand", "grouped")))
        places = draw(st.lists(st.integers(0, number - 1), max_size=3, unique=True)) if number else []
        inputs = [made[place] for place in places]
        work = draw(st.sampled_from((0.0, 1.0)))
        if kind == "grouped":  # all members of a group have the same inputs
            made.append(stage(InGroup, number, *inputs, group=str(sorted(places)), work=work))
        else:
            made.append(stage(Kept if kind == "stored" else OnDemand, number, *inputs, work=work))
        if draw(st.integers(0, 4)) == 0:
            finished.add(made[-1].key)
    targets = [found for found in made if draw(st.booleans())] or made[-1:]
    return make_plan(targets, Finished(finished))  # type: ignore[arg-type]


class Finished:
    """As much of a store as a plan asks for."""

    def __init__(self, keys: set[str]) -> None:
        self._keys = keys

    def has(self, key: str) -> bool:
        return key in self._keys


def values_of(stages: Iterable[AnyStage]) -> list[int]:
    return [stage.value for stage in stages if isinstance(stage, OnDemand)]


def keys_of(piece: Piece) -> set[str]:
    return {found.key for found in piece.stages}


@given(plans())
def test_every_stage_runs_in_one_piece_after_all_that_it_needs(plan: Plan) -> None:
    pieces = cut(plan)
    ran = [found.key for piece in pieces for found in piece.stages]
    assert sorted(ran) == sorted(found.key for found in plan.to_run)

    there = {found.key for found in plan.finished}
    for number, piece in enumerate(pieces):
        assert all(source < number for source in piece.after)
        given_here = set(piece.needs)
        assert given_here <= there | {key for source in piece.after for key in pieces[source].passes}
        for unit in piece.units:
            assert unit.needs <= given_here
            assert unit.needs | unit.on_demand == needed_by(unit.stages)
            given_here |= {found.key for found in unit.stages}
    for number, piece in enumerate(pieces):
        assert piece.passes <= keys_of(piece)
        assert piece.passes == {key for user in pieces if user is not piece for key in user.needs & keys_of(piece)}
        assert piece.after == {other for other, source in enumerate(pieces) if source.passes & piece.needs}, number


def needed_by(stages: tuple[AnyStage, ...]) -> set[str]:
    """Inputs, and inputs of those that are made on demand."""
    found: set[str] = set()
    waiting = [source for member in stages for source in member.inputs]
    while waiting:
        source = waiting.pop()
        found.add(source.key)
        if not source.is_stored:
            waiting += source.inputs
    return found


@given(plans())
def test_a_group_is_never_cut(plan: Plan) -> None:
    for piece in cut(plan):
        for unit in piece.units:
            members = {found.key for found in plan.group(unit.stages[0]) if plan.status[found.key] == "run"}
            assert {found.key for found in unit.stages} == members


@given(plans())
def test_what_one_piece_alone_needs_belongs_to_it(plan: Plan) -> None:
    pieces = cut(plan)
    users = Counter(source for piece in pieces for source in piece.after)
    assert 1 not in users.values()


def test_shared_stages_are_cut_off_and_measures_of_them_stay_with_them() -> None:
    data = stage(OnDemand, 0)
    shared = stage(Kept, 1, data, work=1.0)
    measured = stage(Kept, 2, shared, data)
    runs = [stage(Kept, 10, stage(Kept, value, shared, data, work=1.0), measured) for value in (20, 21, 22)]
    pieces = cut(make_plan(runs))
    assert [values_of(piece.stages) for piece in pieces] == [
        [1, 2],
        [20, 10],
        [21, 10],
        [22, 10],
    ]
    assert [set(piece.after) for piece in pieces] == [set(), {0}, {0}, {0}]
    assert pieces[0].passes == {shared.key, measured.key}


def test_a_long_chain_is_one_piece() -> None:
    last = stage(Kept, 0)
    for value in range(1, 3000):
        last = stage(Kept, value, last)
    (piece,) = cut(make_plan([last]))
    assert len(piece.units) == 3000


def test_what_has_ended_is_not_repeated_unless_somebody_waits_for_it() -> None:
    first = stage(Kept, 1)
    second = stage(Kept, 2, first)
    third = stage(Kept, 3, second)
    (piece,) = cut(make_plan([third]))

    def left(ended: set[AnyStage], there: set[AnyStage]) -> list[int]:
        units = piece.left({found.key for found in ended}.__contains__, {found.key for found in there}.__contains__)
        return [value for unit in units for value in values_of(unit.stages[:1])]

    assert left(set(), set()) == [1, 2, 3]
    assert left({first, second}, {second}) == [3]
    assert left({first, second}, {first}) == [2, 3]
    assert left({first, second}, set()) == [1, 2, 3]
    assert left({first, second, third}, set()) == []


class Simulated:
    """Somebody who runs the pieces of a plan, and may lose what they passed on."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.pieces = cut(plan)
        on_demand = {found.key: found for found in plan.stages if not found.is_stored}
        self.schedule = Schedule(self.pieces, on_demand)
        self.held = {found.key for found in plan.finished}
        self.running: list[list[int]] = []

    def take(self, slots: int) -> list[int]:
        """The next task that has all that it needs."""
        while taken := self.schedule.take(slots):
            for number in taken.copy():
                lost = self.pieces[number].needs - self.held
                if lost:
                    self.schedule.repeat(number, lost)
                    taken.remove(number)
            if taken:
                self.running.append(taken)
                break
        return taken

    def finish(self, place: int, seconds: float) -> None:
        taken = self.running.pop(place)
        self.schedule.note(taken, {found.key: seconds for number in taken for found in self.pieces[number].stages})
        for number in taken:
            self.held |= self.pieces[number].passes
            for key in self.schedule.finish(number):
                if self.plan.status[key] == "run":
                    self.held.discard(key)


@given(plans(), st.data())
def test_every_piece_gets_what_it_needs_though_results_are_lost_and_all_is_dropped_in_the_end(
    plan: Plan, data: st.DataObject
) -> None:
    simulated = Simulated(plan)
    slots = data.draw(st.integers(1, 3))
    losses = data.draw(st.integers(0, 3))
    runs = 0
    while not simulated.schedule.is_finished:
        while len(simulated.running) < 4 and simulated.take(slots):
            pass
        assert simulated.running, "it never stops before its end"
        place = data.draw(st.integers(0, len(simulated.running) - 1))
        passed = sorted(key for key in simulated.held if plan.status[key] == "run")
        if losses and passed and data.draw(st.booleans()):
            losses -= 1
            simulated.held.remove(data.draw(st.sampled_from(passed)))
            for number in simulated.running.pop(place):
                simulated.schedule.repeat(number)
        else:
            runs += len(simulated.running[place])
            simulated.finish(place, data.draw(st.sampled_from((0.001, 0.1, 2.0))))
    assert runs >= len(simulated.pieces)
    assert simulated.held == {found.key for found in plan.finished}
    assert not simulated.take(slots)


def test_what_a_repeated_piece_makes_again_for_nobody_is_dropped() -> None:
    one, other = stage(InGroup, 0, group="[]"), stage(InGroup, 2, group="[]")
    simulated = Simulated(make_plan([stage(Kept, 3, one), stage(Kept, 4, other)]))
    (of_group,) = [number for number, piece in enumerate(simulated.pieces) if len(piece.passes) == 2]
    assert simulated.take(1) == [of_group]
    simulated.finish(0, 0.1)
    simulated.take(1)
    simulated.finish(0, 0.1)
    simulated.held.clear()  # what the last piece needs is lost before it is taken
    while simulated.take(1):
        simulated.finish(0, 0.1)
    assert simulated.schedule.is_finished
    assert simulated.held == set()


@pytest.mark.parametrize(
    ("seconds", "most"), [(0.01, 100), (0.3, 3), (5.0, 1), (1e-6, MOST_PIECES)], ids=["short", "longer", "long", "tiny"]
)
def test_short_pieces_go_together_once_they_are_known(seconds: float, most: int) -> None:
    simulated = Simulated(make_plan(stage(Kept, value) for value in range(5000)))
    assert [len(simulated.take(2)) for _ in range(4)] == [1, 1, 1, 1]  # of unknown length
    simulated.finish(0, seconds)
    assert len(simulated.take(2)) == pytest.approx(most, abs=1)


def test_the_last_pieces_are_shared_out() -> None:
    simulated = Simulated(make_plan(stage(Kept, value) for value in range(17)))
    simulated.take(2)
    simulated.finish(0, 0.001)
    sizes = []
    while taken := simulated.take(2):
        sizes.append(len(taken))
    assert sizes == [4, 3, 2, 1, 1, 1, 1, 1, 1, 1]


def test_work_tells_how_long_a_piece_takes() -> None:
    simulated = Simulated(make_plan(stage(Kept, value, work=1.0 if value < 50 else 20.0) for value in range(100)))
    simulated.take(1)
    simulated.finish(0, 1 / 16)
    sizes = []
    while taken := simulated.take(1):
        sizes.append(len(taken))
    assert sizes == [16, 16, 16, 1, *[1] * 50]
