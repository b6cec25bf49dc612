from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import pytest
from tests.values import within

from perturblearn.config import resolve_config
from perturblearn.graph import AnyStage, Costly, Grouped, Results, Stage, Stored, aside, content_key, optional
from perturblearn.seeding import derive_seed


@dataclass(frozen=True, eq=False, kw_only=True)
class Plain(Stage[None]):
    kind = "kind"
    a: Any = 0
    b: Any = ()
    first: AnyStage | None = None
    more: tuple[AnyStage, ...] = ()
    seed: int | None = None
    name: str = aside(default="")
    path: str = aside(default="/here")

    @property
    def label(self) -> str:
        return self.name

    def run(self, result: Results) -> None: ...


class OtherKind(Plain):
    kind = "other"


class NextVersion(Plain):
    version = 2


class OtherCode(Plain):
    def run(self, result: Results) -> None:
        result.report(1, 1, "done")


@dataclass(frozen=True)
class Square:
    side: float


@dataclass(frozen=True)
class Cube:
    side: float


@dataclass(frozen=True, eq=False, kw_only=True)
class WithOption(Plain):
    option: Any = optional()


SOURCE = Plain(a=0)
FIELDS: dict[str, Any] = {"a": 1, "b": (1.5, "x"), "first": SOURCE, "seed": 3}
STAGE = Plain(**FIELDS)
OTHER_SOURCE = Plain(a=1)


@pytest.mark.parametrize(
    "changed",
    [
        OtherKind(**FIELDS),
        NextVersion(**FIELDS),
        replace(STAGE, a=2),
        replace(STAGE, b=("x", 1.5)),
        replace(STAGE, a="1"),
        replace(STAGE, a=None),
        replace(STAGE, a=Square(1)),
        replace(STAGE, a=(1,)),
        replace(STAGE, first=None, more=(SOURCE,)),
        replace(STAGE, more=(SOURCE,)),
        replace(STAGE, first=OTHER_SOURCE),
        replace(STAGE, first=None),
        replace(STAGE, seed=4),
        replace(STAGE, seed=None),
    ],
    ids=lambda changed: repr(changed.identity),
)
def test_what_fixes_the_result_changes_the_key(changed: Plain) -> None:
    assert changed.key != STAGE.key
    assert changed != STAGE


@pytest.mark.parametrize(
    "changed",
    [
        replace(STAGE, name="words"),
        replace(STAGE, path="/elsewhere"),
        replace(STAGE, b=[1.5, "x"]),
        OtherCode(**FIELDS),
        replace(STAGE, first=replace(SOURCE, name="words")),
    ],
    ids=repr,
)
def test_what_does_not_fix_the_result_leaves_the_stage_the_same(changed: Plain) -> None:
    assert changed.key == STAGE.key
    assert len({changed, STAGE}) == 1


def test_parameters_of_other_types_are_other_parameters() -> None:
    """Equal fields of another type, such as another attack, do not make an equal stage."""
    assert replace(STAGE, a=Square(1.0)).key == replace(STAGE, a=Square(1.0)).key
    assert len({replace(STAGE, a=value) for value in (Square(1.0), Cube(1.0), Square(2.0), {"side": 1.0})}) == 4


def test_sections_and_ranges_are_parameters_by_their_content() -> None:
    configs = [resolve_config({}, {"attack.epsilon": size}) for size in (0.5, 0.5, 0.6)]
    keys = [replace(STAGE, a=config.attack).key for config in configs]
    assert keys[0] == keys[1] != keys[2]
    assert within(replace(STAGE, a=range(2, 5)).identity, "parameters", "a") == [2, 5]


def test_inputs_are_the_stages_among_the_fields() -> None:
    found = replace(STAGE, more=(OTHER_SOURCE, SOURCE))
    assert found.inputs == (SOURCE, OTHER_SOURCE, SOURCE)
    assert found.named_inputs() == {"first": SOURCE, "more 0": OTHER_SOURCE, "more 1": SOURCE}
    assert found.identity["inputs"] == {"first": SOURCE.key, "more": [OTHER_SOURCE.key, SOURCE.key]}


def test_a_stage_may_ask_for_its_inputs_alone() -> None:
    result = Results(STAGE, lambda stage: stage.key, lambda *_: None)
    assert result(Plain(a=0)) == SOURCE.key
    with pytest.raises(AssertionError, match="is not an input"):
        result(OTHER_SOURCE)


def test_a_change_far_up_reaches_every_stage_below() -> None:
    keys: list[str] = []
    for value in (0, 1):
        below = Plain(a=value)
        for _ in range(5):
            below = Plain(first=below)
        keys.append(below.key)
    assert keys[0] != keys[1]


def test_the_key_is_the_hash_of_the_canonical_json_of_the_identity() -> None:
    inputs, parameters = f'{{"first":"{SOURCE.key}"}}', '{"a":1,"b":[1.5,"x"],"more":[],"seed":3}'
    text = f'{{"inputs":{inputs},"kind":"kind","parameters":{parameters},"version":1}}'
    assert STAGE.key == hashlib.sha256(text.encode()).hexdigest()
    assert json.loads(json.dumps(STAGE.identity)) == STAGE.identity


@pytest.mark.parametrize(("value", "error"), [(math.nan, ValueError), (math.inf, ValueError), (object(), TypeError)])
def test_what_is_no_json_has_no_key(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="JSON"):
        content_key({"value": value})
    with pytest.raises(error, match="JSON"):
        Plain(a=value)


@pytest.mark.parametrize("missing", [Stage, Stored, Grouped, Costly])
def test_a_kind_must_say_all_that_it_promises(missing: type[AnyStage]) -> None:
    class Half(missing):
        kind = "half"

    with pytest.raises(TypeError, match="abstract"):
        Half()  # pyright: ignore[reportAbstractUsage]


# int.from_bytes(sha256(b"0\x1fdata").digest()[:8], "big") >> 1, by hashlib alone; and so on.
@pytest.mark.parametrize(
    ("seed", "purpose", "expected"),
    [(0, ("data",), 8767684250584988593), (7, ("initialisation", "standard", "weight"), 7026700009070955196)],
)
def test_derived_seeds_never_change(seed: int, purpose: tuple[str, ...], expected: int) -> None:
    assert derive_seed(seed, *purpose) == expected


def test_derived_seeds_differ_by_seed_and_purpose() -> None:
    # 63 bits: the chance that two of these agree by accident is 3400**2 / 2**64 < 1e-12.
    purposes = ["", "a", "b", "ab", "ba", "1", "0", "data", "data ", "Data", "control labels"]
    trees = [
        (),
        *((p,) for p in purposes),
        *combinations(purposes, 2),
        *(pair[::-1] for pair in combinations(purposes, 2)),
    ]
    seeds = [derive_seed(seed, *tree) for seed in (*range(20), 10**6, 2**63 - 1) for tree in trees]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_an_optional_field_counts_only_where_it_has_a_value() -> None:
    assert WithOption(**FIELDS).key == STAGE.key
    assert WithOption(**FIELDS, option="x").key not in (STAGE.key, WithOption(**FIELDS, option="y").key)
    assert WithOption(**FIELDS, option=0).key != STAGE.key
