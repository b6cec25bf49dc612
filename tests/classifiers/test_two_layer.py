"""Two-layer networks: the law of their initialisation, and f(x) as the papers write it."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from torch import Tensor

from perturblearn.classifiers import TwoLayer, initialise
from perturblearn.config import TrainedTwoLayerConfig

KINDS = ["two_layer", "one_hidden"]


def made(name: str = "two_layer", *, width: int = 6, dim: int = 5, seed: int = 0, role: str = "standard") -> TwoLayer:
    return initialise(
        TrainedTwoLayerConfig.model_validate({"name": name, "hidden_dim": width}), dim, seed=seed, role=role
    )


def assert_moments(sample: Tensor, variance: float, kurtosis: float) -> None:
    """Mean 0, this variance and E x^4 = kurtosis variance^2, within five standard errors of mean and variance.

    For n independent draws these are sqrt(variance / n) and variance sqrt((kurtosis - 1) / n). The chance of a false
    alarm is 6e-7 each, and the seed is fixed.
    """
    values = sample.double().flatten()
    number = len(values)
    assert abs(float(values.mean())) < 5 * math.sqrt(variance / number)
    assert abs(float(values.square().mean()) - variance) < 5 * variance * math.sqrt((kurtosis - 1) / number)


def test_two_layer_initialisation() -> None:
    width, dim = 20_000, 7
    network = made(width=width, dim=dim, seed=3)
    assert network.bias is not None
    # w ~ N(0, I/d), b ~ N(0, 1), a ~ N(0, 1/m); E x^4 / (E x^2)^2 = 3.
    for values, variance in ((network.weight, 1 / dim), (network.bias, 1.0), (network.readout, 1 / width)):
        assert_moments(values.detach(), variance, 3)
        # Share beyond two standard deviations: 0.0455 for a Gauss and 0 for uniform draws. 5 binomial errors.
        beyond = (values.detach().double().abs() > 2 * math.sqrt(variance)).double().mean()
        assert abs(float(beyond) - 0.0455) < 5 * math.sqrt(0.0455 / values.numel())
    # Coordinates, weights, biases and readouts are independent: correlations have standard error 1 / sqrt(m).
    columns = [*network.weight.detach().T, network.bias.detach(), network.readout]
    for first, second in combinations(columns, 2):
        assert abs(float(torch.corrcoef(torch.stack((first, second)))[0, 1])) < 5 / math.sqrt(width)


def test_one_hidden_initialisation() -> None:
    width, dim = 20_000, 7
    network = made("one_hidden", width=width, dim=dim, seed=3)
    assert network.bias is None
    weight = network.weight.detach()
    # U(-c, c) with c = 1/sqrt(d): variance c^2/3, E x^4 = c^4/5, so E x^4 / variance^2 = 9/5.
    bound = 1 / math.sqrt(dim)
    assert_moments(weight, bound**2 / 3, 9 / 5)
    # One rounding of the division; of n draws the largest misses c by about c/n, and by 20 c/n with chance e^-20.
    assert bound * (1 - 20 / weight.numel()) < float(weight.abs().max()) <= bound * (1 + 2**-23)
    assert torch.equal(
        network.readout, torch.tensor([1 / math.sqrt(width)] * 10_000 + [-1 / math.sqrt(width)] * 10_000)
    )


@pytest.mark.parametrize("name", KINDS)
def test_seed_and_role_fix_the_network(name: str) -> None:
    before = torch.random.get_rng_state()
    first, again = made(name), made(name)
    for one, other in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    for changed in (made(name, seed=1), made(name, role="perturbation")):
        state = changed.state_dict()
        for key, tensor in first.state_dict().items():
            fixed = name == "one_hidden" and key == "readout"
            assert torch.equal(tensor, state[key]) == fixed
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.usefixtures("double_by_default")
def test_the_default_dtype_does_not_move_the_draws(name: str) -> None:
    network = made(name)
    torch.set_default_dtype(torch.float32)
    for key, tensor in made(name).state_dict().items():
        assert network.state_dict()[key].dtype == torch.float32
        assert torch.equal(network.state_dict()[key], tensor)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("with_bias", [True, False])
def test_forward_is_the_formula(slope: float, with_bias: bool) -> None:
    """f(x) = sum_j a_j phi(w_j . x + b_j), phi(u) = max(u, slope u)."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weight, readout, bias, inputs = draw(4, 6), draw(4), draw(4), draw(5, 1, 2, 3)
    outputs = TwoLayer(weight, readout, bias if with_bias else None, slope)(inputs).detach()
    assert outputs.shape == (5,)
    for n in range(5):
        x = inputs[n].flatten().tolist()
        expected = 0.0
        for j in range(4):
            u = sum(float(weight[j, i]) * x[i] for i in range(6)) + (float(bias[j]) if with_bias else 0.0)
            expected += float(readout[j]) * max(u, slope * u)
        # About 30 products and sums of numbers below 10, each rounded to 2^-53 of itself.
        assert float(outputs[n]) == pytest.approx(expected, abs=30 * 10 * 2**-53)


def test_the_slope_applies_to_negative_preactivations_alone() -> None:
    network = TwoLayer(torch.tensor([[1.0], [-1.0]]), torch.tensor([1.0, 10.0]), torch.zeros(2), 0.25)
    # a phi(x) + 10 phi(-x): 4 - 10 * 4 * 0.25 at 4, -4 * 0.25 + 10 * 4 at -4, 0 at 0.
    assert network(torch.tensor([[4.0], [-4.0], [0.0]])).tolist() == [-6.0, 39.0, 0.0]
    assert (network.hidden_dim, network.input_dim) == (2, 1)
    assert "slope=0.25, with bias" in repr(network)


def test_only_weight_and_bias_are_trained() -> None:
    assert {name for name, _ in made().named_parameters()} == {"weight", "bias"}
    assert {name for name, _ in made("one_hidden").named_parameters()} == {"weight"}
    assert "readout" in made().state_dict()


@pytest.mark.parametrize(
    ("weight", "readout", "bias"),
    [((2, 3), (3,), (2,)), ((2, 3), (2,), (3,)), ((2, 3), (2, 1), None), ((6,), (6,), None), ((2, 3, 4), (2,), None)],
)
def test_shapes_that_do_not_fit(
    weight: tuple[int, ...], readout: tuple[int, ...], bias: tuple[int, ...] | None
) -> None:
    with pytest.raises(
        ValueError, match=r"weight, readout and bias have shapes .* must be \(m, d\), \(m,\) and \(m,\)"
    ):
        TwoLayer(torch.zeros(weight), torch.zeros(readout), None if bias is None else torch.zeros(bias), 0.0)


@pytest.mark.parametrize("slope", [-0.01, 1.0, 2.0, math.nan, math.inf])
def test_slopes_outside_the_unit_interval(slope: float) -> None:
    with pytest.raises(ValueError, match=f"slope = {slope}, but the negative slope must be at least 0 and below 1"):
        TwoLayer(torch.zeros(2, 3), torch.zeros(2), None, slope)


@pytest.mark.parametrize("name", KINDS)
def test_the_gradients_are_those_of_autograd(name: str) -> None:
    network = made(name, width=8).double()
    inputs = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    units, rows = network.gradient_factors(inputs)
    parameters = list(network.parameters())
    for signal, row, sample in zip(units, rows, inputs, strict=True):
        gradients = torch.autograd.grad(network(sample[None])[0], parameters)
        of_all = torch.cat([gradient.reshape(len(signal), -1) for gradient in gradients], dim=1)
        assert torch.allclose(signal[:, None] * row, of_all, rtol=1e-12, atol=1e-14)
