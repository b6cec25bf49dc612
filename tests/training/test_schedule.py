from __future__ import annotations

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from perturblearn.training import Plateau
from perturblearn.training.schedule import Schedule


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 10, 37, 1000])
@pytest.mark.parametrize("name", ["one_cycle", "cosine"])
def test_rates_of_all_steps_are_pytorch_s(name: str, steps: int) -> None:
    optimiser = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = (
        OneCycleLR(optimiser, 0.3, total_steps=steps, cycle_momentum=False)
        if name == "one_cycle"
        else CosineAnnealingLR(optimiser, steps)
    )
    schedule = Schedule(name, 0.3, steps)
    for step in range(steps):
        # Theirs is a recursion, whose rounding grows with the steps; near its end it is relative to lr.
        assert schedule.rate(step) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12, abs=0.3 * 1e-15 * steps)
        optimiser.step()
        if step + 1 < steps:
            theirs.step()


def test_ends_of_the_schedules() -> None:
    assert Schedule("cosine", 0.5, 10).rate(0) == 0.5
    assert Schedule("cosine", 0.5, 10).rate(10) == 0
    assert Schedule("one_cycle", 0.5, 100).rate(0) == pytest.approx(0.5 / 25)
    assert Schedule("one_cycle", 0.5, 100).rate(29) == pytest.approx(0.5)
    assert Schedule("one_cycle", 0.5, 100).rate(99) == pytest.approx(0.5 / 250_000)


@pytest.mark.parametrize(("warmup", "expected"), [(0, [1, 0.75, 0.5, 0.25, 0]), (2, [0, 0.5, 1, 0.5, 0])])
def test_the_linear_schedule_rises_and_falls_in_lines(warmup: int, expected: list[float]) -> None:
    schedule = Schedule("linear", 0.5, 4, warmup)
    assert [schedule.rate(step) / 0.5 for step in range(5)] == expected


@pytest.mark.parametrize("name", ["plateau", "constant", "one_cycle", "cosine", "linear"])
def test_only_the_plateau_rule_looks_at_losses(name: str) -> None:
    schedule, plateau = Schedule(name, 0.5, 100), Plateau(0.5)
    rates = [Schedule(name, 0.5, 100).rate(step) for step in range(30)]
    for step in range(30):
        assert schedule.rate(step) == (plateau.lr if name == "plateau" else rates[step])
        schedule.update(1.0)
        plateau.update(1.0)
    assert schedule.lr == (plateau.lr if name == "plateau" else 0.5)
    assert plateau.lr == pytest.approx(0.005)  # 0.5 was cut after epochs 12 and 23
