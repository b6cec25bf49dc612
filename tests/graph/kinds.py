"""Stages for tests: each is the sum of its inputs and of its value, and notes that it has run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from perturblearn.graph import AnyStage, Costly, Estimate, Grouped, Results, Stage, Stored, aside
from perturblearn.store import Artefact


class Number:
    """A result that can be watched as it is forgotten."""

    def __init__(self, value: int) -> None:
        self.value = value


class StoredNumber(Stored[Number]):
    """A stage whose number is kept."""

    @classmethod
    def dump(cls, result: Number) -> Artefact:
        return Artefact({"value": result.value})

    @classmethod
    def load(cls, artefact: Artefact) -> Number:
        return Number(artefact.content["value"])


def nothing(*_: object) -> None: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class OnDemand(Stage[Number]):
    """Made whenever it is asked for."""

    kind = "on demand"
    value: int
    sources: tuple[AnyStage, ...] = ()
    seed: int | None = None
    name: str = aside(default="")
    load_of_work: float = aside(default=0.0)
    note: Callable[[Any], object] = aside(default=nothing)

    @property
    def label(self) -> str:
        return self.name

    @property
    def work(self) -> float:
        return self.load_of_work

    def run(self, result: Results) -> Number:
        self.note(self)
        value = self.value + sum(result(source).value for source in self.sources)
        result.report(1, 2, "half")
        return Number(value)


class Kept(OnDemand, StoredNumber):
    """Stored when it is made."""

    kind = "stored"


@dataclass(frozen=True, eq=False, kw_only=True)
class InGroup(OnDemand, Grouped[Number], StoredNumber):
    """Runs at once with all that have its `group`; one whose label begins with "fails" fails.

    `note` is called with the labels of the group and of those that are wanted of it.
    """

    kind = "grouped"
    group: str = ""

    @property
    def together(self) -> str:
        return self.group

    def run(self, result: Results) -> Number:
        return Grouped.run(self, result)

    @classmethod
    def run_group(
        cls, group: Sequence[Any], wanted: Sequence[int], result: Results
    ) -> Iterator[tuple[int, Number | Exception]]:
        group[0].note([member.label for member in group], [group[position].label for position in wanted])
        shared = sum(result(source).value for source in group[0].sources)
        for done, position in enumerate(wanted, start=1):
            member = group[position]
            if member.label.startswith("fails"):
                yield position, RuntimeError(member.label)
            else:
                result.report(done, len(wanted), member.label)
                yield position, Number(member.value + shared)


class ByValue(Costly[Number]):
    """A thousand operations and a second for each unit of `value`, of which half are saved; a MiB per stage."""

    @classmethod
    def estimate(cls, group: Sequence[Any]) -> Estimate:
        total = sum(member.value for member in group)
        return Estimate(1000.0 * total, 2000.0 * total, len(group) * 2**20, float(total), f"{len(group)} at once")


def stage(kind: type[OnDemand], value: int, *sources: AnyStage, label: str = "", work: float = 0.0, **more: Any) -> Any:
    """A stage that adds `value` to its sources."""
    return kind(value=value, sources=sources, name=label, load_of_work=work, **more)
