from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from tests.theory.reference import kernel, normal
from torch import Tensor

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory import gate_kernel, sampled_gate_kernel

SLOPES = (0.0, 0.01, 0.25, 0.99)


def pairs() -> tuple[Tensor, Tensor]:
    """Random, nearly parallel and nearly opposite inputs, (3, 8) against (9, 8)."""
    x = normal(3, 8, seed=0) * torch.tensor([[0.5], [2.0], [20.0]])
    return x, torch.cat((normal(3, 8, seed=1), x + 1e-3 * normal(3, 8, seed=2), -x + 1e-3 * normal(3, 8, seed=3)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("slope", SLOPES)
def test_closed_form_and_monte_carlo(slope: float, bias: bool) -> None:
    x, z = pairs()
    generator = torch.Generator().manual_seed(4)
    sampled, error = sampled_gate_kernel(x, z, slope=slope, draws=10**6, generator=generator, bias=bias)
    exact = gate_kernel(x, z, slope=slope, bias=bias)
    # Pairs whose gates never parted in all draws have no spread: what they miss is below 4 in a million draws.
    assert bool(((exact - sampled).abs() <= 4 * error + 4e-6).all())


def test_the_standard_error_shrinks_as_it_should() -> None:
    x, z = pairs()
    errors = []
    for draws in (100, 10_000):
        _, error = sampled_gate_kernel(x, z, slope=0.0, draws=draws, generator=torch.Generator().manual_seed(0))
        errors.append(error[:, :3].mean().item())
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("slope", SLOPES)
def test_against_a_loop(slope: float, bias: bool) -> None:
    x, z = pairs()
    expected = torch.tensor([[kernel(a, b, slope, bias) for b in z] for a in x], dtype=torch.float64)
    # acos of a cosine that is 1 but for 1e-16 has an error of 1e-8; the pairs here are 1e-3 apart or more.
    assert torch.allclose(gate_kernel(x, z, slope=slope, bias=bias), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("slope", SLOPES)
def test_values_by_hand(slope: float) -> None:
    same = normal(4, 6, seed=0)
    # theta = 0; rounding of the cosine by 1e-16 makes an angle of 1e-8.
    assert torch.allclose(
        gate_kernel(same, same, slope=slope).diagonal(), torch.full((4,), (1 + slope**2) / 2).double(), atol=1e-8
    )
    first, second = torch.eye(6, dtype=torch.float64)[:2]
    # Orthogonal inputs of squared length d: cos theta = (0 + 1) / (1 + 1), theta = pi / 3.
    found = gate_kernel(first[None] * math.sqrt(6), second[None] * math.sqrt(6), slope=slope)
    assert found.item() == pytest.approx((1 + slope**2) / 2 - (1 - slope) ** 2 / 6, abs=1e-12)
    # Opposite inputs whose bias no longer counts: theta = pi, which leaves gamma.
    assert gate_kernel(first[None] * 1e12, -first[None] * 1e12, slope=slope).item() == pytest.approx(slope, abs=1e-8)
    # Without a bias and with the input 0, a right angle.
    zero = torch.zeros(1, 6, dtype=torch.float64)
    quarter = (1 + slope**2) / 2 - (1 - slope) ** 2 / 4
    assert gate_kernel(zero, first[None], slope=slope, bias=False).item() == pytest.approx(quarter, abs=1e-12)


def test_positive_semidefinite() -> None:
    x = torch.cat((normal(40, 5, seed=0), 100 * normal(5, 5, seed=1), torch.zeros(1, 5, dtype=torch.float64)))
    for slope in SLOPES:
        least = torch.linalg.eigvalsh(gate_kernel(x, x, slope=slope))[0]
        assert least > -1e-12


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_float32_is_near_float64_for_parallel_inputs_of_any_length(scale: float) -> None:
    direction = normal(1, 50, seed=0)
    x = (direction / direction.norm() * scale).float().repeat(3, 1)
    x[1] *= 1 + 1e-4
    x[2] *= -1
    for slope in SLOPES:
        found = gate_kernel(x, x, slope=slope)
        assert found.dtype == torch.float32
        assert not bool(found.isnan().any())
        assert float((found - gate_kernel(x.double(), x.double(), slope=slope)).abs().max()) < 1e-5


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e30), (torch.float64, 1e200), (torch.float64, 1e-200)])
def test_huge_and_tiny_inputs(dtype: torch.dtype, scale: float, bias: bool) -> None:
    base = normal(5, 7, seed=0).to(dtype)
    x = torch.cat((base * scale, -base * scale, torch.zeros(1, 7, dtype=dtype)))
    found = gate_kernel(x, x, slope=0.1, bias=bias)
    assert not bool(found.isnan().any())
    assert float(found.min()) >= 0.1 - 1e-6
    assert float(found.max()) <= 0.505 + 1e-6
    if not bias:  # lengths do not count, whatever they are
        assert torch.allclose(found[:5, :5], gate_kernel(base, base, slope=0.1, bias=False), atol=1e-6)


def test_blocks_and_strides_change_nothing() -> None:
    x, z = normal(33, 6, seed=0), normal(6, 21, seed=1).T
    whole = gate_kernel(x, z, slope=0.2)
    for workspace in (1, 5000):
        assert torch.allclose(gate_kernel(x, z, slope=0.2, workspace=workspace), whole, rtol=0, atol=1e-14)
    assert torch.allclose(gate_kernel(x, z.contiguous(), slope=0.2), whole, rtol=0, atol=1e-14)


def test_gradients() -> None:
    x, z = normal(4, 5, seed=0).requires_grad_(), normal(3, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: gate_kernel(a, b, slope=0.1), (x, z))
    assert torch.autograd.gradgradcheck(lambda a: gate_kernel(a, z.detach(), slope=0.1), (x,))


@pytest.mark.parametrize("scale", [1.0, -1.0, 1e3])
def test_gradients_are_finite_at_parallel_inputs(scale: float) -> None:
    x = normal(4, 5, seed=0)
    for bias in (True, False):

        def total(point: Tensor, bias: bool = bias) -> Tensor:
            return gate_kernel(point[None], torch.cat((scale * x, x)), slope=0.1, bias=bias).sum()

        backward = torch.func.vmap(torch.func.grad(total))(x)
        forward = torch.func.vmap(torch.func.jacfwd(total))(x)
        assert bool(backward.isfinite().all())
        assert torch.allclose(backward, forward, atol=1e-10)
        assert bool(torch.func.hessian(total)(x[0]).isfinite().all())
        leaf = x.clone().requires_grad_()
        gate_kernel(leaf, leaf, slope=0.1, bias=bias).sum().backward()
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())


def test_overlap_falls_with_the_angle() -> None:
    angles = torch.linspace(0, math.pi, 20, dtype=torch.float64)
    circle = torch.stack((angles.cos(), angles.sin()), dim=1)
    for bias in (True, False):
        values = gate_kernel(circle[:1], circle, slope=0.1, bias=bias)[0].tolist()
        assert all(left > right for left, right in pairwise(values))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("x", "z", "slope", "error", "words"),
    [
        (torch.ones(2, 3), torch.ones(2, 3), -0.1, ConfigError, "slope = -0.1, but the negative slope must be"),
        (torch.ones(2, 3), torch.ones(2, 3), 1.0, ConfigError, "slope = 1.0"),
        (torch.ones(2, 3), torch.ones(2, 3), float("nan"), ConfigError, "slope = nan"),
        (torch.ones(2, 3), torch.ones(2, 4), 0.0, DataError, "x has 3 columns and z has 4"),
        (torch.ones(2, 3), torch.ones(2, 3).double(), 0.0, DataError, "give both in one precision"),
        (torch.ones(2, 3).long(), torch.ones(2, 3), 0.0, DataError, r"x is torch.int64, but floats are expected"),
        (torch.ones(3), torch.ones(2, 3), 0.0, DataError, r"x has shape \(3,\), but one row per sample"),
    ],
)
def test_bad_input(x: Tensor, z: Tensor, slope: float, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        gate_kernel(x, z, slope=slope)
