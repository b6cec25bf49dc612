"""What every attack promises, checked from outside, for our own and for those that come through an adapter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import Found, foolbox_attack, minimum_norm, pgd, radial_pgd, run_attack

COUNT, SHAPE = 11, (2, 3, 4)
EPSILON = {"l2": 0.7, "linf": 0.15, "l0": 5.0}
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

    def forward(self, inputs: Tensor) -> Tensor:
        if self.fails:
            raise ArithmeticError("from inside")
        return self.out(self.dropout(self.norm(self.hidden(inputs.flatten(1))).tanh()))


def own(module: nn.Module, inputs: Tensor, targets: Tensor, *, epsilon: float, high: float) -> Tensor:
    """An attack as a user would write it: one step of signs."""
    inputs.requires_grad_()
    outputs = module(inputs)
    loss = (-targets * outputs[:, 0]) if outputs.shape[1] == 1 else nn.functional.cross_entropy(outputs, targets)
    loss.sum().backward()
    assert inputs.grad is not None
    return (inputs - epsilon * inputs.grad.sign()).clamp(-high, high).clamp_min(0 if high == 1 else -math.inf)


Attack = Callable[..., Found]


def by_adapter(name: str, module: nn.Module, sources: Tensor, targets: Tensor, **options: Any) -> Found:
    value_range, epsilon = options["value_range"], options["epsilon"]
    if name == "own":
        attack = partial(own, epsilon=epsilon, high=value_range[1])
        return run_attack(attack, module, sources, targets, **options)
    attack = foolbox_attack(
        name, norm=options["norm"], epsilon=epsilon, value_range=value_range, steps=5, rel_stepsize=0.3,
        random_start=name == "LinfPGD",  # row by row from uniform numbers, unlike L2PGD's
    )  # fmt: skip
    return run_attack(attack, module, sources, targets, **options)


@dataclass(frozen=True)
class Case:
    attack: Attack
    norm: str
    ranges: tuple[str, ...] = ("bounded", "unbounded")
    is_ours: bool = True
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self, module: nn.Module, sources: Tensor, targets: Tensor, **options: Any) -> Found:
        given = {"epsilon": EPSILON[self.norm], **dict(self.options), **options}
        return self.attack(module, sources, targets, norm=self.norm, **given)


def case(attack: Attack, norm: str, **options: Any) -> Case:
    steps = {} if norm == "l0" else {"steps": 4}
    return Case(attack, norm, options=tuple({**steps, **options}.items()))


CASES: dict[str, Case] = {
    "radial l2": case(radial_pgd, "l2"),
    "radial linf": case(radial_pgd, "linf"),
    "radial l0": case(radial_pgd, "l0", pixels=5),
    "radial linf, random": case(radial_pgd, "linf", random_start=True, restarts=2),
    "pgd l2": case(pgd, "l2"),
    "pgd linf": case(pgd, "linf"),
    "pgd l2, random": case(pgd, "l2", random_start=True, restarts=2),
    "pgd linf, bfloat16": case(pgd, "linf", bfloat16=True),
    "minimum norm l2": case(minimum_norm, "l2", rounds=3),
    "minimum norm linf": case(minimum_norm, "linf", rounds=3),
    "own": Case(partial(by_adapter, "own"), "linf", is_ours=False),
    "foolbox LinfPGD": Case(partial(by_adapter, "LinfPGD"), "linf", ("bounded",), is_ours=False),
    "foolbox L2PGD": Case(partial(by_adapter, "L2PGD"), "l2", ("bounded",), is_ours=False),
}
EVERY = pytest.mark.parametrize("name", CASES)
PAIRS = [(name, within) for name, case in CASES.items() for within in case.ranges]
EVERYWHERE = pytest.mark.parametrize(("name", "within"), PAIRS)
OUTPUTS = pytest.mark.parametrize("outputs", [1, 4], ids=["scalar", "logits"])


def problem(outputs: int, *, seed: int = 0) -> tuple[Net, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sources = torch.rand(COUNT, *SHAPE, generator=generator)
    sources[:, 0, 0] = 0  # at the edge of the range
    sources[:, 1, 0] = 1
    drawn = torch.randint(2 if outputs == 1 else outputs, (COUNT,), generator=generator)
    module = Net(outputs).train()
    module.norm.eval()  # inside a network in training mode
    return module, sources, 2 * drawn - 1 if outputs == 1 else drawn


def judged(module: Net, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Losses and success of a user's own pass."""
    flags = {part: part.training for part in module.modules()}
    module.eval()
    with torch.no_grad():
        outputs = module(inputs)
    for part, flag in flags.items():
        part.training = flag
    if outputs.shape[1] == 1:
        margin = targets * outputs[:, 0]
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


@EVERYWHERE
@OUTPUTS
def test_bound_range_shapes_and_success(name: str, within: str, outputs: int) -> None:
    module, sources, targets = problem(outputs)
    attack, (low, high) = CASES[name], RANGES[within]
    for epsilon in (EPSILON[attack.norm], 0.1, 1e-6):
        found = attack(module, sources, targets, value_range=(low, high), epsilon=epsilon)
        assert (found.inputs.shape, found.inputs.dtype) == (sources.shape, torch.float32)
        assert not found.inputs.requires_grad
        assert not found.outputs.requires_grad
        bound = 5 if attack.norm == "l0" else epsilon
        for sizes in measured(found.inputs - sources, attack.norm):
            assert sizes.tolist() == pytest.approx(found.sizes.tolist(), rel=1e-5, abs=1e-8)
            assert bool((sizes <= bound).all())
        assert float(found.inputs.min()) >= low
        assert float(found.inputs.max()) <= high
        losses, success = judged(module, found.inputs, targets)
        # The same pass in another batch, in float32: some roundings of numbers below 10.
        assert torch.allclose(found.losses.double(), losses.double(), rtol=0, atol=1e-5)
        assert (found.success.dtype, found.success.shape, found.losses.shape) == (torch.bool, (COUNT,), (COUNT,))
        sure = losses.abs() > 1e-5 if outputs == 1 else torch.ones(COUNT, dtype=torch.bool)
        assert torch.equal(found.success[sure], success[sure])
        assert found.outputs.shape == ((COUNT,) if outputs == 1 else (COUNT, outputs))


@EVERY
@OUTPUTS
def test_no_sample_is_worse_off(name: str, outputs: int) -> None:
    module, sources, targets = problem(outputs)
    found = CASES[name](module, sources, targets, value_range=RANGES["bounded"])
    before, was = judged(module, sources, targets)
    after, _ = judged(module, found.inputs, targets)
    better = after.double() < before.double() - 1e-5
    assert bool(better.any())
    if not CASES[name].is_ours:
        # Theirs is what they make it: on average better.
        assert float(after.mean()) < float(before.mean())
        return
    # The nearest point with the target's label may be one of a higher loss than the source.
    free = found.success if name.startswith("minimum") else torch.zeros(COUNT, dtype=torch.bool)
    assert bool((after.double() <= before.double() + 1e-5)[~free].all())
    assert bool((found.success | ~was).all())


@pytest.mark.parametrize(("name", "within"), [pair for pair in PAIRS if CASES[pair[0]].norm != "l0"])
@OUTPUTS
def test_nothing_is_allowed(name: str, within: str, outputs: int) -> None:
    module, sources, targets = problem(outputs)
    found = CASES[name](module, sources, targets, value_range=RANGES[within], epsilon=0.0)
    assert torch.equal(found.inputs, sources)
    assert found.sizes.tolist() == [0.0] * COUNT


@EVERY
def test_the_module_is_left_as_it_was(name: str) -> None:
    module, sources, targets = problem(4)
    flags = [part.training for part in module.modules()]
    learning = [parameter.requires_grad for parameter in module.parameters()]
    state = {key: value.clone() for key, value in module.state_dict().items()}
    assert len(set(flags)) == len(set(learning)) == 2
    given = sources.clone()
    for module.fails in (False, True):
        if module.fails:
            with pytest.raises(ArithmeticError, match="from inside"):
                CASES[name](module, sources, targets, value_range=RANGES["bounded"])
        else:
            CASES[name](module, sources, targets, value_range=RANGES["bounded"])
        assert [part.training for part in module.modules()] == flags
        assert [parameter.requires_grad for parameter in module.parameters()] == learning
        assert all(parameter.grad is None for parameter in module.parameters())
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
        assert torch.equal(sources, given)
        assert not sources.requires_grad


@EVERY
@OUTPUTS
def test_blocks_and_layout_change_nothing(name: str, outputs: int) -> None:
    module, sources, targets = problem(outputs)
    attack = partial(CASES[name], module, value_range=RANGES["bounded"], seed=3)
    if name.startswith("minimum"):
        attack = partial(CASES[name], module, value_range=RANGES["bounded"])
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
    module, sources, targets = problem(4)
    torch.manual_seed(1)
    state, numpys = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    first = CASES[name](module, sources, targets, value_range=RANGES["bounded"])
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state(legacy=False)["state"]["key"] == numpys).all()  # noqa: NPY002
    torch.manual_seed(2)
    again = CASES[name](module, sources, targets, value_range=RANGES["bounded"])
    for field in fields(Found):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))


@EVERY
@OUTPUTS
def test_no_sources(name: str, outputs: int) -> None:
    module, sources, targets = problem(outputs)
    found = CASES[name](module, sources[:0], targets[:0], value_range=RANGES["bounded"])
    assert found.inputs.shape == (0, *SHAPE)
    assert (len(found), len(found.losses), len(found.success), len(found.sizes)) == (0, 0, 0, 0)


@EVERY
def test_under_no_grad_and_with_sources_that_require_gradients(name: str) -> None:
    module, sources, targets = problem(1)
    expected = CASES[name](module, sources, targets, value_range=RANGES["bounded"])
    with torch.no_grad():
        found = CASES[name](module, sources.clone().requires_grad_(), targets, value_range=RANGES["bounded"])
    assert torch.equal(found.inputs, expected.inputs)
    assert not found.inputs.requires_grad
