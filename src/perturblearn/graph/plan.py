"""What has to run, in which order, and what is already there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, cast

from perturblearn.graph.memory import available_memory
from perturblearn.graph.stage import AnyStage, Costly, Estimate, Grouped
from perturblearn.store import ArtefactStore

_SAMPLED = 2000
"""Groups up to which a description in short estimates all of them; of more it estimates so many."""

Status = Literal["run", "finished", "on demand", "not needed"]


@dataclass(frozen=True)
class Plan:
    """Every stage behind some targets, inputs before users, each once.

    Args:
        targets: the stages whose results are wanted.
        stages: all stages that the targets need or could need, inputs first.
        status: per key: ``run``, ``finished`` (in the store), ``on demand`` (never stored, made when a stage asks) or
            ``not needed`` (only finished stages would use it).
        users: how many stages have each stage as an input: 2 and more means that it is shared.
        force: whether results that the store already holds are to be made again.
        groups: per key of a stage that can run with others: all stages of the plan with the same fusion key, finished
            ones included, so that what a group does never depends on what is already there.
        passing: keys of the stages whose results are not written, though their kind could be: they are there while
            others ask for them.
    """

    targets: tuple[AnyStage, ...]
    stages: tuple[AnyStage, ...]
    status: dict[str, Status]
    users: Counter[str]
    force: bool = False
    groups: Mapping[str, tuple[AnyStage, ...]] = field(default_factory=dict[str, tuple[AnyStage, ...]])
    passing: frozenset[str] = frozenset()

    def group(self, stage: AnyStage) -> tuple[AnyStage, ...]:
        """The stages that run together with this one, itself included."""
        return self.groups.get(stage.key, (stage,))

    def is_kept(self, stage: AnyStage) -> bool:
        """Whether the result of a stage is to stay once it is there."""
        return stage.is_stored and stage.key not in self.passing

    @property
    def to_run(self) -> tuple[AnyStage, ...]:
        """The stages that will run; what they give is stored, or passed on."""
        return tuple(stage for stage in self.stages if self.status[stage.key] == "run")

    @property
    def finished(self) -> tuple[AnyStage, ...]:
        """The stages whose results are in the store."""
        return tuple(stage for stage in self.stages if self.status[stage.key] == "finished")

    @property
    def unidentified(self) -> tuple[str, ...]:
        """A sentence for everything that cannot be identified, so that no result that depends on it is kept."""
        found = dict.fromkeys(reason for stage in self.stages for reason in stage.unidentified)
        return tuple(
            f"nothing identifies {reason}, so results that depend on it are computed anew every time"
            for reason in found
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values: every stage with its key, state, seed and inputs."""
        return {
            "unidentified": list(self.unidentified),
            "stages": [
                {
                    "key": stage.key,
                    "kind": stage.kind,
                    "label": stage.label,
                    "seed": stage.drawn_with,
                    "state": self.status[stage.key],
                    "inputs": {name: source.key for name, source in stage.named_inputs().items()},
                }
                for stage in self.stages
            ],
        }

    def describe(self, *, in_short: bool = False) -> str:
        """The plan as text: one line per stage with its key, state, seed and inputs, then the totals.

        Args:
            in_short: the totals alone, for plans of thousands of stages.
        """
        lines = [] if in_short else list(self._describe_stages())
        counts = self.counts()
        lines.append(
            f"{counts['stages']:,} stages: {counts['to_run']:,} to run, {counts['finished']:,} finished, "
            f"{counts['only_if_asked_for']:,} made only if asked for; {counts['shared']:,} used more than once"
        )
        lines += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in self.unidentified]
        return "\n".join((*lines, *self._describe_costs(in_short=in_short)))

    def counts(self) -> dict[str, int]:
        """How many stages there are, in all and of each state, and how many are used more than once."""
        to_run, finished = len(self.to_run), len(self.finished)
        return {
            "stages": len(self.stages),
            "to_run": to_run,
            "finished": finished,
            "only_if_asked_for": len(self.stages) - to_run - finished,
            "shared": sum(count > 1 for count in self.users.values()),
        }

    def _describe_stages(self) -> Iterator[str]:
        names = {stage.key: f"{stage.kind}[{stage.key[:6]}]" for stage in self.stages}
        for stage in self.stages:
            seed = "" if stage.drawn_with is None else f" seed {stage.drawn_with}"
            inputs = ", ".join(names[source.key] for source in stage.inputs)
            yield (
                f"{self.status[stage.key]:<10} {stage.key[:10]}  {stage.label}{seed}"
                + (f"  <- {inputs}" if inputs else "")
            )

    def estimates(self) -> Iterator[tuple[tuple[AnyStage, ...], Estimate]]:
        """What has to run and says what it costs, group by group."""
        return ((group, _estimate(group)) for group in self._costly_groups())

    def _costly_groups(self) -> Iterator[tuple[AnyStage, ...]]:
        seen: set[str] = set()
        for stage in self.to_run:
            if not isinstance(stage, Costly) or stage.key in seen:
                continue
            group = self.group(stage)
            seen.update(member.key for member in group)
            yield group

    def _describe_costs(self, *, in_short: bool) -> Iterator[str]:
        groups = list(self._costly_groups())
        if not groups:
            return
        chosen = Random(0).sample(groups, _SAMPLED) if in_short and len(groups) > _SAMPLED else groups
        found, scale = [(group, _estimate(group)) for group in chosen], len(groups) / len(chosen)
        if not in_short:
            yield "\nCost:"
        for group, cost in () if in_short else found:
            seeds = sorted({stage.drawn_with for stage in group if stage.drawn_with is not None})
            name = f"{group[0].label}{f' and {len(group) - 1} more' if len(group) > 1 else ''}"
            shown = f", seed {seeds[0]}" if len(seeds) == 1 else f", {len(seeds)} seeds" if seeds else ""
            yield (
                f"{cost.operations:8.1e} operations  {_time(cost.seconds):>8}  {cost.memory / 2**20:7,.0f} MiB  "
                f"{name}{shown}: {cost.note}"
            )
        operations, unshared = (
            scale * sum(getattr(cost, name) for _, cost in found) for name in ("operations", "unshared")
        )
        largest = max((cost for _, cost in found), key=lambda cost: cost.memory)
        memory = largest.memory / 2**20
        fewer, unless = "", ""
        if unshared != operations:
            fewer = f", {unshared / max(operations, 1):.1f} times fewer than one after the other in plain loops"
            unless = ", less where gates rarely flip"
        yield (
            f"In all {operations:.1e} floating-point operations{fewer}; at most {memory:,.0f} MiB beside Python and "
            f"PyTorch; about {_time(scale * sum(cost.seconds for _, cost in found))} on this machine{unless}."
        )
        if len(chosen) < len(groups):
            yield f"Estimated from {len(chosen):,} of {len(groups):,} groups of stages, drawn at random."
        available = available_memory()
        if available is not None and largest.memory > available:
            advice = "" if largest.fitting is None else f"; {largest.fitting(available)}"
            yield f"This does not fit into the {available / 2**20:,.0f} MiB of memory that are free here{advice}."


def _estimate(group: tuple[AnyStage, ...]) -> Estimate:
    first = group[0]
    assert isinstance(first, Costly), "only groups of kinds that say what they cost"
    return first.estimate(cast("Sequence[Costly[Any]]", group))


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def make_plan(
    targets: Iterable[AnyStage],
    store: ArtefactStore | None = None,
    *,
    force: bool = False,
    beside: Iterable[AnyStage] = (),
    keeps: Callable[[AnyStage], bool] | None = None,
) -> Plan:
    """Plan the work behind ``targets``: equal stages once, finished ones not again.

    Args:
        targets: the wanted stages; repeats count once.
        store: where finished results are looked up; None plans as if there were none.
        force: plan every stage to run, whatever the store holds.
        beside: stages that belong to the same groups as those that are wanted, in an order that does not depend on
            what is wanted now; that of their groups is the same then, and so is every member's rounding.
        keeps: whether the result of a stage is written, of a kind that can be; None writes all.
    """
    ordered: dict[str, AnyStage] = {}
    users: Counter[str] = Counter()
    unique = tuple({stage.key: stage for stage in targets}.values())
    known = tuple({stage.key: stage for stage in (*beside, *unique)}.values())
    # Depth first with an explicit stack: a long chain of stages must not meet the recursion limit.
    stack: list[tuple[AnyStage, bool]] = [(stage, False) for stage in reversed(known)]
    while stack:
        stage, inputs_done = stack.pop()
        if stage.key in ordered:
            continue
        if inputs_done:
            ordered[stage.key] = stage
            users.update({source.key for source in stage.inputs})
            continue
        stack.append((stage, True))
        stack.extend((source, False) for source in reversed(stage.inputs) if source.key not in ordered)
    status: dict[str, Status] = {}
    needed = {stage.key for stage in unique}
    for stage in reversed(ordered.values()):
        if stage.is_stored and not force and store is not None and store.has(stage.key):
            status[stage.key] = "finished"
            continue
        if stage.key not in needed:
            status[stage.key] = "not needed"
            continue
        status[stage.key] = "run" if stage.is_stored else "on demand"
        needed.update(source.key for source in stage.inputs)
    together: dict[tuple[str, str], list[AnyStage]] = {}
    for stage in ordered.values():
        if isinstance(stage, Grouped):
            together.setdefault((stage.kind, stage.together), []).append(stage)
    groups = {stage.key: tuple(members) for members in together.values() for stage in members}
    passing = frozenset(
        stage.key for stage in ordered.values() if keeps is not None and stage.is_stored and not keeps(stage)
    )
    return Plan(unique, tuple(ordered.values()), status, users, force, groups, passing)
