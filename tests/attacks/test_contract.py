"""What every attack promises, checked from outside, for our own and for those that come through an adapter."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perturblearn import attacks
from perturblearn.attacks import (
    L0,
    L2,
    PGD,
    Attack,
    AttackContext,
    AttackResult,
    CallableAttack,
    FoolboxAttack,
    ForeignAttack,
    Geometry,
    LInf,
    MinimumNorm,
    OneStep,
    OwnAttack,
    RadialPGD,
    Rebuild,
    foolbox_attack,
    hand_over_attack,
)
from perturblearn.attacks.factored_step import FactoredStep
from perturblearn.attacks.foreign_attack import AttackFunction
from perturblearn.classifiers import TwoLayer
from perturblearn.errors import ModelError

COUNT, SHAPE = 11, (2, 3, 4)
RANGES = {"bounded": (0.0, 1.0), "unbounded": (-math.inf, math.inf)}


class Net(nn.Module):
    """In training mode it drops units, counts batches and has one parameter that is a constant already."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(outputs)
        self.hidden = nn.Linear(24, 16)
        self.norm = nn.BatchNorm1d(16)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(16, outputs)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 3
        self.hidden.bias.requires_grad_(False)
        self.fails = False
        self.norm.eval()  # inside a network in training mode

    def forward(self, inputs: Tensor) -> Tensor:
        if self.fails:
            raise ArithmeticError("from inside")
        return self.out(self.dropout(self.norm(self.hidden(inputs.flatten(1))).tanh()))


class TwoUnits(TwoLayer):
    """As narrow as a limit, with a constant parameter and a part in another mode."""

    def __init__(self, outputs: int) -> None:
        generator = torch.Generator().manual_seed(outputs)
        weight = torch.randn(2, 24, generator=generator)
        super().__init__(weight, torch.tensor([1.0, -1.0]), torch.tensor([0.1, -0.2]), 0.2)
        assert self.bias is not None
        self.bias.requires_grad_(False)
        self.weight.requires_grad_(True)
        self.part = nn.Dropout().eval()
        self.fails = False

    def forward(self, inputs: Tensor) -> Tensor:
        if self.fails:
            raise ArithmeticError("from inside")
        return super().forward(inputs)


def own(module: nn.Module, inputs: Tensor, targets: Tensor, *, epsilon: float, high: float) -> Tensor:
    """An attack as a user would write it: one step of signs."""
    inputs.requires_grad_()
    outputs = module(inputs)
    loss = (-targets * outputs[:, 0]) if outputs.shape[1] == 1 else nn.functional.cross_entropy(outputs, targets)
    loss.sum().backward()
    assert inputs.grad is not None
    return (inputs - epsilon * inputs.grad.sign()).clamp(-high, high).clamp_min(0 if high == 1 else -math.inf)


@dataclass(frozen=True)
class Signs(ForeignAttack):
    """`own` at any size and range."""

    epsilon: float

    def function(self, value_range: tuple[float, float]) -> AttackFunction:
        return partial(own, epsilon=self.epsilon, high=value_range[1])


@dataclass(frozen=True)
class Foolbox(ForeignAttack):
    """An attack of foolbox with arguments of its own."""

    epsilon: float
    name: str

    def function(self, value_range: tuple[float, float]) -> AttackFunction:
        return foolbox_attack(
            self.name, norm=self.norm, epsilon=self.epsilon, value_range=value_range, steps=5, rel_stepsize=0.3,
            random_start=self.name == "LinfPGD",  # row by row from uniform numbers, unlike L2PGD's
        )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An attack as every user gets it, and the networks and ranges that suit it.

    Args:
        attack: with its usual size.
        ranges: of the inputs.
        outputs: of the network.
        network: that is attacked.
        is_fixed: its function has a size of its own.
    """

    attack: Attack
    ranges: tuple[str, ...] = ("bounded", "unbounded")
    outputs: tuple[int, ...] = (1, 4)
    network: Callable[[int], Any] = Net
    is_fixed: bool = False

    @property
    def is_bare(self) -> bool:
        return getattr(self.attack, "bare", False)

    @property
    def epsilons(self) -> tuple[float, ...]:
        usual = float(self.attack.epsilon)
        return (usual,) if self.is_fixed else (usual, 0.1, 1e-6)

    @property
    def is_ours(self) -> bool:
        return not isinstance(self.attack, ForeignAttack)

    @property
    def is_best(self) -> bool:
        """Whether the source counts among what the best is chosen from."""
        return self.attack.is_search and self.is_ours


FIXED = partial(own, epsilon=0.15, high=1.0)
BOUNDED = ("bounded",)
CASES: dict[str, Case] = {
    "radial l2": Case(RadialPGD(L2(), 0.7, steps=4)),
    "radial linf": Case(RadialPGD(LInf(), 0.15, steps=4)),
    "radial l0": Case(RadialPGD(L0(5), 5.0)),
    "radial linf, random": Case(RadialPGD(LInf(), 0.15, steps=4, random_start=True, restarts=2)),
    "pgd l2": Case(PGD(L2(), 0.7, steps=4)),
    "pgd linf": Case(PGD(LInf(), 0.15, steps=4)),
    "pgd l2, random": Case(PGD(L2(), 0.7, steps=4, random_start=True, restarts=2)),
    "pgd l2, patience": Case(PGD(L2(), 0.4, steps=6, step=0.6, patience=1)),
    "pgd linf, bfloat16, patience": Case(PGD(LInf(), 0.15, steps=6, step=0.6, patience=2, bfloat16=True)),
    "pgd l2, augment": Case(PGD(L2(), 0.4, steps=4, augment=2)),
    "radial l0, augment, patience": Case(RadialPGD(L0(5), 5.0, augment=3, patience=1)),
    "pgd linf, restarts, augment": Case(
        PGD(LInf(), 0.15, steps=3, random_start=True, restarts=2, augment=2, patience=1)
    ),
    "pgd linf, bfloat16": Case(PGD(LInf(), 0.15, steps=4, bfloat16=True)),
    "minimum norm l2": Case(MinimumNorm(L2(), 0.7, steps=4, rounds=3)),
    "minimum norm linf": Case(MinimumNorm(LInf(), 0.15, steps=4, rounds=3)),
    "one step l2": Case(OneStep(L2(), 0.7)),
    "one step linf": Case(OneStep(LInf(), 0.15)),
    "one step l0": Case(OneStep(L0(5), 0.7)),
    "one step l2, bare": Case(OneStep(L2(), 0.7, bare=True)),
    "one step l2, in factors": Case(OneStep(L2(), 0.7, bare=True), outputs=(1,), network=TwoUnits),
    "geometry l2": Case(Geometry(L2(), 0.7), outputs=(1,), network=TwoUnits),
    "geometry linf, bare": Case(Geometry(LInf(), 0.15, bare=True), outputs=(1,), network=TwoUnits),
    "own": Case(Signs(LInf(), 0.15)),
    "own, a function": Case(CallableAttack(LInf(), 0.15, FIXED), BOUNDED, is_fixed=True),
    "own, by name": Case(OwnAttack(LInf(), 0.15, hand_over_attack(FIXED)), BOUNDED, is_fixed=True),
    "foolbox LinfPGD": Case(Foolbox(LInf(), 0.15, "LinfPGD"), BOUNDED),
    "foolbox L2PGD": Case(Foolbox(L2(), 0.7, "L2PGD"), BOUNDED),
    "foolbox by name": Case(FoolboxAttack(LInf(), 0.15, "LinfPGD", 5), BOUNDED),
}
PAIRS = [(name, outputs) for name, case in CASES.items() for outputs in case.outputs]
EVERY = pytest.mark.parametrize("name", CASES)
EVERY_NETWORK = pytest.mark.parametrize(("name", "outputs"), PAIRS)
EVERYWHERE = pytest.mark.parametrize(
    ("name", "outputs", "within"), [(*pair, within) for pair in PAIRS for within in CASES[pair[0]].ranges]
)


def run(
    name: str, module: nn.Module, sources: Tensor, targets: Tensor, *, epsilon: float | None = None, **context: Any
) -> AttackResult:
    attack = CASES[name].attack if epsilon is None else replace(CASES[name].attack, epsilon=epsilon)
    options: dict[str, Any] = {"value_range": RANGES["bounded"], **context}
    told = AttackContext(**options)
    return attack.for_network(module).search(module, sources, targets, told)


def problem(name: str, outputs: int) -> tuple[Any, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sources = torch.rand(COUNT, *SHAPE, generator=generator)
    sources[:, 0, 0] = 0  # at the edge of the range
    sources[:, 1, 0] = 1
    drawn = torch.randint(2 if outputs == 1 else outputs, (COUNT,), generator=generator)
    return CASES[name].network(outputs), sources, 2 * drawn - 1 if outputs == 1 else drawn


def judged(module: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Losses and success of a user's own pass."""
    flags = {part: part.training for part in module.modules()}
    module.eval()
    with torch.no_grad():
        outputs = module(inputs)
    for part, flag in flags.items():
        part.training = flag
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        margin = targets * outputs.flatten()
        return -margin, margin > 0
    probabilities = outputs.double().softmax(dim=1)
    return -probabilities.gather(1, targets[:, None])[:, 0].log(), outputs.argmax(dim=1) == targets


def measured(change: Tensor, norm: str) -> list[Tensor]:
    """Sizes of float32 differences as several people would measure them."""
    rows = change.flatten(1)
    if norm == "l0":
        return [(rows != 0).sum(dim=1)]
    if norm == "linf":
        return [rows.abs().amax(dim=1)]
    squares = rows.numpy() ** 2
    sums = [squares.cumsum(axis=1)[:, -1], squares[:, ::-1].cumsum(axis=1)[:, -1], np.sort(squares).cumsum(1)[:, -1]]
    return [rows.norm(dim=1), rows.double().norm(dim=1), *(torch.from_numpy(np.sqrt(one)) for one in sums)]


def test_every_attack_of_the_room_is_here() -> None:
    kinds = {kind for kind in vars(attacks).values() if inspect.isclass(kind) and issubclass(kind, Attack)}
    tested = {type(case.attack) for case in CASES.values()}
    # What rebuilds inputs is bounded by nothing and moves to no label; `test_rebuild` holds it to what it promises.
    assert {kind for kind in kinds - {Rebuild} if not inspect.isabstract(kind)} <= tested
    module, *_ = problem("one step l2, in factors", 1)
    assert isinstance(CASES["one step l2, in factors"].attack.for_network(module), FactoredStep)


@EVERYWHERE
def test_bound_range_shapes_and_success(name: str, outputs: int, within: str) -> None:
    module, sources, targets = problem(name, outputs)
    case, (low, high) = CASES[name], RANGES[within]
    norm = case.attack.norm.name
    for epsilon in case.epsilons:
        found = run(name, module, sources, targets, value_range=(low, high), epsilon=epsilon)
        assert (found.inputs.shape, found.inputs.dtype) == (sources.shape, torch.float32)
        assert not found.inputs.requires_grad
        assert not found.outputs.requires_grad
        change = found.inputs if case.is_bare else found.inputs - sources
        if case.attack.is_search:
            bound = 5 if norm == "l0" else epsilon
            for sizes in measured(change, norm):
                assert sizes.tolist() == pytest.approx(found.sizes.tolist(), rel=1e-5, abs=1e-8)
                assert bool((sizes <= bound).all())
            assert float(found.inputs.min()) >= low
            assert float(found.inputs.max()) <= high
        else:
            # Steps have size epsilon (in L0 as their length): u + r and the measured difference are rounded, 24
            # coordinates by 2^-24 of numbers below 2 each; in L0 a tiny change of a coordinate may vanish.
            length = change.flatten(1).norm(dim=1) if norm == "l0" else measured(change, norm)[0]
            assert torch.allclose(length, torch.full_like(length, epsilon), rtol=1e-5, atol=24**0.5 * 2 * 2**-23)
            assert found.sizes.tolist() == pytest.approx([5 if norm == "l0" else epsilon] * COUNT, rel=1e-5)
        losses, success = judged(module, found.inputs, targets)
        # The same pass in another batch, in float32: some roundings of numbers below 10.
        assert torch.allclose(found.losses.double(), losses.double(), rtol=0, atol=1e-5)
        assert (found.success.dtype, found.success.shape, found.losses.shape) == (torch.bool, (COUNT,), (COUNT,))
        sure = losses.abs() > 1e-5 if outputs == 1 else torch.ones(COUNT, dtype=torch.bool)
        assert torch.equal(found.success[sure], success[sure])
        assert found.outputs.shape == ((COUNT,) if outputs == 1 else (COUNT, outputs))


@EVERY_NETWORK
def test_no_sample_is_worse_off(name: str, outputs: int) -> None:
    module, sources, targets = problem(name, outputs)
    case = CASES[name]
    found = run(name, module, sources, targets)
    before, was = judged(module, torch.zeros_like(sources) if case.is_bare else sources, targets)
    after, _ = judged(module, found.inputs, targets)
    better = after.double() < before.double() - 1e-5
    assert bool(better.any())
    if not case.is_best:
        # They make one step, or do what they want: on average better.
        assert float(after.mean()) < float(before.mean())
        return
    # The nearest point with the target's label may be one of a higher loss than the source.
    free = found.success if isinstance(case.attack, MinimumNorm) else torch.zeros(COUNT, dtype=torch.bool)
    assert bool((after.double() <= before.double() + 1e-5)[~free].all())
    assert bool((found.success | ~was).all())


@EVERYWHERE
def test_nothing_is_allowed(name: str, outputs: int, within: str) -> None:
    case = CASES[name]
    if case.is_fixed or (case.attack.is_search and isinstance(case.attack.norm, L0)):
        return  # epsilon does not bound these
    module, sources, targets = problem(name, outputs)
    found = run(name, module, sources, targets, value_range=RANGES[within], epsilon=0.0)
    assert torch.equal(found.inputs, torch.zeros_like(sources) if case.is_bare else sources)
    assert found.sizes.tolist() == [0.0] * COUNT


@EVERY
def test_the_module_is_left_as_it_was(name: str) -> None:
    module, sources, targets = problem(name, CASES[name].outputs[-1])
    flags = [part.training for part in module.modules()]
    learning = [parameter.requires_grad for parameter in module.parameters()]
    state = {key: value.clone() for key, value in module.state_dict().items()}
    assert len(set(flags)) == len(set(learning)) == 2
    given = sources.clone()
    for module.fails in (False, True):
        if module.fails:
            with pytest.raises((ArithmeticError, ModelError), match="from inside"):
                run(name, module, sources, targets)
        else:
            run(name, module, sources, targets)
        assert [part.training for part in module.modules()] == flags
        assert [parameter.requires_grad for parameter in module.parameters()] == learning
        assert all(parameter.grad is None for parameter in module.parameters())
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
        assert torch.equal(sources, given)
        assert not sources.requires_grad


@EVERY_NETWORK
def test_blocks_and_layout_change_nothing(name: str, outputs: int) -> None:
    module, sources, targets = problem(name, outputs)
    attack = partial(run, name, module, seed=3)
    whole = attack(sources, targets)
    strided = sources.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert not strided.is_contiguous()
    # Signs of a gradient that is 0 but for rounding are rounding too, and so is a label on the boundary, at which
    # minimum_norm stops. These draws have none; a few steps make 1e-7 some 1e-5.
    tolerance = 1e-2 if name.startswith("minimum") or "bfloat16" in name else 1e-5
    for other in (attack(strided, targets), attack(sources, targets, block=4), attack(sources, targets, block=1)):
        assert torch.allclose(other.inputs, whole.inputs, rtol=0, atol=tolerance)
        assert torch.allclose(other.losses, whole.losses, rtol=0, atol=10 * tolerance)


@EVERY
def test_repeated_with_the_global_generators_untouched(name: str) -> None:
    module, sources, targets = problem(name, CASES[name].outputs[-1])
    torch.manual_seed(1)
    state, numpys = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    first = run(name, module, sources, targets)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state(legacy=False)["state"]["key"] == numpys).all()  # noqa: NPY002
    torch.manual_seed(2)
    again = run(name, module, sources, targets)
    for field in fields(AttackResult):
        one: Any = getattr(first, field.name)
        other: Any = getattr(again, field.name)
        assert one is other or torch.equal(one, other)


@EVERY_NETWORK
def test_no_sources(name: str, outputs: int) -> None:
    module, sources, targets = problem(name, outputs)
    found = run(name, module, sources[:0], targets[:0])
    assert found.inputs.shape == (0, *SHAPE)
    assert (len(found), len(found.losses), len(found.success), len(found.sizes)) == (0, 0, 0, 0)


@EVERY
def test_under_no_grad_and_with_sources_that_require_gradients(name: str) -> None:
    module, sources, targets = problem(name, 1)
    expected = run(name, module, sources, targets)
    leaf = sources.clone().requires_grad_()
    with torch.no_grad():
        found = run(name, module, leaf, targets)
    assert torch.equal(found.inputs, expected.inputs)
    assert not found.inputs.requires_grad
    assert not run(name, module, leaf, targets).inputs.requires_grad


class InPlace(Net):
    """Prepares its inputs where they are."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.sub_(0.5).div_(0.25))


class Aside(Net):
    """The same with tensors of its own."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward((inputs - 0.5) / 0.25)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.network is Net and case.is_ours])
def test_a_network_may_work_in_place(name: str) -> None:
    _, sources, targets = problem(name, 4)
    given = sources.clone()
    found, expected = (run(name, network(4).eval(), sources, targets) for network in (InPlace, Aside))
    assert torch.equal(sources, given)
    assert torch.equal(found.inputs, expected.inputs)
    assert torch.equal(found.losses, expected.losses)


def test_points_of_foreign_attacks_do_not_move_when_they_are_judged() -> None:
    _, sources, targets = problem("own", 4)
    attack = CallableAttack(LInf(), 0.1, lambda module, inputs, targets: inputs)
    found = attack.search(InPlace(4).eval(), sources, targets, AttackContext())
    assert torch.equal(found.inputs, sources)


def test_attacks_are_values() -> None:
    for case in CASES.values():
        assert replace(case.attack) == case.attack
        assert len({replace(case.attack), case.attack}) == 1
    assert PGD(L2(), 0.7) != RadialPGD(L2(), 0.7)
    assert PGD(L2(), 0.7) != PGD(LInf(), 0.7)
