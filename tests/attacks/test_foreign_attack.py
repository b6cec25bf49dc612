"""Attacks from elsewhere are measured, not believed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import (
    L2,
    AttackContext,
    AttackResult,
    CallableAttack,
    ForeignAttack,
    LInf,
    over_epsilons,
    run_attack,
)
from perturblearn.attacks.foreign_attack import AttackFunction
from perturblearn.errors import ModelError

X = torch.rand(7, 2, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([1, -1, 1, 1, -1, -1, 1])


class Sum(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1).sum(dim=1) - 3


def run(attack: Callable[..., Any], **options: Any) -> AttackResult:
    given: dict[str, Any] = {"norm": "l2", "epsilon": 0.5, "value_range": (0, 1), **options}
    return run_attack(attack, Sum(), X, TARGETS, **given)


def along(module: nn.Module, inputs: Tensor, targets: Tensor, *, size: float, column: int = 0) -> Tensor:
    """Inputs moved by a size along one coordinate, towards the middle of the range."""
    moved = inputs.clone()
    moved[:, 0, column] += torch.where(inputs[:, 0, column] > 0.5, -size, size)
    return moved


def test_what_it_returns_is_what_is_found() -> None:
    found = run(partial(along, size=0.4))
    assert torch.equal(found.inputs, along(Sum(), X, TARGETS, size=0.4))
    assert torch.allclose(found.sizes, torch.full((7,), 0.4), rtol=1e-6)
    with torch.no_grad():
        outputs = Sum()(found.inputs)
    assert torch.equal(found.outputs, outputs)
    assert torch.equal(found.losses, -TARGETS * outputs)
    assert torch.equal(found.success, TARGETS * outputs > 0)
    squared = run(partial(along, size=0.4), loss=lambda f, y: (f - y) ** 2)
    assert torch.equal(squared.losses, (outputs - TARGETS) ** 2)


def test_it_sees_blocks_of_copies() -> None:
    sizes = []

    def spoil(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        sizes.append(len(inputs))
        assert not module.training
        before = inputs.clone()
        inputs.zero_()
        targets.zero_()
        return before.double()

    said: list[tuple[int, int]] = []
    before, labels = X.clone(), TARGETS.clone()
    found = run(spoil, block=3, report=lambda done, of, _: said.append((done, of)))
    assert sizes == [3, 3, 1]
    assert said == [(1, 3), (2, 3), (3, 3)]
    assert torch.equal(found.inputs, before)
    assert torch.equal(X, before)
    assert torch.equal(TARGETS, labels)


@pytest.mark.parametrize(("norm", "epsilon"), [("l2", 0.5), ("linf", 0.25), ("linf", 0.1)])
def test_rounding_is_fitted(norm: str, epsilon: float) -> None:
    found = run(partial(along, size=epsilon * (1 + 5e-6)), norm=norm, epsilon=epsilon)
    assert bool(((found.inputs - X).flatten(1).norm(dim=1) <= epsilon).all())
    assert torch.allclose(found.sizes, torch.full((7,), epsilon), rtol=1e-5)
    beyond = run(lambda module, inputs, targets: inputs + (inputs == inputs.max()) * (1 + 5e-6 - inputs), epsilon=1.0)
    assert float(beyond.inputs.max()) == 1.0


@pytest.mark.parametrize(
    ("attack", "options", "sentence"),
    [
        (partial(along, size=0.5002), {}, r"a perturbation of size 0\.5002 in l2, but epsilon is 0\.5; project it"),
        (partial(along, size=0.3), {"norm": "linf", "epsilon": 0.2}, r"of size 0\.3 in linf, but epsilon is 0\.2"),
        (lambda f, x, y: 0.9 * x, {"norm": "l0", "pixels": 5}, "that changes 6 coordinates, but pixels is 5"),
        (
            lambda f, x, y: x - x.mean(),
            {"epsilon": 9.0},
            r"returned values from -.*, outside the range 0 to 1; clip them",
        ),
        (lambda f, x, y: x + 1, {"epsilon": 9.0}, r"to 1\.9\d*, outside the range 0 to 1"),
        (lambda f, x, y: x - 1, {"epsilon": 9.0, "value_range": (0, math.inf)}, "outside the range 0 to inf"),
        (
            lambda f, x, y: x[:3],
            {},
            r"returned shape \(3, 2, 3\) for inputs of shape \(7, 2, 3\); return a tensor shaped",
        ),
        (lambda f, x, y: (x, x), {}, "returned tuple for inputs of shape"),
        (lambda f, x, y: x.numpy(), {}, "returned ndarray for inputs of shape"),
        (lambda f, x, y: x * math.nan, {}, "returned 42 values that are NaN or infinite"),
        (lambda f, x, y: torch.where(x == x.max(), math.inf, x), {}, "returned 1 values that are NaN or infinite"),
    ],
)
def test_what_breaks_its_word_is_refused(attack: Callable[..., Any], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        run(attack, **options)


def test_messages_name_the_attack() -> None:
    def far(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return inputs + 9

    class Farther:
        def __call__(self, module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            return inputs - 9

    for attack, name in ((far, "far"), (Farther(), "Farther")):
        with pytest.raises(ModelError, match=f"the attack {name} returned"):
            run(attack, epsilon=1.0)


def test_l0_counts_coordinates() -> None:
    found = run(partial(along, size=0.3), norm="l0", pixels=1)
    assert found.sizes.tolist() == [1.0] * 7


def test_its_draws_depend_on_the_seed_alone() -> None:
    def noise(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        theirs = torch.from_numpy(np.random.uniform(size=inputs.shape))  # noqa: NPY002 - as a user's attack may
        return (inputs + 0.05 * torch.rand(inputs.shape) - 0.05 * theirs).clamp(0, 1)

    first, other = run(noise, seed=1), run(noise, seed=2)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    assert torch.equal(run(noise, seed=1).inputs, first.inputs)
    assert not torch.equal(other.inputs, first.inputs)
    torch.manual_seed(5)
    assert float(torch.rand(1)) == float(torch.rand(1, generator=torch.Generator().manual_seed(5)))


def test_several_sizes() -> None:
    @dataclass(frozen=True)
    class Along(ForeignAttack):
        epsilon: float

        def function(self, value_range: tuple[float, float]) -> AttackFunction:
            return partial(along, size=self.epsilon)

    within = AttackContext(value_range=(0, 1))
    curve = over_epsilons(Along(LInf(), 0), Sum(), X, TARGETS, epsilons=[0.1, 0.3], context=within)
    assert [round(float(found.sizes.mean()), 4) for found in curve] == [0.1, 0.3]
    attack = CallableAttack(L2(), 0, partial(along, size=0.1))
    fixed = over_epsilons(attack, Sum(), X, TARGETS, epsilons=[0.1, 0.3], context=AttackContext())
    # At 0.1 what rounding has made too long is fitted.
    assert torch.allclose(fixed[0].inputs, fixed[1].inputs, rtol=0, atol=1e-6)
