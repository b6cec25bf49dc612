"""Stages for tests: each is the sum of its inputs and of its parameter, and notes that it has run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def stage(kind: StageKind, value: int, *inputs: Stage, **more: Any) -> Stage:
    """A stage that adds `value` to its inputs."""
    return Stage(kind, {"value": value}, {str(number): source for number, source in enumerate(inputs)}, **more)
