"""The published descent against a loop over samples, written from its description with the loss and autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import Iterate, radial_pgd
from perturblearn.classifiers import TwoLayer, initialise
from perturblearn.config import TwoLayerConfig
from perturblearn.errors import ConfigError, DataError

DIM, COUNT = 12, 7
ENDLESS = (-math.inf, math.inf)
F = initialise(TwoLayerConfig(hidden_dim=20, slope=0.1), DIM, seed=0, role="f").double()
SOURCES = 2 * torch.rand(COUNT, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
TARGETS = torch.tensor([1, -1, 1, 1, -1, -1, 1])
BOUNDS: list[dict[str, Any]] = [
    {"norm": "l2", "epsilon": 0.5},
    {"norm": "l2", "epsilon": 4.0},
    {"norm": "linf", "epsilon": 0.2},
    {"norm": "l0", "epsilon": 1.0, "pixels": 5},
]


def exponential(outputs: Tensor, targets: Tensor | int) -> Tensor:
    return torch.exp(-targets * outputs)


def published(
    module: nn.Module,
    source: Tensor,
    target: int,
    value_range: tuple[float, float],
    *,
    loss_of: Callable[[Tensor, Any], Tensor] = exponential,
    size: float = 0.2,
    **bound: Any,
) -> Tensor:
    """One sample, with the exponential loss of the margin, or another."""
    order = {"l2": 2.0, "linf": math.inf}.get(bound["norm"])
    point, best, lowest = source.clone(), source.clone(), math.inf
    steps = bound["pixels"] if order is None else 100
    for step in range(steps + 1):
        leaf = point.clone().requires_grad_()
        loss = loss_of(module(leaf[None]), torch.tensor([target]))[0]
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
            point = point - size * epsilon * gradient / torch.linalg.vector_norm(gradient, order)
            change = point - source
            point = source + change * min(1.0, epsilon / float(torch.linalg.vector_norm(change, order)))
        point = point.clamp(*value_range)
    return best


@pytest.mark.parametrize("value_range", [ENDLESS, (-1.0, 1.0)], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: f"{bound['norm']} {bound['epsilon']}")
def test_against_a_loop(bound: dict[str, Any], value_range: tuple[float, float]) -> None:
    found = radial_pgd(F, SOURCES, TARGETS, value_range=value_range, **bound).inputs
    for row, source, target in zip(found, SOURCES, TARGETS.tolist(), strict=True):
        # Directions of loss and margin are equal but for rounding; a hundred rescaled steps make it some 1e-8.
        assert torch.allclose(row, published(F, source, target, value_range, **bound), rtol=0, atol=1e-6)


LOGITS = nn.Sequential(nn.Linear(DIM, 9), nn.Softplus(), nn.Linear(9, 4)).double()
# Small weights: where the target has probability 1 but for rounding, its loss and gradient are rounding themselves.
for number, parameter in enumerate(LOGITS.parameters()):
    draws = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
    parameter.data = 0.3 * draws
CLASSES = torch.tensor([0, 1, 2, 3, 0, 3, 1])


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Written out."""
    return outputs.exp().sum(dim=1).log() - outputs[torch.arange(len(outputs)), targets]


def gap(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss of the user's: by how much the largest of the other logits is above the target's."""
    rows = torch.arange(len(outputs))
    others = outputs.clone()
    others[rows, targets] = -math.inf
    return others.max(dim=1).values - outputs[rows, targets]


@pytest.mark.parametrize("value_range", [ENDLESS, (-1.0, 1.0)], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: f"{bound['norm']} {bound['epsilon']}")
@pytest.mark.parametrize("loss", [None, gap])
def test_logits_against_a_loop(bound: dict[str, Any], value_range: tuple[float, float], loss: Any) -> None:
    found = radial_pgd(LOGITS, SOURCES, CLASSES, value_range=value_range, loss=loss, step=0.3, **bound)
    for row, source, target in zip(found.inputs, SOURCES, CLASSES.tolist(), strict=True):
        expected = published(LOGITS, source, target, value_range, loss_of=loss or cross_entropy, size=0.3, **bound)
        # As above; the network is smooth, so that rounding grows no faster.
        assert torch.allclose(row, expected, rtol=0, atol=1e-6)
    with torch.no_grad():
        outputs = LOGITS(found.inputs)
    # The same pass over all samples at once: sums of 12 products of numbers below 10.
    assert torch.allclose(found.outputs, outputs, rtol=0, atol=1e-12)
    assert torch.allclose(found.losses, (loss or cross_entropy)(outputs, CLASSES), rtol=0, atol=1e-11)
    assert torch.equal(found.success, outputs.argmax(dim=1) == CLASSES)


def test_losses_of_two_classes_are_minus_the_margin() -> None:
    found = radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5, steps=5)
    with torch.no_grad():
        margin = TARGETS * F(found.inputs)
    assert torch.allclose(found.losses, -margin, rtol=0, atol=1e-12)
    assert torch.equal(found.success, margin > 0)
    assert torch.equal(found.sizes, (found.inputs - SOURCES).norm(dim=1))
    # A loss that falls with the margin leads to the same points, however it is written; a mean is no such loss.
    same = radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5, steps=5, loss=exponential)
    assert torch.allclose(same.inputs, found.inputs, rtol=0, atol=1e-6)
    assert torch.allclose(same.losses, torch.exp(found.losses), rtol=1e-5)


def test_an_epsilon_for_every_source() -> None:
    sizes = torch.linspace(0, 1, COUNT, dtype=torch.float64)
    together = radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=sizes)
    for row, (size, source, target) in enumerate(zip(sizes.tolist(), SOURCES, TARGETS, strict=True)):
        alone = radial_pgd(F, source[None], target[None], norm="l2", epsilon=size)
        # One row's products in another order; a hundred rescaled steps as above.
        assert torch.allclose(alone.inputs[0], together.inputs[row], rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match=r"epsilon has shape \(3,\), but there are 7 sources"):
        radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=sizes[:3])
    for wrong in (-0.5, math.inf, math.nan):
        with pytest.raises(ConfigError, match=f"epsilon = {wrong}, but the size of a perturbation is finite"):
            radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=wrong)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_restarts_are_the_best_of_searches_from_random_points(norm: str) -> None:
    """The random starts of one restart are the first of several; each search alone is known by its own loop."""
    seen: dict[int, Tensor] = {}

    def note(iterate: Iterate) -> None:
        if iterate.step == 0:
            seen[iterate.search] = iterate.inputs.clone()

    options: dict[str, Any] = {"norm": norm, "epsilon": 0.5, "steps": 3, "random_start": True, "seed": 4}
    found = radial_pgd(LOGITS, SOURCES, CLASSES, restarts=3, callback=note, **options)
    assert sorted(seen) == [0, 1, 2]
    with torch.no_grad():
        lowest = cross_entropy(LOGITS(SOURCES), CLASSES)
        for start in seen.values():
            for row in range(COUNT):
                point = _descent_from(start[row], SOURCES[row], int(CLASSES[row]), norm)
                lowest[row] = min(lowest[row], *(cross_entropy(LOGITS(x[None]), CLASSES[row : row + 1]) for x in point))
    assert torch.allclose(found.losses, lowest, rtol=0, atol=1e-6)
    once = radial_pgd(LOGITS, SOURCES, CLASSES, **options)
    assert bool((found.losses <= once.losses).all())
    assert bool((found.losses < once.losses).any())


def _descent_from(point: Tensor, source: Tensor, target: int, norm: str) -> list[Tensor]:
    points, order = [point], {"l2": 2.0, "linf": math.inf}[norm]
    for _ in range(3):
        leaf = points[-1].clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(cross_entropy(LOGITS(leaf[None]), torch.tensor([target]))[0], leaf)
        change = points[-1] - 0.1 * gradient / torch.linalg.vector_norm(gradient, order) - source
        points.append(source + change * min(1.0, 0.5 / float(torch.linalg.vector_norm(change, order))))
    return points


def test_the_callback_sees_every_iterate() -> None:
    seen: list[tuple[int, int, list[int]]] = []
    last: dict[int, Tensor] = {}

    def note(iterate: Iterate) -> None:
        seen.append((iterate.search, iterate.step, iterate.rows.tolist()))
        with torch.no_grad():
            margin = TARGETS[iterate.rows] * F(iterate.inputs.flatten(1))
        assert torch.allclose(iterate.losses, -margin, rtol=0, atol=1e-12)
        for row, loss in zip(iterate.rows.tolist(), iterate.losses, strict=True):
            last[row] = min(last.get(row, loss), loss)

    images = SOURCES.view(COUNT, 1, 3, 4)
    found = radial_pgd(F, images, TARGETS, norm="l2", epsilon=0.5, steps=2, block=4, callback=note)
    assert seen == [(0, step, rows) for rows in ([0, 1, 2, 3], [4, 5, 6]) for step in (0, 1, 2)]
    assert [float(last[row]) for row in range(COUNT)] == found.losses.tolist()


def test_it_beats_one_step_and_the_papers_linf_is_weaker_than_signs() -> None:
    radial = radial_pgd(F, SOURCES, TARGETS, norm="linf", epsilon=0.2).inputs
    signs = SOURCES.clone()
    for _ in range(100):
        leaf = signs.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((TARGETS * F(leaf)).sum(), leaf)
        signs = SOURCES + (signs + 0.04 * gradient.sign() - SOURCES).clamp(-0.2, 0.2)
    of_radial, of_signs, of_sources = ((TARGETS * F(points)).detach() for points in (radial, signs, SOURCES))
    assert bool((of_sources < of_radial).all())
    assert float(of_radial.mean()) < float(of_signs.mean())


def test_blocks_and_shapes_change_nothing() -> None:
    whole = radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5).inputs
    assert torch.allclose(radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5, block=2).inputs, whole, atol=1e-12)
    images = radial_pgd(F, SOURCES.view(COUNT, 1, 3, 4), TARGETS, norm="l2", epsilon=0.5).inputs
    assert images.shape == (COUNT, 1, 3, 4)
    assert torch.allclose(images.flatten(1), whole, atol=1e-12)
    few = radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5, steps=3).inputs
    assert not torch.allclose(few, whole)


def test_any_module_with_one_output() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(DIM, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).double()
    found = radial_pgd(module, SOURCES, TARGETS, norm="l2", epsilon=0.5).inputs
    assert bool((TARGETS * module(found) > TARGETS * module(SOURCES)).all())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_where_nothing_pulls_nothing_moves() -> None:
    dead = TwoLayer(torch.zeros(3, DIM).double(), torch.ones(3).double(), None, 0.1)
    for bound in BOUNDS:
        assert torch.equal(radial_pgd(dead, SOURCES, TARGETS, **bound).inputs, SOURCES)
    assert torch.equal(radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.0).inputs, SOURCES)


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
    for pixels, sentence in (
        (None, "= None, but in l0"),
        (0, "= 0, but"),
        (DIM + 1, "= 13, but inputs have 12 coordinates"),
    ):
        with pytest.raises(ConfigError, match=f"attack.pixels {sentence}"):
            radial_pgd(F, SOURCES, TARGETS, norm="l0", epsilon=0.5, pixels=pixels)
    with pytest.raises(ConfigError, match="random_start applies to l2 and linf"):
        radial_pgd(F, SOURCES, TARGETS, norm="l0", epsilon=0.5, pixels=3, random_start=True)
    with pytest.raises(ConfigError, match="restarts = 3 without random_start would search 3 times from one point"):
        radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5, restarts=3)
    for step in (0.0, -1.0, math.inf):
        with pytest.raises(ConfigError, match=f"step = {step:g}, but a step is a multiple of epsilon above 0"):
            radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5, step=step)
    with pytest.raises(ConfigError, match=r"a search in bfloat16 needs float32 inputs, but these are torch\.float64"):
        radial_pgd(F, SOURCES, TARGETS, norm="l2", epsilon=0.5, bfloat16=True)
    with pytest.raises(DataError, match=r"sources are torch\.int64, but attacks follow gradients in them"):
        radial_pgd(F, SOURCES.long(), TARGETS, norm="l2", epsilon=0.5)
    with pytest.raises(DataError, match=r"targets have shape \(6,\), but there are 7 sources"):
        radial_pgd(F, SOURCES, TARGETS[:6], norm="l2", epsilon=0.5)
    with pytest.raises(DataError, match="sources run from nan to nan"):
        radial_pgd(F, SOURCES * math.nan, TARGETS, norm="l2", epsilon=0.5)


def test_outputs_as_a_column_and_no_sources() -> None:
    torch.manual_seed(0)
    column = nn.Sequential(nn.Linear(DIM, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    flat = nn.Sequential(column, nn.Flatten(0))
    for bound in BOUNDS:
        found, expected = (radial_pgd(module, SOURCES, TARGETS, **bound) for module in (column, flat))
        assert torch.equal(found.inputs, expected.inputs)
        assert found.outputs.shape == (COUNT,)
        assert len(radial_pgd(column, SOURCES[:0], TARGETS[:0], **bound)) == 0


def test_sources_outside_the_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="outside the data's range"):
        radial_pgd(F, 2 * SOURCES, TARGETS, norm="l2", epsilon=0.5, value_range=(-1.0, 1.0))
    # Centred data may leave their range by a rounding.
    beyond = SOURCES / SOURCES.abs().max() * (1 + 1e-7)
    found = radial_pgd(F, beyond, TARGETS, norm="l2", epsilon=0.5, value_range=(-1.0, 1.0))
    assert float(found.inputs.abs().max()) <= 1
    assert float((found.inputs - beyond).norm(dim=1).max()) <= 0.5
