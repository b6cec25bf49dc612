"""The smallest perturbation against closed forms and brute force."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import Iterate, minimum_norm, pgd
from perturblearn.classifiers import is_target
from perturblearn.errors import ConfigError

DIM, COUNT = 6, 20
SOURCES = torch.rand(COUNT, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEIGHT = torch.randn(DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
DUAL = {"l2": float(WEIGHT.norm()), "linf": float(WEIGHT.abs().sum())}


class Plane(nn.Module):
    """f(x) = w . x - 1."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ WEIGHT.to(inputs) - 1


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_distance_to_a_plane(norm: str, bfloat16: bool) -> None:
    """It is |f(u)| / ||w||_q; where that is too far, nothing succeeds and the point is the nearest to the plane."""
    outputs = Plane()(SOURCES)
    targets = torch.where(torch.arange(COUNT) < 4, outputs.sign(), -outputs.sign()).long()
    distance = torch.where(is_target(outputs, targets), 0.0, outputs.abs() / DUAL[norm])
    epsilon = float(distance.sort().values[15])  # just reached by one, too small for four
    sources = SOURCES.float() if bfloat16 else SOURCES
    found = minimum_norm(
        Plane(), sources, targets, norm=norm, epsilon=epsilon * 1.001, steps=10, rounds=12, bfloat16=bfloat16
    )
    reached = distance <= epsilon
    assert torch.equal(found.success, reached)
    assert found.sizes[:4].tolist() == [0.0] * 4
    assert torch.equal(found.inputs[:4], sources[:4])
    sizes = found.sizes.double()
    if not bfloat16:
        # 12 rounds of bisection leave 2^-12 of the interval that they began with, at most epsilon.
        assert bool((sizes[reached] <= distance[reached] + 2**-12 * epsilon * 1.001 + 1e-12).all())
    # In bfloat16 a label near the plane is wrong by 2^-8 of sums of size 1, and so is the size.
    assert bool((sizes[reached] <= distance[reached] + (2**-6 / DUAL[norm] if bfloat16 else 1e-3)).all())
    assert bool((sizes[reached] >= distance[reached] * (1 - 1e-6) - 1e-7).all())
    assert torch.allclose(sizes[~reached], torch.full((4,), epsilon * 1.001, dtype=torch.float64), rtol=1e-3)


def logits() -> nn.Sequential:
    module = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    for number, parameter in enumerate(module.parameters()):
        draws = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
        parameter.data = 2 * draws
    return module


def test_against_every_point_of_a_grid() -> None:
    """In two dimensions the nearest point of the target's class is known by looking at all."""
    module, sources = logits(), 2 * SOURCES[:, :2] - 1
    targets = torch.arange(COUNT) % 4
    line = torch.linspace(-2, 2, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        labels = module(grid).argmax(dim=1)
    found = minimum_norm(module, sources, targets, norm="l2", epsilon=1.0, value_range=(-2, 2), steps=30, step=0.1)
    nearest = torch.stack(
        [
            (grid[labels == target] - source).norm(dim=1).min()
            for source, target in zip(sources, targets.tolist(), strict=True)
        ]
    )
    # Descents may miss a class that lies behind another; those of these draws that succeed end near the best point of
    # the grid, whose spacing is 0.01, all but a few.
    assert bool((found.sizes >= nearest - 0.0075)[found.success].all())
    assert bool((nearest < 1 + 0.0075)[found.success].all())
    near = found.success & (found.sizes <= 1.05 * nearest + 0.0075)
    assert int(near.sum()) >= 0.9 * int((nearest < 0.99).sum())


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_more_rounds_are_never_worse_and_pgd_at_the_largest_size_is_never_better(norm: str) -> None:
    module, sources = logits(), 2 * SOURCES[:, :2] - 1
    targets = torch.arange(COUNT) % 4
    results = [
        minimum_norm(module, sources, targets, norm=norm, epsilon=0.8, steps=8, rounds=rounds) for rounds in (0, 2, 6)
    ]
    whole = pgd(module, sources, targets, norm=norm, epsilon=0.8, steps=8)
    for fewer, more in pairwise(results):
        assert torch.equal(fewer.success, more.success)
        assert bool((more.sizes <= fewer.sizes).all())
    assert bool((results[0].success | ~whole.success).all())
    assert bool((results[-1].sizes < 0.9 * results[0].sizes).any())
    failed = ~results[0].success
    assert bool(failed.any())
    # Both keep the lowest loss where nothing succeeds; the products of fewer rows are rounded differently.
    assert torch.allclose(results[-1].inputs[failed], whole.inputs[failed], rtol=0, atol=1e-9)


def test_only_the_rows_in_question_are_searched_and_seen() -> None:
    seen: list[Iterate] = []
    said: list[tuple[int, int]] = []
    targets = torch.where(torch.arange(COUNT) < 15, Plane()(SOURCES).sign(), -Plane()(SOURCES).sign()).long()
    minimum_norm(
        Plane(), SOURCES, targets, norm="l2", epsilon=10.0, steps=3, rounds=1, block=10, callback=seen.append,
        report=lambda done, steps, _: said.append((done, steps)),
    )  # fmt: skip
    assert all(iterate.rows.tolist() == [15, 16, 17, 18, 19] for iterate in seen)
    assert [(iterate.search, iterate.step) for iterate in seen] == [
        (search, step) for search in (0, 1) for step in range(4)
    ]
    assert said == [(3, 12), (6, 12), (9, 12), (12, 12)]


def test_l0_is_refused() -> None:
    with pytest.raises(ConfigError, match="but minimum_norm bounds perturbations in l2 or linf"):
        minimum_norm(Plane(), SOURCES, torch.ones(COUNT), norm="l0", epsilon=1.0)
