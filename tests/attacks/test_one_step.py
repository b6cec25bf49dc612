"""One gradient step towards target labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from perturblearn.attacks import gate_basis, input_gradient, one_step, one_step_factors, steepest_step
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


@pytest.mark.parametrize(("norm", "pixels"), NORMS)
@pytest.mark.parametrize("block", [1, 7, 49, 50, 51])
def test_blocks_change_nothing(norm: str, pixels: int | None, block: int) -> None:
    whole = one_step(MODULE, POINTS, TARGETS, norm=norm, epsilon=0.3, pixels=pixels, block=10_000)
    steps = one_step(MODULE, POINTS, TARGETS, norm=norm, epsilon=0.3, pixels=pixels, block=block)
    # Sums over 30 units in another order, relative to coordinates of up to 0.3.
    assert torch.allclose(steps, whole, rtol=0, atol=30 * 2**-52)


def narrow(width: int, *, slope: float, bias: bool) -> TwoLayer:
    return TwoLayer(draw(width, 8, seed=1), draw(width, seed=2), draw(width, seed=3) if bias else None, slope)


def factors_of(module: TwoLayer, points: Tensor, targets: Tensor, epsilon: float, **keys: int) -> tuple[Tensor, Tensor]:
    bias = None if module.bias is None else module.bias.detach()
    weight = module.weight.detach()
    lower, basis = gate_basis(weight, module.readout)
    return one_step_factors(weight, bias, module.slope, points, targets, lower=lower, epsilon=epsilon, **keys), basis


@pytest.mark.parametrize(("norm", "pixels"), NORMS)
def test_logits_step_along_the_cross_entropy(norm: str, pixels: int | None) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    classes = torch.arange(50) % 3
    steps = one_step(module, POINTS, classes, norm=norm, epsilon=1e-4, pixels=pixels, block=7)
    leaf = POINTS.clone().requires_grad_()
    before = nn.functional.cross_entropy(module(leaf), classes, reduction="none")
    (gradient,) = torch.autograd.grad(before.sum(), leaf)
    # The same sums over 6 units, some in another order.
    assert torch.allclose(steps, steepest_step(-gradient, norm, epsilon=1e-4, pixels=pixels), rtol=1e-9, atol=0)
    with torch.no_grad():
        after = nn.functional.cross_entropy(module(POINTS + steps), classes, reduction="none")
    assert bool((after < before).all())


@pytest.mark.parametrize("width", [1, 5, 8])
@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("epsilon", [0.0, 0.7])
def test_factors_are_the_steps(width: int, slope: float, bias: bool, epsilon: float) -> None:
    module = narrow(width, slope=slope, bias=bias)
    coefficients, basis = factors_of(module, POINTS, TARGETS, epsilon)
    assert (coefficients.shape, basis.shape) == ((50, width), (width, 8))
    # A Householder factorisation is orthonormal to some roundings.
    assert torch.allclose(basis @ basis.T, torch.eye(width, dtype=torch.float64), rtol=0, atol=1e-14)
    steps = one_step(module, POINTS, TARGETS, norm="l2", epsilon=epsilon)
    # The direction is rounded relative to the terms of the gradient, which here cancel by a factor of 100 at most.
    assert float((coefficients @ basis - steps).norm(dim=1).max()) <= 1e-12 * epsilon


@pytest.mark.parametrize("block", [1, 7, 50])
def test_blocks_do_not_change_the_factors(block: int) -> None:
    module = narrow(5, slope=0.3, bias=True)
    whole, basis = factors_of(module, POINTS, TARGETS, 0.7)
    coefficients, same = factors_of(module, POINTS, TARGETS, 0.7, block=block)
    assert torch.equal(basis, same)
    # As above, for 5 units.
    assert torch.allclose(coefficients, whole, rtol=0, atol=5 * 2**-52)


def test_dead_units_have_factors_of_zero() -> None:
    # On x_0 > 0 one unit is alive; elsewhere the gradient is exactly 0, and so are the coefficients.
    module = TwoLayer(torch.eye(1, 8, dtype=torch.float64), torch.ones(1, dtype=torch.float64), None, 0.0)
    coefficients, basis = factors_of(module, POINTS, TARGETS, 0.7)
    alive = POINTS[:, 0] > 0
    assert 0 < int(alive.sum()) < 50
    assert not bool(coefficients[~alive].any())
    assert torch.equal(coefficients @ basis, one_step(module, POINTS, TARGETS, norm="l2", epsilon=0.7))


def test_rows_that_depend_on_each_other_have_factors_too() -> None:
    weight = draw(2, 8, seed=1)[[0, 1, 1]]  # rank 2 of 3
    module = TwoLayer(weight, draw(3, seed=2), draw(3, seed=3), 0.1)
    coefficients, basis = factors_of(module, POINTS, TARGETS, 0.7)
    assert torch.allclose(basis @ basis.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-14)
    steps = one_step(module, POINTS, TARGETS, norm="l2", epsilon=0.7)
    assert torch.allclose(coefficients @ basis, steps, rtol=0, atol=1e-12)
