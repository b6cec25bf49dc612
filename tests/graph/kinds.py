"""Stages for tests: each is the sum of its inputs and of its parameter, and notes that it has run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from perturblearn.graph import Report, Stage, StageKind
from perturblearn.store import Artefact


class Number:
    """A result that can be watched as it is forgotten."""

    def __init__(self, value: int) -> None:
        self.value = value


def kinds(note: Callable[[Stage], object]) -> tuple[StageKind, StageKind]:
    """A kind that is stored and one that is made on demand."""

    def add(stage: Stage, inputs: Mapping[str, Any], report: Report) -> Number:
        note(stage)
        value = stage.parameters["value"] + sum(number.value for number in inputs.values())
        report(1, 2, "half")
        return Number(value)

    stored = StageKind(
        "stored", 1, add, lambda number: Artefact({"value": number.value}), lambda found: Number(found.content["value"])
    )
    return stored, StageKind("on demand", 1, add)


def grouped_kind(note: Callable[[list[str], list[str]], object]) -> StageKind:
    """A stored kind that runs the stages with equal parameter `group` at once; a stage whose label fails does.

    `note` hears the labels of the group and of those that are wanted of it.
    """

    def add(
        group: Sequence[Stage], wanted: Sequence[int], inputs: Mapping[str, Any], report: Report
    ) -> Iterator[tuple[int, Number | Exception]]:
        note([member.label for member in group], [group[position].label for position in wanted])
        shared = sum(number.value for number in inputs.values())
        for done, position in enumerate(wanted, start=1):
            member = group[position]
            if member.label.startswith("fails"):
                yield position, RuntimeError(member.label)
            else:
                report(done, len(wanted), member.label)
                yield position, Number(member.parameters["value"] + shared)

    return StageKind(
        "grouped",
        1,
        dump=lambda number: Artefact({"value": number.value}),
        load=lambda found: Number(found.content["value"]),
        fusion=lambda member: str(member.parameters["group"]),
        run_many=add,
    )


def stage(kind: StageKind, value: int, *inputs: Stage, **more: Any) -> Stage:
    """A stage that adds `value` to its inputs."""
    return Stage(kind, {"value": value}, _numbered(inputs), **more)


def grouped(kind: StageKind, value: int, *inputs: Stage, group: str = "", **more: Any) -> Stage:
    """A stage that does so together with others of its group."""
    return Stage(kind, {"value": value, "group": group}, _numbered(inputs), **more)


def _numbered(inputs: Sequence[Stage]) -> dict[str, Stage]:
    return {str(number): source for number, source in enumerate(inputs)}
