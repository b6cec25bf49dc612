"""What a stage is, and its identity."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

from perturblearn.store import Artefact, Drafts

if TYPE_CHECKING:
    from perturblearn.config import JSON

Report = Callable[[int, int, str], None]
"""Called by a running stage with steps done, steps in all, and a short word on how it goes."""

ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)
AnyT = TypeVar("AnyT")

_ASIDE = "aside"
_OPTIONAL = "optional"


def aside(**options: Any) -> Any:
    """A field of a stage that is no part of its identity: where something lies on this machine, how it is shown.

    Args:
        options: as for ``dataclasses.field``.
    """
    return field(**options, metadata={_ASIDE: True})


def optional() -> Any:
    """A field of a stage that is part of its identity only where it has a value: None is as if there were no field.

    A kind of stage can be given such a field while its other stages keep their keys.
    """
    return field(default=None, metadata={_OPTIONAL: True})


@dataclass(frozen=True)
class Estimate:
    """What some stages cost, before they run.

    Args:
        operations: floating-point operations.
        unshared: operations of the same work done one stage at a time without any reduction.
        memory: peak memory in bytes, inputs and results included.
        seconds: on this machine.
        note: how the work is done, and why.
        fitting: given bytes, what would have to change for the stages to fit into them, in words.
    """

    operations: float
    unshared: float
    memory: int
    seconds: float
    note: str = ""
    fitting: Callable[[int], str] | None = None


class Results:
    """What a running stage works with: the results of its inputs, its drafts, and whom it tells how far it is.

    Called with one of the stage's inputs, it returns that input's result. A result is fetched when it is asked for, so
    an input that is never asked for costs nothing.

    Args:
        stage: the stage that runs; of a group, its first.
        fetch: makes or reads the result of any stage.
        report: called with steps done, steps in all, and a short note.
        drafts: parts of an unfinished result. They survive an interruption and go once the result is kept.
    """

    def __init__(
        self, stage: Stage[Any], fetch: Callable[[Stage[Any]], Any], report: Report, drafts: Drafts | None = None
    ) -> None:
        self._inputs = stage.inputs
        self._fetch = fetch
        self.report = report
        self.drafts = Drafts() if drafts is None else drafts

    def __call__(self, stage: Stage[AnyT]) -> AnyT:
        """The result of an input."""
        # How long a result stays in memory is counted by inputs; what is no input may be gone.
        assert any(stage is source or stage == source for source in self._inputs), f"{stage} is not an input"
        return self._fetch(stage)


class _Node:
    """What every stage is. Unlike `Stage`, no abstract class, of which `isinstance` takes ten times as long."""


class Stage(_Node, ABC, Generic[ResultT_co]):
    """A piece of work: a pure function of its fields. Equal stages are one stage.

    A kind of work is a frozen dataclass that inherits from this class, with ``eq=False``. Fields that are stages, or
    tuples of them, are its inputs. All others are parameters: JSON values, tuples, and frozen models or dataclasses of
    these. The key is the hash of both, together with the kind's name and version, but for fields declared by `aside`
    and for those declared by `optional` that are None.
    A field named ``seed`` is the run's seed.
    """

    kind: ClassVar[str]
    """The kind's name."""
    title: ClassVar[str] = ""
    """Words for people where the kind's name says too little; no part of the identity."""
    version: ClassVar[int] = 1
    """Raised whenever the same fields would give other numbers."""
    is_read_back: ClassVar[bool] = False
    """Whether every stage that asks reads the result from the store, instead of it being held in memory meanwhile: for
    large results that are needed once."""
    key: str
    """SHA-256 over kind, version, parameters and the inputs' keys."""
    inputs: tuple[Stage[Any], ...]
    """The stages whose results are used, in the order of the fields."""
    _sources: dict[str, Any]
    """The fields that are stages, or tuples of them."""
    is_identified: bool = True
    """Whether its key says what its result is. Otherwise the result is never kept: the key is valid in this process."""

    def __post_init__(self) -> None:
        sources = {name: value for name in _identifying(type(self)) if _is_input(value := getattr(self, name))}
        inputs = tuple(stage for value in sources.values() for stage in _flat(value))
        object.__setattr__(self, "_sources", sources)
        object.__setattr__(self, "inputs", inputs)
        # The inputs have their keys by now: however long the chain, no key is computed by recursion.
        object.__setattr__(self, "key", content_key(self.identity))
        is_identified = not self.unidentified and all(source.is_identified for source in inputs)
        object.__setattr__(self, "is_identified", is_identified)

    @property
    def label(self) -> str:
        """Words for people; no part of the identity."""
        return self.title or self.kind

    @property
    def work(self) -> float:
        """How long it takes in comparison with other stages, for the time left."""
        return 0.0

    @property
    def device(self) -> str:
        """Where it computes."""
        return "cpu"

    @property
    def step_operations(self) -> float:
        """Floating-point operations between two points where threads meet, about; infinite where that is not known.

        They follow from what identifies the stage, since they decide how its sums are rounded.
        """
        return math.inf

    @property
    def is_stored(self) -> bool:
        """Whether its result goes to the store."""
        return isinstance(self, Stored)

    @property
    def unidentified(self) -> tuple[str, ...]:
        """What nothing identifies in its own parameters, each in a few words."""
        return ()

    @property
    def drawn_with(self) -> int | None:
        """The run's seed; None for a stage that draws nothing."""
        return getattr(self, "seed", None)

    @property
    def identity(self) -> dict[str, JSON]:
        """What the key is the hash of."""
        optional = _optional(type(self))
        parameters = {
            name: _content(value)
            for name in _identifying(type(self))
            if name not in self._sources and not ((value := getattr(self, name)) is None and name in optional)
        }
        inputs = {name: _keys(value) for name, value in self._sources.items()}
        return {"kind": self.kind, "version": self.version, "parameters": parameters, "inputs": inputs}

    def named_inputs(self) -> dict[str, Stage[Any]]:
        """The inputs by their fields' names; those of a tuple are numbered."""
        return {name: stage for field, value in self._sources.items() for name, stage in _leaves(field, value)}

    @abstractmethod
    def run(self, result: Results) -> ResultT_co:
        """Do the work.

        Args:
            result: fetches the results of the inputs.
        """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key[:10]}: {self.label})"


class Storable(Protocol):
    """A value that becomes an artefact and is made of one again."""

    def dump(self) -> Artefact:
        """The value as an artefact."""
        ...

    @classmethod
    def load(cls, artefact: Artefact, /) -> Self:
        """The value again."""
        ...


class Stored(Stage[ResultT]):
    """A stage whose result is kept. Others are cheaper to make again than to read back."""

    result_type: ClassVar[type[Storable]]
    """The type of its result; a kind whose result is no `Storable` has ``dump`` and ``load`` of its own instead."""

    @classmethod
    def dump(cls, result: ResultT) -> Artefact:
        """The result as an artefact."""
        return cast(Storable, result).dump()

    @classmethod
    def load(cls, artefact: Artefact) -> ResultT:
        """The result that `dump` made an artefact of."""
        return cast(ResultT, cls.result_type.load(artefact))


class Grouped(Stored[ResultT]):
    """A stage that can run together with others of its kind."""

    @property
    @abstractmethod
    def together(self) -> str:
        """Stages of one kind and one plan that are equal in this run together."""

    @classmethod
    @abstractmethod
    def run_group(
        cls, group: Sequence[Any], wanted: Sequence[int], result: Results
    ) -> Iterator[tuple[int, ResultT | Exception]]:
        """Do the work of the wanted members of a group.

        How a group is worked on follows from the whole group, whatever is wanted of it: a result that is made again
        has the same bits.

        Args:
            group: all stages of this kind that run together in the plan, finished ones included.
            wanted: positions of those whose results are asked for.
            result: fetches the results of the inputs of the first.

        Yields:
            The position of a member, and its result or the error that it failed with.
        """

    def run(self, result: Results) -> ResultT:
        """Do the work of this stage alone."""
        ((_, found),) = self.run_group([self], [0], result)
        if isinstance(found, Exception):
            raise found
        return cast(ResultT, found)


class Costly(Stage[ResultT_co]):
    """A stage that can say what it costs before it runs."""

    @classmethod
    @abstractmethod
    def estimate(cls, group: Sequence[Any]) -> Estimate:
        """What stages of this kind that run together cost; a stage that runs alone is its own group."""


AnyStage = Stage[Any]
"""A stage, whatever its result is."""


def keys_below(stages: Iterable[AnyStage]) -> Iterator[str]:
    """The keys of some stages and of all that they need, each once."""
    seen: set[str] = set()
    waiting = list(stages)
    while waiting:
        stage = waiting.pop()
        if stage.key not in seen:
            seen.add(stage.key)
            waiting.extend(stage.inputs)
            yield stage.key


def content_key(content: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys.

    Raises:
        TypeError: the content is no JSON value.
        ValueError: it holds NaN or an infinity, which have no canonical form.
    """
    return hashlib.sha256(_CANONICAL.encode(content).encode()).hexdigest()


# Frozen values hold no circles; looking for them would take as long as writing.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False)


@cache
def _identifying(kind: type[Stage[Any]]) -> tuple[str, ...]:
    """Names of a kind's fields that are part of its identity."""
    return tuple(one.name for one in fields(cast(Any, kind)) if not one.metadata.get(_ASIDE))


@cache
def _optional(kind: type[Stage[Any]]) -> frozenset[str]:
    """Names of a kind's fields that are left out of its identity where they are None."""
    return frozenset(one.name for one in fields(cast(Any, kind)) if one.metadata.get(_OPTIONAL))


def _is_input(value: Any) -> bool:
    while isinstance(value, tuple) and value:
        value = cast("tuple[Any, ...]", value)[0]
    return isinstance(value, _Node)


def _keys(value: Any) -> Any:
    return [_keys(one) for one in cast("tuple[Any, ...]", value)] if isinstance(value, tuple) else value.key


def _flat(value: Stage[Any] | tuple[Any, ...]) -> Sequence[Stage[Any]]:
    """The stages in a field's value."""
    return [leaf for one in value for leaf in _flat(one)] if isinstance(value, tuple) else [value]


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Stage[Any]]]:
    """The same, each with a name that says where it stands."""
    if isinstance(value, tuple):
        for number, one in enumerate(cast("tuple[Any, ...]", value)):
            yield from _leaves(f"{name} {number}", one)
    else:
        yield name, value


def _content(value: Any) -> Any:
    """A parameter as a JSON value."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if hasattr(value, "model_dump"):  # a section of the configuration
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return {name: _content(one) for name, one in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (tuple, list)):
        return [_content(one) for one in cast("Sequence[Any]", value)]
    if isinstance(value, range):
        return [value.start, value.stop]
    if is_dataclass(value):
        return {"type": type(value).__name__, **{one.name: _content(getattr(value, one.name)) for one in fields(value)}}
    return value  # refused by the encoder, which names its type
