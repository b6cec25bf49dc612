"""The kernel of deep networks against the recursion in 50 digits, against networks, and against differences."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from tests.theory.reference import normal
from torch import Tensor

from perturblearn.errors import ConfigError
from perturblearn.theory import DeepKernel, GateKernel

D = 6


def points() -> Tensor:
    """Inputs of several lengths, others 1e-8 and 1e-3 apart from them, and their opposites."""
    base = normal(3, D, seed=0) * torch.tensor([[0.3], [1.0], [30.0]])
    near = base + 1e-8 * normal(3, D, seed=1)
    return torch.cat((base, near, -base[:1], base[:1] * (1 + 1e-8), base[:1] + 1e-3 * normal(1, D, seed=2)))


def recursion(kernel: DeepKernel, x: Tensor, z: Tensor) -> tuple[Any, Any]:
    """Theta and K of one pair, term by term as in the class's formula, in 50 digits."""
    slope, bias = mpmath.mpf(kernel.slope), mpmath.mpf(kernel.sigma_b) ** 2
    square = 2 / (1 + slope**2) if kernel.sigma_w is None else mpmath.mpf(kernel.sigma_w) ** 2
    first, second = ([mpmath.mpf(value) for value in row.tolist()] for row in (x, z))

    def inner(a: list[Any], b: list[Any]) -> Any:
        return mpmath.fsum(p * q for p, q in zip(a, b, strict=True))

    xx, zz, xz = (square * inner(a, b) / len(a) + bias for a, b in ((first, first), (second, second), (first, second)))
    theta = inner(first, second) + 1 if kernel.standard_first_layer else xz
    for layer in range(kernel.depth):
        trained = kernel.trained_readout or layer < kernel.depth - 1
        added = bias if trained else mpmath.mpf(0)
        length = mpmath.sqrt(xx * zz)
        cosine = max(mpmath.mpf(-1), min(mpmath.mpf(1), xz / length))
        t = mpmath.acos(cosine)
        mixed = length * (mpmath.sin(t) + (mpmath.pi - t) * cosine) / (2 * mpmath.pi)
        xz = square * (slope * xz + (1 - slope) ** 2 * mixed) + added
        passed = square * ((1 + slope**2) / 2 - (1 - slope) ** 2 * t / (2 * mpmath.pi)) * theta
        theta = passed + xz if trained else passed
        xx, zz = (square * (1 + slope**2) / 2 * value + added for value in (xx, zz))
    return theta, xz


@pytest.mark.parametrize(
    "kernel",
    [
        *(DeepKernel(depth, slope, sigma_b=0.1) for depth in (1, 3, 6) for slope in (0.0, 0.01, 0.5)),
        DeepKernel(3, 0.5),
        DeepKernel(2, 0.0, 1.0, 1.0, trained_readout=False, standard_first_layer=True),
    ],
    ids=repr,
)
def test_against_the_recursion_in_many_digits(kernel: DeepKernel) -> None:
    x = points()
    values, covariance = kernel(x), kernel.initial_covariance(x)
    with mpmath.workdps(50):
        for i in range(len(x)):
            for j in range(i, len(x), 2):  # the diagonal, and half of the pairs
                for exact, found in zip(recursion(kernel, x[i], x[j]), (values, covariance), strict=True):
                    size = math.sqrt(float(found[i, i] * found[j, j]))
                    assert abs(float(exact - float(found[i, j]))) < 1e-12 * size
    assert torch.allclose(kernel.diagonal(x), values.diagonal(), rtol=1e-13)
    assert float(torch.linalg.eigvalsh(values)[0]) > -1e-14 * float(values.diagonal().max())


def test_networks_of_the_limit() -> None:
    """Closed form and many networks, all parameters trained: mean over draws within 4 standard errors."""
    assert worst_of_networks(DeepKernel(2, 0.1, sigma_b=0.3), width=128, draws=60) < 4


@pytest.mark.long
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6])
def test_two_hundred_networks_of_width_1024(depth: int, slope: float) -> None:
    assert worst_of_networks(DeepKernel(depth, slope, sigma_b=0.1), width=1024, draws=200) < 4


def worst_of_networks(kernel: DeepKernel, *, width: int, draws: int) -> float:
    """The largest deviation of the mean of networks' kernels and of f_0(x) f_0(z), in standard errors."""
    x = normal(3, D, seed=0) * torch.tensor([[0.5], [1.0], [2.0]])
    x[2] = x[0] + 0.1 * x[1]
    generator = torch.Generator().manual_seed(1)
    tangents, products = [], []
    for _ in range(draws):
        outputs, tangent = network_kernel(kernel, x, width, generator)
        tangents.append(tangent)
        products.append(outputs[:, None] * outputs)
    worst = 0.0
    for drawn, exact in ((tangents, kernel(x)), (products, kernel.initial_covariance(x))):
        values = torch.stack(drawn)
        error = values.std(dim=0) / math.sqrt(draws)
        worst = max(worst, float(((values.mean(dim=0) - exact).abs() / error).max()))
    return worst


def network_kernel(kernel: DeepKernel, x: Tensor, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Outputs and tangent kernel of one network, by its own forward and backward pass, written out."""
    weight, bias = math.sqrt(2 / (1 + kernel.slope**2)), kernel.sigma_b

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    layers = [(draw(width, width if number else D), draw(width)) for number in range(kernel.depth)]
    readout, last = draw(width), draw(1)
    hidden, inputs, gates = x, [x], []
    for weights, biases in layers:
        before = hidden @ weights.T * (weight / math.sqrt(hidden.shape[1])) + bias * biases
        gates.append(torch.where(before > 0, 1.0, kernel.slope))
        hidden = before * gates[-1]
        inputs.append(hidden)
    outputs = hidden @ readout * (weight / math.sqrt(width)) + bias * last
    # Each layer adds <signal, signal> (sigma_w^2 <input, input> / fan-in + sigma_b^2).
    signal = torch.ones(len(x), 1, dtype=torch.float64)
    tangent = torch.zeros(len(x), len(x), dtype=torch.float64)
    chain = [(readout[None], None), *reversed(layers)]
    for number, (weights, _) in enumerate(chain):
        entered = inputs[-1 - number]
        tangent += signal @ signal.T * (weight**2 * entered @ entered.T / entered.shape[1] + bias**2)
        if number < kernel.depth:
            signal = signal @ weights * (weight / math.sqrt(weights.shape[1])) * gates[-1 - number]
    return outputs, tangent


def test_depth_one_is_the_kernel_of_neurips24() -> None:
    x, z = normal(4, D, seed=0), normal(3, D, seed=1)
    deep = DeepKernel(1, 0.3, 1.0, 1.0, trained_readout=False, standard_first_layer=True)
    assert torch.allclose(deep(x, z), GateKernel(0.3, trained_bias=True)(x, z), rtol=1e-13)
    assert torch.allclose(deep.initial_gradient_square(x), GateKernel(0.3).initial_gradient_square(x))
    variance = (1 + 0.3**2) / 2 * (x.square().sum(dim=1) / D + 1)
    assert torch.allclose(deep.initial_covariance(x).diagonal(), variance)


@pytest.mark.parametrize("depth", [1, 4])
def test_gradients_are_differences_and_finite_everywhere(depth: int) -> None:
    kernel = DeepKernel(depth, 0.1, sigma_b=0.2)
    x = points()
    weights = normal(len(x), seed=3)
    gradient = kernel.gradient_sum(x, x, weights)
    assert bool(gradient.isfinite().all())
    assert bool(kernel.directional_sum(x, x, weights[:, None] * x).isfinite().all())
    # Away from the kink of parallel inputs, central differences: error step^2 = 1e-10 times a third derivative.
    away, step = normal(4, D, seed=4), 1e-5
    for axis in torch.eye(D, dtype=torch.float64):
        slope = (kernel(away + step * axis, x) - kernel(away - step * axis, x)) @ weights / (2 * step)
        assert torch.allclose(kernel.gradient_sum(away, x, weights) @ axis, slope, rtol=1e-6, atol=1e-6)
    # Where z = x the gradient is half of that of Theta(x, x): the kinks of both arguments cancel.
    at_itself = torch.stack([kernel.gradient_sum(row[None], row[None], weights[:1] * 0 + 1)[0] for row in away])
    for axis in torch.eye(D, dtype=torch.float64):
        slope = (kernel.diagonal(away + step * axis) - kernel.diagonal(away - step * axis)) / (2 * step)
        assert torch.allclose(at_itself @ axis, slope / 2, rtol=1e-6, atol=1e-8)


def test_zero_inputs_without_biases() -> None:
    x = torch.cat((torch.zeros(1, D, dtype=torch.float64), normal(2, D, seed=0)))
    kernel = DeepKernel(2, 0.1)
    assert torch.equal(kernel(x)[0], torch.zeros(3, dtype=torch.float64))
    assert bool(kernel.gradient_sum(x, x, normal(3, seed=1)).isfinite().all())


def test_float32_inputs_lose_no_more_than_their_rounding() -> None:
    x = points().float()
    kernel = DeepKernel(3, 0.0, sigma_b=0.1)
    assert kernel(x).dtype == torch.float32
    assert torch.allclose(kernel(x).double(), kernel(x.double()), rtol=1e-6)


def test_few_coordinates_with_the_same_inner_products() -> None:
    x = normal(3, D, seed=0)
    wide = torch.cat((x, torch.zeros(3, 4, dtype=torch.float64)), dim=1)
    kernel = DeepKernel(2, 0.1, sigma_b=0.3)
    assert torch.allclose(kernel.reduced(D + 4)(x), kernel(wide), rtol=1e-13)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"depth": 0}, "depth = 0, but a network has hidden layers; give at least 1"),
        ({"depth": 1, "slope": 1.0}, r"slope = 1\.0, but the negative slope must be"),
        ({"depth": 1, "sigma_w": 0.0}, r"sigma_w = 0\.0, but weights have a size"),
        ({"depth": 1, "sigma_b": -1.0}, r"sigma_b = -1\.0, but a size is expected"),
    ],
)
def test_bad_input(keys: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DeepKernel(**keys)  # pyright: ignore[reportArgumentType]
