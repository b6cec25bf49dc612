"""Steps of a given size: naive loops, exact sizes, and gradients of any magnitude."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from perturblearn.attacks import L0, L2, LInf, norm_of, steepest_step
from perturblearn.errors import ConfigError

NORMS = [("l2", None), ("linf", None), ("l0", 3)]
DTYPES = [torch.float32, torch.float64]


def gradients(n: int = 6, *shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(n, *(shape or (10,)), generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive(gradient: list[float], norm: str, epsilon: float, pixels: int | None) -> list[float]:
    if norm == "linf":
        return [epsilon * ((g > 0) - (g < 0)) for g in gradient]
    kept = list(gradient)
    if norm == "l0":
        largest = sorted(range(len(kept)), key=lambda i: -abs(kept[i]))[:pixels]
        kept = [g if i in largest else 0.0 for i, g in enumerate(kept)]
    length = math.sqrt(math.fsum(g * g for g in kept))
    return [epsilon * g / length if length else 0.0 for g in kept]


@pytest.mark.parametrize(("norm", "pixels"), [*NORMS, ("l0", 1), ("l0", 10)])
@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 2.5])
def test_against_naive_loops(norm: str, pixels: int | None, epsilon: float) -> None:
    gradient = gradients()
    steps = steepest_step(gradient, norm, epsilon=epsilon, pixels=pixels)
    for row, step in zip(gradient.tolist(), steps.tolist(), strict=True):
        # Some 20 roundings of relative size 2^-53 each.
        assert step == pytest.approx(naive(row, norm, epsilon, pixels), rel=20 * 2**-53, abs=0)


@given(
    dim=st.integers(1, 40),
    epsilon=st.floats(1e-3, 1e3),
    seed=st.integers(0, 99),
    pixels=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
)
def test_sizes(dim: int, epsilon: float, seed: int, pixels: int, dtype: torch.dtype) -> None:
    gradient = gradients(4, dim, dtype=dtype, seed=seed)
    pixels = min(pixels, dim)
    eps = torch.finfo(dtype).eps
    rounded = float(torch.tensor(epsilon, dtype=dtype))
    for norm in ("l2", "l0"):
        steps = steepest_step(gradient, norm, epsilon=epsilon, pixels=pixels)
        # Each entry is rounded three times (eps / 2 each), the length once for each of the dim squares at most, of
        # which the root takes half, and the measuring in float64 not at all.
        error = (steps.double().norm(dim=1) / rounded - 1).abs().max()
        assert float(error) <= (2 + dim / 4 + 1) * eps
        if norm == "l0":
            assert (steps != 0).sum(dim=1).tolist() == [pixels] * 4
    assert bool((steepest_step(gradient, "linf", epsilon=epsilon).abs() == rounded).all())


@pytest.mark.parametrize(("norm", "pixels"), NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("magnitude", [1e-44, 1e-30, 1e-20, 1e20, 1e30, 1e38])
def test_no_magnitude_vanishes_or_overflows(
    norm: str, pixels: int | None, dtype: torch.dtype, magnitude: float
) -> None:
    scaled = (torch.tensor([[0.5, -0.25, 1.0, -1.0, 0.0]], dtype=torch.float64) * magnitude).to(dtype)
    steps = steepest_step(scaled, norm, epsilon=0.5, pixels=pixels)
    # In units of the largest entry, of what the rounding to subnormal numbers has left.
    relative = (scaled.double() / scaled.double().abs().max()).flatten().tolist()
    expected = naive(relative, norm, 0.5, pixels)
    # A few roundings.
    assert steps.flatten().tolist() == pytest.approx(expected, rel=8 * torch.finfo(dtype).eps, abs=0)


@pytest.mark.parametrize(("norm", "pixels"), NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_gradients_give_zero_steps(norm: str, pixels: int | None, dtype: torch.dtype) -> None:
    gradient = gradients(dtype=dtype)
    gradient[2] = 0
    steps = steepest_step(gradient, norm, epsilon=1.0, pixels=pixels)
    assert steps[2].tolist() == [0.0] * 10
    assert bool((steps[[0, 1, 3, 4, 5]] != 0).any(dim=1).all())


def test_fewer_entries_than_pixels() -> None:
    steps = steepest_step(torch.tensor([[0.0, 3.0, 0.0, -4.0]]), "l0", epsilon=1.0, pixels=3)
    # 3/4 and 1 over 5/4, each rounded twice.
    assert steps[0].tolist() == pytest.approx([0.0, 0.6, 0.0, -0.8], rel=4 * 2**-24, abs=0)


@pytest.mark.parametrize(("norm", "pixels"), NORMS)
def test_shape_layout_and_dtype(norm: str, pixels: int | None) -> None:
    images = gradients(5, 2, 3, 4, dtype=torch.float32)
    steps = steepest_step(images, norm, epsilon=1.0, pixels=pixels)
    assert (steps.shape, steps.dtype) == (images.shape, torch.float32)
    flat = steepest_step(images.flatten(1), norm, epsilon=1.0, pixels=pixels)
    assert torch.equal(steps.flatten(1), flat)
    strided = images.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)
    assert not strided.is_contiguous()
    assert torch.equal(steepest_step(strided, norm, epsilon=1.0, pixels=pixels), steps)
    assert steepest_step(images[:0], norm, epsilon=1.0, pixels=pixels).shape == (0, 2, 3, 4)
    before = images.clone()
    steepest_step(images, norm, epsilon=1.0, pixels=pixels)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (None, "attack.pixels = None, but in l0 the number of coordinates that may change is the bound; give one"),
        (0, "attack.pixels = 0, but an L0 perturbation changes at least one coordinate; choose 1 or more"),
        (-1, "attack.pixels = -1, but an L0 perturbation changes at least one"),
        (11, "attack.pixels = 11, but inputs have 10 coordinates; choose between 1 and that number"),
    ],
)
def test_pixels_out_of_range(pixels: int | None, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        steepest_step(gradients(), "l0", epsilon=1.0, pixels=pixels)


def test_norms_are_values() -> None:
    assert [norm_of("l0", 3), norm_of("l2"), norm_of("linf")] == [L0(3), L2(), LInf()]
    assert len({L0(3), L0(3), L0(4), L2(), LInf()}) == 4
    assert norm_of(L0(3)) == L0(3)
    assert torch.equal(
        steepest_step(gradients(), L0(3), epsilon=0.7), steepest_step(gradients(), "l0", epsilon=0.7, pixels=3)
    )


def test_unknown_norm() -> None:
    with pytest.raises(ConfigError, match=r"attack.norm = 'l1', but perturbations are bounded in l0, l2 or linf"):
        steepest_step(gradients(), "l1", epsilon=1.0)


@pytest.mark.parametrize(("norm", "pixels"), NORMS)
def test_no_step_of_the_norm_rises_more(norm: str, pixels: int | None) -> None:
    """The step maximises g . r over its ball: no random member of the ball does better."""
    gradient = gradients()
    steps = steepest_step(gradient, norm, epsilon=0.7, pixels=pixels)
    gained = (gradient * steps).sum(dim=1)
    for seed in range(200):
        # Steps along random gradients lie on the same sphere; of the 1024 corners of a cube some are drawn twice.
        other = steepest_step(gradients(seed=seed + 1), norm, epsilon=0.7, pixels=pixels)
        assert bool(((gradient * other).sum(dim=1) <= gained).all())
