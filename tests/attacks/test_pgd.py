"""The usual projected gradient descent against a loop over samples, and against what a linear network allows."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import PGD, AttackContext, LInf, RadialPGD, over_epsilons, pgd, radial_pgd
from perturblearn.errors import ConfigError

DIM, COUNT = 8, 6
SOURCES = torch.rand(COUNT, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CLASSES = torch.tensor([0, 1, 2, 2, 1, 0])
ENDLESS = (-math.inf, math.inf)


def network(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(pairwise(sizes)):
        layer = nn.Linear(inner, outer).double()
        for parameter in layer.parameters():
            generator = torch.Generator().manual_seed(number)
            parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        layers += [layer, nn.Softplus()]
    return nn.Sequential(*layers[:-1])


def loop(module: nn.Module, source: Tensor, target: int, epsilon: float, value_range: tuple[float, float]) -> Tensor:
    """One sample in L-infinity, coordinate by coordinate."""
    low, high = value_range
    point, best, lowest = source.clone(), source.clone(), math.inf
    for step in range(11):
        leaf = point.clone().requires_grad_()
        logits = module(leaf[None])[0]
        loss = logits.exp().sum().log() - logits[target]
        (gradient,) = torch.autograd.grad(loss, leaf)
        if float(loss.detach()) < lowest:
            best, lowest = point.clone(), float(loss.detach())
        if step < 10:
            for i in range(DIM):
                moved = float(point[i]) - 0.3 * epsilon * math.copysign(1, float(gradient[i]))
                moved = min(max(moved, float(source[i]) - epsilon), float(source[i]) + epsilon)
                point[i] = min(max(moved, low), high)
    return best


@pytest.mark.parametrize("value_range", [ENDLESS, (0.0, 1.0)], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_linf_against_a_loop(epsilon: float, value_range: tuple[float, float]) -> None:
    module = network(DIM, 10, 3)
    found = pgd(module, SOURCES, CLASSES, norm="linf", epsilon=epsilon, value_range=value_range, steps=10, step=0.3)
    for row, source, target in zip(found.inputs, SOURCES, CLASSES.tolist(), strict=True):
        # Every coordinate goes by sums of the same few numbers, each rounded some ten times.
        assert torch.allclose(row, loop(module, source, target, epsilon, value_range), rtol=0, atol=1e-14)


def test_l2_is_the_published_descent() -> None:
    module = network(DIM, 10, 3)
    for epsilon, within in ((0.3, ENDLESS), (2.0, (0.0, 1.0))):
        usual, published = (
            attack(module, SOURCES, CLASSES, norm="l2", epsilon=epsilon, steps=9, value_range=within)
            for attack in (pgd, radial_pgd)
        )
        assert torch.equal(usual.inputs, published.inputs)


def test_a_linear_network_is_attacked_perfectly() -> None:
    """The best margin within the ball is y' f(u) + epsilon ||w||_q; L2 and L-infinity get there, radial does not."""
    module = network(DIM, 1)
    weight = next(module.parameters())[0].detach()
    targets = torch.tensor([1, -1, 1, -1, 1, -1])
    with torch.no_grad():
        before = targets * module(SOURCES)[:, 0]
    gains = {"l2": float(weight.norm()), "linf": float(weight.abs().sum())}
    for norm, gain in gains.items():
        found = pgd(module, SOURCES, targets, norm=norm, epsilon=0.5, steps=5)
        # Some roundings, and the room that the L2 bound leaves for them.
        assert torch.allclose(-found.losses - before, torch.full_like(before, 0.5 * gain), rtol=0, atol=1e-13)
    radial = radial_pgd(module, SOURCES, targets, norm="linf", epsilon=0.5)
    assert bool((-radial.losses - before < 0.9 * 0.5 * gains["linf"]).all())


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_random_starts_get_away_from_a_flat_source(norm: str) -> None:
    """f is constant around the sources: only a search that starts elsewhere finds anything."""
    origin = torch.full((COUNT, DIM), 0.5, dtype=torch.float64)

    class Flat(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return (inputs - 0.5).abs().sub(0.01).clamp_min(0).sum(dim=1) - 1

    targets = torch.ones(COUNT, dtype=torch.int64)
    still = pgd(Flat(), origin, targets, norm=norm, epsilon=0.4)
    assert torch.equal(still.inputs, origin)
    found = pgd(Flat(), origin, targets, norm=norm, epsilon=0.4, random_start=True, seed=1)
    assert bool((found.losses < still.losses).all())
    other = pgd(Flat(), origin, targets, norm=norm, epsilon=0.4, random_start=True, seed=2)
    assert not torch.equal(found.inputs, other.inputs)


def test_l0_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"attack\.norm = 'l0', but pgd bounds perturbations in l2 or linf; choose one"
    ):
        pgd(network(DIM, 3), SOURCES, CLASSES, norm="l0", epsilon=1.0)


def test_several_sizes_are_several_calls() -> None:
    module, sizes = network(DIM, 10, 3), (0.0, 0.1, 0.5)
    for kind, search in ((PGD, pgd), (RadialPGD, radial_pgd)):
        attack = kind(LInf(), 1.0, steps=5)
        curve = over_epsilons(attack, module, SOURCES, CLASSES, epsilons=sizes, context=AttackContext())
        for epsilon, found in zip(sizes, curve, strict=True):
            alone = search(module, SOURCES, CLASSES, epsilon=epsilon, norm="linf", steps=5)
            assert torch.equal(found.inputs, alone.inputs)
        assert curve[0].losses.mean() > curve[1].losses.mean() > curve[2].losses.mean()


def patient_loop(module: nn.Module, source: Tensor, target: int, epsilon: float, patience: int) -> tuple[Tensor, int]:
    """The best point of one sample in L2 within epsilon of its source, and how often its gradient was taken."""
    point, best, least, before = source.clone(), source.clone(), math.inf, math.inf
    for step in range(12):
        if step and step % patience == 0:
            if not before - least > 0.01 * abs(least):
                return best, step
            before = least
        leaf = point.clone().requires_grad_()
        logits = module(leaf[None])[0]
        loss = logits.exp().sum().log() - logits[target]
        (gradient,) = torch.autograd.grad(loss, leaf)
        if float(loss.detach()) < least:
            best, least = point, float(loss.detach())
        change = point - 0.3 * epsilon * gradient / gradient.norm() - source
        point = source + change * min(1, epsilon / float(change.norm()))
    logits = module(point[None])[0].detach()
    return (point if float(logits.exp().sum().log() - logits[target]) < least else best), 12


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_samples_whose_loss_no_longer_falls_leave_the_search(patience: int) -> None:
    """Against a loop over samples, in what is found and in how many gradients are taken."""
    module, passes = network(DIM, 10, 3), []
    module.register_forward_hook(lambda part, given, outputs: passes.append(len(outputs)))
    sizes = torch.tensor([0.001, 0.01, 0.1, 0.5, 1.0, 4.0], dtype=torch.float64)
    found = pgd(module, SOURCES, CLASSES, norm="l2", epsilon=sizes, steps=12, step=0.3, patience=patience)
    n_passes = list(passes)
    samples = zip(SOURCES, CLASSES.tolist(), sizes.tolist(), strict=True)
    loops = [patient_loop(module, *each, patience) for each in samples]
    # A dozen steps of some ten roundings of 1e-16 each, and the margin that the bound leaves to rounding.
    assert torch.allclose(found.inputs, torch.stack([point for point, _ in loops]), rtol=0, atol=1e-13)
    taken = [sum(steps > step for _, steps in loops) for step in range(13)]
    assert n_passes == [count for count in [*taken[:12], sum(steps == 12 for _, steps in loops)] if count]
    assert 0 < sum(taken[1:]) < 11 * COUNT
    assert len({steps for _, steps in loops}) > 1


def test_patience_for_all_steps_changes_nothing() -> None:
    module = network(DIM, 10, 3)
    plain, patient = (
        pgd(module, SOURCES, CLASSES, norm="linf", epsilon=0.3, steps=6, patience=patience) for patience in (None, 6)
    )
    assert torch.equal(plain.inputs, patient.inputs)


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="patience = 0, but at least 1 is needed; leave it out for none"):
        PGD(LInf(), 0.1, patience=0)
    with pytest.raises(ConfigError, match="augment = -1, but at least 1 is needed; leave it out for none"):
        PGD(LInf(), 0.1, augment=-1)
