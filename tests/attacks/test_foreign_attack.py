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
    attack_fingerprint,
    hand_over_attack,
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


class Normed(nn.Module):
    """A network with statistics that move in training mode, and one constant parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.out = nn.Linear(6, 1)
        nn.init.ones_(self.out.weight)
        self.out.bias.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.out(self.norm(inputs.flatten(1)))[:, 0]


def trains(module: nn.Module, inputs: Tensor) -> None:
    module.train()
    module(5 + inputs)


def learns(module: nn.Module, inputs: Tensor) -> None:
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    optimiser = torch.optim.SGD(module.parameters(), lr=10.0)
    module(inputs).sum().backward()
    optimiser.step()


def hooks(module: nn.Module, inputs: Tensor) -> None:
    module.register_forward_hook(lambda module, inputs, output: -output)


def replaces(module: nn.Module, inputs: Tensor) -> None:
    module.out = nn.Linear(6, 1)
    module.forward = lambda inputs: inputs.flatten(1).sum(dim=1)


def zeroes(module: nn.Module, inputs: Tensor) -> None:
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data.zero_()


def sets_globals(module: nn.Module, inputs: Tensor) -> None:
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.set_autocast_enabled("cpu", True)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002


SPOILS = [trains, learns, hooks, replaces, zeroes, sets_globals]


@pytest.mark.parametrize("holds_it", [False, True])
@pytest.mark.parametrize("spoil", SPOILS)
def test_what_it_does_to_the_network_ends_with_the_block(
    spoil: Callable[[nn.Module, Tensor], None], *, holds_it: bool
) -> None:
    network = Normed()
    reached: list[Any] = []

    def attack(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        assert torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float32
        reached.append((module.training, module(inputs.clone()).tolist(), torch.is_autocast_enabled("cpu")))
        spoil(network if holds_it and spoil is not replaces else module, inputs)
        return inputs

    state = {name: value.clone() for name, value in network.state_dict().items()}
    learning = [parameter.requires_grad for parameter in network.parameters()]
    drawn, same = torch.random.get_rng_state(), X[:1].expand(4, -1, -1)
    found = run_attack(attack, network, same, TARGETS[:4], norm="l2", epsilon=1.0, block=2)
    assert len(reached) == 2
    if not holds_it:
        assert all(each == reached[0] for each in reached)
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        assert not network._forward_hooks
    assert [parameter.requires_grad for parameter in network.parameters()] == learning
    assert network.training
    assert torch.equal(torch.random.get_rng_state(), drawn)
    clean = Normed().eval()
    clean.load_state_dict(state)
    with torch.no_grad():
        assert torch.allclose(found.outputs, clean(same), rtol=1e-6)  # of other blocks


def test_it_is_given_what_it_names() -> None:
    seen: list[dict[str, Any]] = []

    def two(module: nn.Module, inputs: Tensor, targets: Tensor, epsilon: float, *, norm: str = "") -> Tensor:
        seen.append({"epsilon": epsilon, "norm": norm})
        return inputs

    def all_of_them(module: nn.Module, inputs: Tensor, targets: Tensor, **given: Any) -> Tensor:
        seen.append(given)
        return inputs

    def none_of_them(module: nn.Module, inputs: Tensor, targets: Tensor, size: float = 0.1) -> Tensor:
        seen.append({"size": size})
        return inputs

    for attack in (two, all_of_them, none_of_them, partial(two, epsilon=0.25)):
        run(attack, epsilon=0.5)
    assert seen[0] == {"epsilon": 0.5, "norm": "l2"}
    assert seen[1].keys() == {"epsilon", "norm", "value_range", "generator"}
    assert seen[1]["value_range"] == (0, 1)
    assert seen[2] == {"size": 0.1}
    assert seen[3] == {"epsilon": 0.25, "norm": "l2"}
    run(two, norm="l0", pixels=3)
    assert seen[4] == {"epsilon": 3, "norm": "l0"}
    several = torch.linspace(0.1, 0.7, 7)
    run(two, epsilon=several, block=4)
    assert torch.equal(torch.cat([each["epsilon"] for each in seen[5:]]), several)


def test_its_own_generator_is_seeded() -> None:
    def noise(module: nn.Module, inputs: Tensor, targets: Tensor, *, generator: torch.Generator) -> Tensor:
        return (inputs + 0.05 * torch.rand(inputs.shape, generator=generator)).clamp(0, 1)

    first = run(noise, seed=1)
    assert torch.equal(run(noise, seed=1, block=2).inputs, first.inputs)
    assert not torch.equal(run(noise, seed=2).inputs, first.inputs)


def four(model: nn.Module, inputs: Tensor, targets: Tensor, eps: float) -> Tensor:
    return inputs


def keyword(model: nn.Module, inputs: Tensor, targets: Tensor, *, eps: float) -> Tensor:
    return inputs


def one(inputs: Tensor) -> Tensor:
    return inputs


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (
            four,
            r"the attack four\(.*\) cannot be called as attack\(model, inputs, targets\) \(missing .*'eps'\); give",
        ),
        (keyword, r"the attack keyword\(.*\) cannot be called .*'eps'"),
        (one, r"the attack one\(.*\) cannot be called as attack\(model, inputs, targets\) \(too many positional"),
    ],
)
def test_what_cannot_be_called_is_refused_before_anything_runs(attack: Callable[..., Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        run(attack)
    with pytest.raises(ModelError, match=said):
        hand_over_attack(attack)
    with pytest.raises(ModelError, match=said):
        attack_fingerprint(f"{__name__}:{attack.__name__}")


@pytest.mark.parametrize("error", [NameError("name 'nothing' is not defined"), RuntimeError("out of\nmemory")])
def test_what_fails_is_named(error: Exception) -> None:
    def failing(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        raise error

    text = " ".join(str(error).split())
    with pytest.raises(
        ModelError, match=rf"the attack failing fails \({type(error).__name__}: {text}\); fix it"
    ) as said:
        run(failing)
    assert said.value.__cause__ is error
