"""What a plan says of its costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.graph.kinds import ByValue, InGroup, Kept, OnDemand, stage

from perturblearn.graph import AnyStage, Estimate, Executor, make_plan
from perturblearn.store import ArtefactStore


class CostlyOnDemand(OnDemand, ByValue): ...


class CostlyKept(Kept, ByValue): ...


class CostlyInGroup(InGroup, ByValue): ...


SOURCE = stage(CostlyOnDemand, 1, label="source")
A, B, C = (
    stage(CostlyInGroup, value, SOURCE, label=label, seed=seed)
    for value, label, seed in ((1, "a", 3), (2, "b", 3), (4, "c", 5))
)
SINGLE = stage(CostlyKept, 50, SOURCE, label="single", seed=7)
PUBLIC = stage(CostlyKept, 600, SOURCE, label="public")


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path)


def finish(store: ArtefactStore, *targets: AnyStage) -> None:
    Executor(make_plan(targets, store), store).run()


def test_each_group_is_estimated_once_and_whole(store: ArtefactStore) -> None:
    finish(store, B)
    found = list(make_plan([C, SINGLE, A, B, stage(Kept, 9)], store).estimates())
    # What a group costs does not depend on what is finished of it; what is made on demand is not counted.
    assert [[member.label for member in group] for group, _ in found] == [["c", "a", "b"], ["single"]]
    assert [cost.operations for _, cost in found] == [7000, 50_000]


def test_finished_groups_cost_nothing_unless_forced(store: ArtefactStore) -> None:
    finish(store, A, B, C)
    (found,) = make_plan([A, B, C, SINGLE], store).estimates()
    assert found[0] == (SINGLE,)
    forced = list(make_plan([A, B, C, SINGLE], store, force=True).estimates())
    assert [len(group) for group, _ in forced] == [3, 1]


def test_costs_in_words(store: ArtefactStore) -> None:
    text = make_plan([A, B, SINGLE, PUBLIC], store).describe()
    stages, costs = text.split("\n\nCost:\n")
    assert stages.splitlines()[-1].startswith("5 stages: 4 to run")
    assert costs.splitlines() == [
        " 3.0e+03 operations     3.0 s        2 MiB  a and 1 more, seed 3: 2 at once",
        " 5.0e+04 operations      50 s        1 MiB  single, seed 7: 1 at once",
        " 6.0e+05 operations    10 min        1 MiB  public: 1 at once",
        "In all 6.5e+05 floating-point operations, 2.0 times fewer than one after the other in plain loops; at most "
        "2 MiB beside Python and PyTorch; about 11 min on this machine, less where gates rarely flip.",
    ]
    assert ", 2 seeds: 3 at once" in make_plan([A, B, C]).describe()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"), (0.04, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (99, "99 s"), (100, "2 min"), (5999, "100 min"),
        (6000, "1.7 h"), (360_000, "100.0 h"),
    ],
)  # fmt: skip
def test_units_of_time(seconds: float, shown: str) -> None:
    class Timed(CostlyKept):
        @classmethod
        def estimate(cls, group: Sequence[Any]) -> Estimate:
            return Estimate(1.0, 1.0, 0, seconds)

    assert f"about {shown} on this machine" in make_plan([stage(Timed, 1)]).describe()


def test_without_estimates_nothing_is_said_of_costs(store: ArtefactStore) -> None:
    assert "Cost" not in make_plan([stage(Kept, 1)]).describe()
    finish(store, A, SINGLE)
    assert "Cost" not in make_plan([A, SINGLE], store).describe()
    assert list(make_plan([SOURCE]).estimates()) == []


def test_work_without_operations_is_described_too() -> None:
    class Free(CostlyKept):
        @classmethod
        def estimate(cls, group: Sequence[Any]) -> Estimate:
            return Estimate(0.0, 0.0, 0, 0.0)

    text = make_plan([stage(Free, 1)]).describe()
    assert text.endswith(
        "In all 0.0e+00 floating-point operations; at most 0 MiB beside Python and PyTorch; about 0.0 s on this "
        "machine."
    )
