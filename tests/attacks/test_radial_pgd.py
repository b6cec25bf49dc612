"""The published descent against a loop over samples, written from its description with the loss and autograd."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import radial_pgd
from perturblearn.classifiers import TwoLayer, initialise
from perturblearn.config import ModelConfig
from perturblearn.errors import ConfigError

DIM, COUNT = 12, 7
ENDLESS = (-math.inf, math.inf)
F = initialise(ModelConfig(hidden_dim=20, slope=0.1), DIM, seed=0, role="f").double()
SOURCES = 2 * torch.rand(COUNT, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
TARGETS = torch.tensor([1, -1, 1, 1, -1, -1, 1])
BOUNDS: list[dict[str, Any]] = [
    {"norm": "l2", "epsilon": 0.5},
    {"norm": "l2", "epsilon": 4.0},
    {"norm": "linf", "epsilon": 0.2},
    {"norm": "l0", "epsilon": 1.0, "pixels": 5},
]


def published(module: nn.Module, source: Tensor, target: int, value_range: tuple[float, float], **bound: Any) -> Tensor:
    """One sample, with the exponential loss of the margin."""
    order = {"l2": 2.0, "linf": math.inf}.get(bound["norm"])
    point, best, lowest = source.clone(), source.clone(), math.inf
    steps = bound["pixels"] if order is None else 100
    for step in range(steps + 1):
        leaf = point.clone().requires_grad_()
        loss = torch.exp(-target * module(leaf[None])[0])
        (gradient,) = torch.autograd.grad(loss, leaf)
        if float(loss.detach()) < lowest:
            best, lowest = point.clone(), float(loss.detach())
        if step == steps:
            break
        if order is None:
            mask = point != source
            free = gradient.abs().clone()
            free[mask] = -1
            mask[int(free.argmax())] = True
            gradient = gradient * mask
            point = point - 0.3 * gradient / gradient.abs().max()
        else:
            epsilon = bound["epsilon"]
            point = point - epsilon / 5 * gradient / torch.linalg.vector_norm(gradient, order)
            change = point - source
            point = source + change * min(1.0, epsilon / float(torch.linalg.vector_norm(change, order)))
        point = point.clamp(*value_range)
    return best


@pytest.mark.parametrize("value_range", [ENDLESS, (-1.0, 1.0)], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: f"{bound['norm']} {bound['epsilon']}")
def test_against_a_loop(bound: dict[str, Any], value_range: tuple[float, float]) -> None:
    found = radial_pgd(F, SOURCES, TARGETS, value_range=value_range, **bound)
    for row, source, target in zip(found, SOURCES, TARGETS.tolist(), strict=True):
        # Directions of loss and margin are equal but for rounding; a hundred rescaled steps make it some 1e-8.
        assert torch.allclose(row, published(F, source, target, value_range, **bound), rtol=0, atol=1e-6)


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: f"{bound['norm']} {bound['epsilon']}")
def test_bound_and_range_hold_and_no_sample_gets_worse(bound: dict[str, Any]) -> None:
    sources = SOURCES.float()
    module = initialise(ModelConfig(hidden_dim=20, slope=0.1), DIM, seed=0, role="f")
    found = radial_pgd(module, sources, TARGETS, value_range=(-1.0, 1.0), **bound)
    change = found - sources
    # A few float32 roundings of the length.
    slack = 1 + 8 * torch.finfo(torch.float32).eps
    if bound["norm"] == "l2":
        assert float(change.norm(dim=1).max()) <= bound["epsilon"] * slack
    elif bound["norm"] == "linf":
        assert float(change.abs().max()) <= bound["epsilon"] * slack
    else:
        assert int((change != 0).sum(dim=1).max()) <= bound["pixels"]
    assert float(found.abs().max()) <= 1
    margin, start = ((TARGETS * module(points)).detach() for points in (found, sources))
    assert bool((margin >= start).all())
    assert bool((margin > start).any())


def test_it_beats_one_step_and_the_papers_linf_is_weaker_than_signs() -> None:
    radial = radial_pgd(F, SOURCES, TARGETS, norm="linf", epsilon=0.2)
    signs = SOURCES.clone()
    for _ in range(100):
        leaf = signs.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((TARGETS * F(leaf)).sum(), leaf)
        signs = SOURCES + (signs + 0.04 * gradient.sign() - SOURCES).clamp(-0.2, 0.2)
    of_radial, of_signs, of_sources = ((TARGETS * F(points)).detach() for points in (radial, signs, SOURCES))
    assert bool((of_sources < of_radial).all())
    assert float(of_radial.mean()) < float(of_signs.mean())


def test_blocks_and_shapes_change_nothing() -> None:
    whole = radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5)
    assert torch.allclose(radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5, block=2), whole, atol=1e-12)
    images = radial_pgd(F, SOURCES.view(COUNT, 1, 3, 4), TARGETS, norm="l2", epsilon=0.5)
    assert images.shape == (COUNT, 1, 3, 4)
    assert torch.allclose(images.flatten(1), whole, atol=1e-12)
    few = radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5, steps=3)
    assert not torch.allclose(few, whole)


def test_any_module_with_one_output() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(DIM, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).double()
    found = radial_pgd(module, SOURCES, TARGETS, norm="l2", epsilon=0.5)
    assert bool((TARGETS * module(found) > TARGETS * module(SOURCES)).all())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_where_nothing_pulls_nothing_moves() -> None:
    dead = TwoLayer(torch.zeros(3, DIM).double(), torch.ones(3).double(), None, 0.1)
    for bound in BOUNDS:
        assert torch.equal(radial_pgd(dead, SOURCES, TARGETS, **bound), SOURCES)
    assert torch.equal(radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.0), SOURCES)


def test_progress_is_reported() -> None:
    said: list[tuple[int, int]] = []
    radial_pgd(
        F, SOURCES, TARGETS, norm="l2", epsilon=0.5, steps=4, block=4,
        report=lambda done, steps, _: said.append((done, steps)),
    )  # fmt: skip
    assert said == [(done, 8) for done in range(1, 9)]


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match=r"attack\.norm = 'l1', but perturbations are bounded in l0, l2 or linf"):
        radial_pgd(F, SOURCES, TARGETS, norm="l1", epsilon=0.5)
    for pixels in (None, 0, DIM + 1):
        with pytest.raises(ConfigError, match=f"attack.pixels = {pixels}, but inputs have 12 coordinates"):
            radial_pgd(F, SOURCES, TARGETS, norm="l0", epsilon=0.5, pixels=pixels)


def test_outputs_as_a_column_and_no_sources() -> None:
    torch.manual_seed(0)
    column = nn.Sequential(nn.Linear(DIM, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    flat = nn.Sequential(column, nn.Flatten(0))
    for bound in BOUNDS:
        assert torch.equal(radial_pgd(column, SOURCES, TARGETS, **bound), radial_pgd(flat, SOURCES, TARGETS, **bound))
        assert len(radial_pgd(column, SOURCES[:0], TARGETS[:0], **bound)) == 0


def test_sources_outside_the_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="outside the data's range"):
        radial_pgd(F, 2 * SOURCES, TARGETS, norm="l2", epsilon=0.5, value_range=(-1.0, 1.0))
    # Centred data may leave their range by a rounding.
    radial_pgd(F, SOURCES * (1 + 1e-7), TARGETS, norm="l2", epsilon=0.5, value_range=(-1.0, 1.0))
