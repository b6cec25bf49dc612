"""What a stage is, and its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from perturblearn.store import Artefact, Drafts

Report = Callable[[int, int, str], None]
"""Called by a running stage with steps done, steps in all, and a short word on how it goes."""


@dataclass(frozen=True)
class Estimate:
    """What some stages cost, before they run.

    Args:
        operations: floating-point operations.
        plainly: operations of the same work done one stage at a time without any reduction.
        memory: bytes at most, inputs and results included.
        seconds: on this machine.
        note: how the work is done, and why.
        fitting: given bytes, what would have to change for the stages to fit into them, in words.
    """

    operations: float
    plainly: float
    memory: int
    seconds: float
    note: str = ""
    fitting: Callable[[int], str] | None = None


@dataclass(frozen=True)
class StageKind:
    """One kind of work: a pure function, and how its result is kept.

    Args:
        name: the kind's name, part of every stage's identity.
        version: raised whenever the function would give other numbers for the same stage.
        run: ``(stage, inputs, report) -> result``; ``inputs`` fetches the result of a named input when it is asked for.
            None for a kind that has ``run_resumable`` or ``run_many``.
        dump: result to artefact; None for a result that is cheaper to make again than to read back.
        load: artefact to result, the inverse of ``dump``.
        run_resumable: ``(stage, inputs, drafts, report) -> result`` for long work: what it puts into the drafts is
            there again when the stage is run once more after an interruption, and gone once the result is kept.
        fusion: for a kind that can run many stages at once: stages of a plan with equal fusion keys form a group.
        run_many: ``(group, wanted, inputs, report) -> (position, result or error), ...`` for the wanted positions of a
            group; ``inputs`` are those of its first stage. How a group is worked on follows from the whole group,
            whatever is wanted of it.
        estimate: what a group of stages costs (a stage alone, for a kind without ``fusion``).
        is_read_back: results that are in the store are read from there by every stage that asks, instead of being held
            in memory for it: for large ones that are needed once.
    """

    name: str
    version: int
    run: Callable[[Stage, Mapping[str, Any], Report], Any] | None = None
    dump: Callable[[Any], Artefact] | None = None
    load: Callable[[Artefact], Any] | None = None
    run_resumable: Callable[[Stage, Mapping[str, Any], Drafts, Report], Any] | None = None
    fusion: Callable[[Stage], str] | None = None
    run_many: RunMany | None = None
    estimate: Callable[[Sequence[Stage]], Estimate] | None = None
    is_read_back: bool = False

    def __post_init__(self) -> None:
        assert (self.dump is None) == (self.load is None), "a kind that writes its results must also read them"
        assert (self.fusion is None) == (self.run_many is None), "a kind that groups its stages must also run groups"
        ways = (self.run, self.run_resumable, self.run_many)
        assert sum(way is not None for way in ways) == 1, "a kind runs its stages in one way"

    @property
    def is_stored(self) -> bool:
        """Whether results go to the store."""
        return self.dump is not None


@dataclass(frozen=True, eq=False)
class Stage:
    """A piece of work, fixed by its kind, parameters, inputs and seed; equal stages are one stage.

    Args:
        kind: what is done.
        parameters: JSON values that fix the result together with the inputs and the seed.
        inputs: the stages whose results are used, by the name under which the kind knows them.
        seed: the run's seed; None for a stage that draws nothing.
        label: words for people, no part of the identity.
        context: what the stage needs to find its inputs on this machine (a path, a device), no part of the identity.
        work: how long it takes in comparison with other stages, for the time left; no part of the identity.
    """

    kind: StageKind
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Stage] = field(default_factory=dict)
    seed: int | None = None
    label: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    work: float = 0.0

    def __post_init__(self) -> None:
        _ = self.key  # the inputs have theirs by now: however long the chain, no key is computed by recursion

    @cached_property
    def key(self) -> str:
        """SHA-256 over kind, version, parameters, the inputs' keys and the seed."""
        return content_key(self.identity)

    @property
    def identity(self) -> dict[str, Any]:
        """What the key is the hash of."""
        return {
            "kind": self.kind.name,
            "version": self.kind.version,
            "parameters": dict(self.parameters),
            "inputs": {name: stage.key for name, stage in self.inputs.items()},
            "seed": self.seed,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Stage({self.kind.name} {self.key[:10]}: {self.label})"


RunMany = Callable[[Sequence[Stage], Sequence[int], Mapping[str, Any], Report], Iterator[tuple[int, Any | Exception]]]
"""How a kind runs many stages at once; see `StageKind`."""


def content_key(content: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys.

    Raises:
        TypeError: the content is no JSON value.
        ValueError: it holds NaN or an infinity, which have no canonical form.
    """
    return hashlib.sha256(_CANONICAL.encode(content).encode()).hexdigest()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
