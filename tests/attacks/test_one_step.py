"""One gradient step towards target labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perturblearn.attacks import input_gradient, one_step, steepest_step
from perturblearn.classifiers import TwoLayer
from perturblearn.errors import ConfigError

NORMS = [("l2", None), ("linf", None), ("l0", 3)]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MODULE = TwoLayer(draw(30, 8, seed=1), draw(30, seed=2), draw(30, seed=3), 0.0)
POINTS = draw(50, 8)
TARGETS = torch.where(torch.arange(50) % 2 == 0, 1, -1)


@pytest.mark.parametrize(("norm", "pixels"), NORMS)
def test_the_target_gives_the_sign(norm: str, pixels: int | None) -> None:
    steps = one_step(MODULE, POINTS, TARGETS, norm=norm, epsilon=0.3, pixels=pixels)
    upwards = steepest_step(input_gradient(MODULE, POINTS), norm, epsilon=0.3, pixels=pixels)
    assert torch.equal(steps[::2], upwards[::2])
    assert torch.equal(steps[1::2], -upwards[1::2])
    images = one_step(MODULE, POINTS.view(50, 2, 2, 2), TARGETS, norm=norm, epsilon=0.3, pixels=pixels)
    # The same products; their order may differ.
    assert torch.allclose(images.flatten(1), steps, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("norm", "pixels"), NORMS)
def test_moves_f_towards_the_target_by_the_first_order(norm: str, pixels: int | None) -> None:
    epsilon = 1e-6
    steps = one_step(MODULE, POINTS, TARGETS, norm=norm, epsilon=epsilon, pixels=pixels)
    gradient = input_gradient(MODULE, POINTS)
    with torch.no_grad():
        gained = TARGETS * (MODULE(POINTS + steps) - MODULE(POINTS))
    if norm == "linf":
        slope = gradient.abs().sum(dim=1)
    else:
        slope = gradient.abs().sort(dim=1, descending=True).values[:, :pixels].norm(dim=1)
    # f is linear between flips, of which there is none within 1e-6 |w| here; f below 100 is rounded by 1e-14 each way.
    hidden = POINTS @ MODULE.weight.detach().T + draw(30, seed=3)
    assert float(hidden.abs().min()) > epsilon * float(MODULE.weight.detach().abs().sum(dim=1).max())
    assert torch.allclose(gained, epsilon * slope, rtol=0, atol=4e-14)
    assert bool((gained > 0).all())


@pytest.mark.parametrize(("norm", "pixels"), NORMS)
def test_beats_random_directions(norm: str, pixels: int | None) -> None:
    def gained(steps: Tensor) -> float:
        with torch.no_grad():
            return float((TARGETS * (MODULE(POINTS + steps) - MODULE(POINTS))).mean())

    reached = gained(one_step(MODULE, POINTS, TARGETS, norm=norm, epsilon=0.5, pixels=pixels))
    for seed in range(20):
        assert reached > gained(steepest_step(draw(50, 8, seed=10 + seed), norm, epsilon=0.5, pixels=pixels))


def test_dead_units_give_no_step() -> None:
    dead = TwoLayer(torch.ones(2, 3), torch.ones(2), torch.full((2,), -100.0), 0.0)
    steps = one_step(dead, torch.ones(4, 3), torch.tensor([1, -1, 1, -1]), norm="l2", epsilon=1.0)
    assert steps.abs().tolist() == [[0.0] * 3] * 4


def test_never_clipped() -> None:
    steps = one_step(MODULE, POINTS, TARGETS, norm="linf", epsilon=100.0)
    assert bool((steps.abs() == 100).all())


def test_errors_of_the_step_pass_through() -> None:
    with pytest.raises(ConfigError, match=r"attack.pixels = 9, but inputs have 8 coordinates"):
        one_step(MODULE, POINTS, TARGETS, norm="l0", epsilon=1.0, pixels=9)
