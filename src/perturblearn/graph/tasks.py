"""Cutting a plan into pieces that can run in different places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from perturblearn.graph.memory import collecting_nothing
from perturblearn.graph.plan import Plan
from perturblearn.graph.stage import AnyStage


@dataclass(frozen=True, eq=False)
class Unit:
    """Stages that run at once: those of a group that have to run, or one stage.

    Args:
        stages: which.
        needs: keys of the stages of stored kinds whose results they may ask for, directly or through one that is made
            on demand.
        on_demand: keys of those that are made on demand for it.
    """

    stages: tuple[AnyStage, ...]
    needs: frozenset[str]
    on_demand: frozenset[str]


@dataclass(frozen=True, eq=False)
class Piece:
    """Units that run one after the other in one place; every unit of a plan belongs to one piece.

    Args:
        units: which, inputs first.
        after: numbers of the pieces that have to be finished before.
        needs: keys of what it has to be given: results of other pieces, and finished ones.
        passes: keys of its stages whose results other pieces need.
    """

    units: tuple[Unit, ...]
    after: frozenset[int]
    needs: frozenset[str]
    passes: frozenset[str]

    @property
    def stages(self) -> Iterator[AnyStage]:
        """Those of all its units."""
        return (stage for unit in self.units for stage in unit.stages)

    def left(self, has_ended: Callable[[str], bool], is_there: Callable[[str], bool]) -> tuple[Unit, ...]:
        """The units that still have to run.

        Args:
            has_ended: whether the stage with a key need not run for its own sake.
            is_there: whether its result can be had without running it.
        """
        wanted = set(self.passes)
        left: list[Unit] = []
        for unit in reversed(self.units):
            if any(
                not has_ended(stage.key) or (stage.key in wanted and not is_there(stage.key)) for stage in unit.stages
            ):
                left.append(unit)
                wanted |= unit.needs
        return tuple(reversed(left))


def cut(plan: Plan) -> tuple[Piece, ...]:
    """The pieces of a plan: what has to run, cut where a result is needed in several places.

    A group is never cut. A unit that one piece alone needs belongs to that piece. One that several need is a piece of
    its own, or belongs to the only piece that it waits for if it counts for no work; so they can all begin once it
    is there. What is made on demand is no part of any piece: whoever needs it makes it.

    Args:
        plan: of any size; the time grows with the number of stages and of their inputs.

    Returns:
        Pieces in such an order that each comes after those that it waits for.
    """
    with collecting_nothing():
        return _cut(plan)


def _cut(plan: Plan) -> tuple[Piece, ...]:
    units = _units(plan)
    unit_of = {stage.key: number for number, unit in enumerate(units) for stage in unit.stages}
    sources = [{unit_of[key] for key in unit.needs if key in unit_of} for unit in units]
    homes = _join_users(sources)
    _join_sources(units, sources, homes)
    return _pieces(units, unit_of, homes)


def _units(plan: Plan) -> list[Unit]:
    """What has to run, inputs first."""
    reached: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    units: list[Unit] = []
    seen: set[str] = set()
    for stage in plan.stages:
        if not stage.is_stored:
            needs, on_demand = _reach([stage], reached)
            reached[stage.key] = needs, on_demand | {stage.key}
        elif plan.status[stage.key] == "run" and stage.key not in seen:
            members = tuple(member for member in plan.group(stage) if plan.status[member.key] == "run")
            seen.update(member.key for member in members)
            units.append(Unit(members, *_reach(members, reached)))
    return units


def _reach(
    stages: Iterable[AnyStage], reached: Mapping[str, tuple[frozenset[str], frozenset[str]]]
) -> tuple[frozenset[str], frozenset[str]]:
    """Keys of what some stages may ask for: of stored kinds, and of others."""
    needs: set[str] = set()
    on_demand: set[str] = set()
    for source in {source for stage in stages for source in stage.inputs}:
        if source.is_stored:
            needs.add(source.key)
        else:
            needs |= reached[source.key][0]
            on_demand |= reached[source.key][1]
    return frozenset(needs), frozenset(on_demand)


def _join_users(sources: list[set[int]]) -> list[int]:
    """For every unit the last unit of its piece, if what one piece alone needs belongs to it."""
    users: list[set[int]] = [set() for _ in sources]
    homes = list(range(len(sources)))
    for number in reversed(range(len(sources))):
        if len(users[number]) == 1:
            (homes[number],) = users[number]
        for source in sources[number]:
            users[source].add(homes[number])
    return homes


def _join_sources(units: list[Unit], sources: list[set[int]], homes: list[int]) -> None:
    """Let what others wait for, but is no work, belong to the only piece that it waits for itself."""
    members: dict[int, list[int]] = {}
    for number, home in enumerate(homes):
        members.setdefault(home, []).append(number)
    needed = {source for number, found in enumerate(sources) for source in found if homes[source] != homes[number]}
    for home in sorted(members):
        if home not in needed or any(stage.work for number in members[home] for stage in units[number].stages):
            continue
        # What comes before has found its piece already.
        before = {homes[source] for number in members[home] for source in sources[number]} - {home}
        if len(before) == 1:
            for number in members[home]:
                (homes[number],) = before


def _pieces(units: list[Unit], unit_of: Mapping[str, int], homes: list[int]) -> tuple[Piece, ...]:
    members: dict[int, list[Unit]] = {home: [] for home in sorted(set(homes))}
    for unit, home in zip(units, homes, strict=True):
        members[home].append(unit)
    numbers = {home: number for number, home in enumerate(members)}
    needs: list[frozenset[str]] = []
    after: list[frozenset[int]] = []
    passes: list[set[str]] = [set() for _ in members]
    for found in members.values():
        own = {stage.key for unit in found for stage in unit.stages}
        needs.append(frozenset(key for unit in found for key in unit.needs if key not in own))
        made = {key: numbers[homes[unit_of[key]]] for key in needs[-1] if key in unit_of}
        after.append(frozenset(made.values()))
        for key, number in made.items():
            passes[number].add(key)
    return tuple(
        Piece(tuple(found), after[number], needs[number], frozenset(passes[number]))
        for number, found in enumerate(members.values())
    )
