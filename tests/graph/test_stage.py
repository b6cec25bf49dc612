from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from perturblearn.graph import Stage, StageKind, content_key
from perturblearn.seeding import derive_seed


def nothing(*_: object) -> None: ...


KIND = StageKind("kind", 1, nothing)
SOURCE = Stage(KIND, {"value": 0})
STAGE = Stage(KIND, {"a": 1, "b": [1.5, "x"]}, {"first": SOURCE}, seed=3)
OTHER_SOURCE = Stage(KIND, {"value": 1})


@pytest.mark.parametrize(
    "change",
    [
        {"kind": StageKind("other", 1, nothing)},
        {"kind": StageKind("kind", 2, nothing)},
        {"parameters": {"a": 2, "b": [1.5, "x"]}},
        {"parameters": {"a": 1, "b": ["x", 1.5]}},
        {"parameters": {"a": "1", "b": [1.5, "x"]}},
        {"parameters": {"a": 1}},
        {"parameters": {"a": 1, "b": [1.5, "x"], "c": None}},
        {"inputs": {"second": SOURCE}},
        {"inputs": {"first": OTHER_SOURCE}},
        {"inputs": {}},
        {"seed": 4},
        {"seed": None},
    ],
    ids=lambda change: " ".join(change),  # no addresses: each worker must give a test the same name
)
def test_what_fixes_the_result_changes_the_key(change: dict[str, Any]) -> None:
    changed = replace(STAGE, **change)
    assert changed.key != STAGE.key
    assert changed != STAGE


@pytest.mark.parametrize(
    "change",
    [
        {"label": "words"},
        {"context": {"path": "/elsewhere"}},
        {"work": 7.0},
        {"parameters": {"b": [1.5, "x"], "a": 1}},
        {"parameters": {"b": (1.5, "x"), "a": 1}},
        {"kind": StageKind("kind", 1, lambda *_: 3)},
        {"inputs": {"first": Stage(KIND, {"value": 0}, label="words")}},
    ],
    ids=lambda change: " ".join(change),
)
def test_what_does_not_fix_the_result_leaves_the_stage_the_same(change: dict[str, Any]) -> None:
    changed = replace(STAGE, **change)
    assert changed.key == STAGE.key
    assert len({changed, STAGE}) == 1


def test_a_change_far_up_reaches_every_stage_below() -> None:
    keys = []
    for value in (0, 1):
        below = Stage(KIND, {"value": value})
        for _ in range(5):
            below = Stage(KIND, {}, {"above": below})
        keys.append(below.key)
    assert keys[0] != keys[1]


def test_the_key_is_the_hash_of_the_canonical_json_of_the_identity() -> None:
    inputs, parameters = f'{{"first":"{SOURCE.key}"}}', '{"a":1,"b":[1.5,"x"]}'
    text = f'{{"inputs":{inputs},"kind":"kind","parameters":{parameters},"seed":3,"version":1}}'
    assert STAGE.key == hashlib.sha256(text.encode()).hexdigest()
    assert json.loads(json.dumps(STAGE.identity)) == STAGE.identity


@pytest.mark.parametrize(("value", "error"), [(math.nan, ValueError), (math.inf, ValueError), (object(), TypeError)])
def test_what_is_no_json_has_no_key(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="JSON"):
        content_key({"value": value})
    with pytest.raises(error, match="JSON"):
        Stage(KIND, {"value": value})


def test_a_kind_that_writes_must_read() -> None:
    with pytest.raises(AssertionError, match="must also read"):
        StageKind("kind", 1, nothing, dump=lambda _: None)  # pyright: ignore[reportArgumentType]


def run_nothing(*_: object) -> Iterator[tuple[int, object]]:
    yield from ()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "runs its stages in one way"),
        ({"run": nothing, "run_many": run_nothing, "fusion": lambda _: ""}, "runs its stages in one way"),
        ({"run": nothing, "fusion": lambda _: ""}, "must also run groups"),
        ({"run_many": run_nothing}, "must also run groups"),
        ({"run": nothing, "run_many": run_nothing}, "must also run groups"),
    ],
    ids=["neither", "both", "fusion without groups", "groups without fusion", "both without fusion"],
)
def test_a_kind_runs_stages_or_groups_of_them(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        StageKind("kind", 1, **keys)


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
