"""What every kernel answers, by several routes; a new kernel joins `KERNELS` and inherits all of it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from tests.theory.reference import normal
from torch import Tensor, nn

from perturblearn import theory
from perturblearn.classifiers import initialise
from perturblearn.config import TwoLayerConfig
from perturblearn.errors import ConfigError
from perturblearn.theory import DeepKernel, EmpiricalKernel, GateKernel, Kernel
from perturblearn.theory.decision_map import coordinates

N, D, M = 7, 5, 9
C, Z = normal(N, D, seed=0), normal(M, D, seed=1)
WEIGHTS, VECTORS = normal(N, seed=2), normal(N, D, seed=3)
Y = torch.tensor([1, -1, 1, -1, 1, -1, 1])


@dataclass(frozen=True)
class PolynomialKernel(Kernel):
    """(<x, z> + 1)^2, as a user's kernel: values and nothing else."""

    def __call__(self, x: Tensor, z: Tensor | None = None, *, workspace: int | None = None) -> Tensor:
        return (x @ (x if z is None else z).T + 1).square()


@dataclass(frozen=True)
class HeldGates(Kernel):
    """A gate kernel whose derivatives are those of autograd, with gates that autograd does not see."""

    kernel: GateKernel

    def __call__(self, x: Tensor, z: Tensor | None = None, *, workspace: int | None = None) -> Tensor:
        others = x if z is None else z
        return self.kernel.gates(x, others).detach() * (x @ others.T + float(self.kernel.trained_bias))


@dataclass(frozen=True, eq=False)
class ByValues(Kernel):
    """The values of another kernel, all else by the defaults."""

    kernel: Kernel

    def __call__(self, x: Tensor, z: Tensor | None = None, *, workspace: int | None = None) -> Tensor:
        return self.kernel(x, z, workspace=workspace)


def network(outputs: int) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(D, 6), nn.Tanh(), nn.Linear(6, outputs)).double()
    return nn.Sequential(layers, nn.Flatten(0)) if outputs == 1 else layers


GATES = [GateKernel(0.2), GateKernel(0.2, trained_bias=True), GateKernel(0.0, bias=False)]
DEEP = [DeepKernel(3, 0.2, sigma_b=0.3), DeepKernel(1, 0.0, 1.0, 1.0, trained_readout=False, standard_first_layer=True)]
# Each kernel with one whose derivatives come from its values by autograd: of gates, with the gates held.
KERNELS: list[tuple[Kernel, Kernel]] = [
    *((kernel, HeldGates(kernel)) for kernel in GATES),
    *((EmpiricalKernel(network(outputs)), ByValues(EmpiricalKernel(network(outputs)))) for outputs in (1, 3)),
    (PolynomialKernel(), PolynomialKernel()),
    *((kernel, ByValues(kernel)) for kernel in DEEP),
    (2.0 * GATES[0] + DEEP[0], 2.0 * HeldGates(GATES[0]) + ByValues(DEEP[0])),
]
IDS = ["gates", "gates and bias", "gates without bias", "one output", "three outputs", "polynomial", "three layers",
       "standard first layer", "sum"]  # fmt: skip


@pytest.fixture(params=KERNELS, ids=IDS)
def pair(request: pytest.FixtureRequest) -> tuple[Kernel, Kernel]:
    return request.param


def near(found: Tensor, expected: Tensor) -> bool:
    # Sums of a dozen float64 terms of size 10 in another order.
    return torch.allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_values_are_symmetric_and_semidefinite(pair: tuple[Kernel, Kernel]) -> None:
    kernel, _ = pair
    assert near(kernel(C, Z), kernel(Z, C).T)
    # The angle of an input with itself carries an error of 1e-8, where the loop takes both from one matrix.
    assert torch.allclose(kernel(C), kernel(C, C), atol=1e-7)
    assert torch.allclose(kernel.diagonal(C), kernel(C).diagonal(), atol=1e-7)
    assert float(torch.linalg.eigvalsh(kernel(C))[0]) > -1e-7


@pytest.mark.parametrize("workspace", [None, 1])
def test_sums_are_those_of_the_values(pair: tuple[Kernel, Kernel], workspace: int | None) -> None:
    kernel, plain = pair
    assert near(kernel.weighted_sum(Z, C, WEIGHTS, workspace=workspace), kernel(Z, C) @ WEIGHTS)
    of_classes = kernel.weighted_sum(Z, C, VECTORS, workspace=workspace)
    assert near(of_classes, kernel(Z, C) @ VECTORS)
    gradient = kernel.gradient_sum(Z, C, WEIGHTS, workspace=workspace)
    assert near(gradient, Kernel.gradient_sum(plain, Z, C, WEIGHTS))
    directional = kernel.directional_sum(Z, C, VECTORS, workspace=workspace)
    assert near(directional, Kernel.directional_sum(plain, Z, C, VECTORS))
    expanded = kernel.expanded_sum(Z, C, WEIGHTS, C + VECTORS, workspace=workspace)
    assert near(expanded, Kernel.expanded_sum(plain, Z, C, WEIGHTS, C + VECTORS))


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7])
def test_gradients_are_differences(number: int) -> None:
    kernel, _ = KERNELS[number]
    step = 1e-5
    for axis in torch.eye(D, dtype=torch.float64):
        slope = (kernel(Z + step * axis, C) - kernel(Z - step * axis, C)) @ WEIGHTS / (2 * step)
        # Central differences: an error of the order of step^2 = 1e-10 times a third derivative.
        assert torch.allclose(kernel.gradient_sum(Z, C, WEIGHTS) @ axis, slope, atol=1e-7)
    moved = (kernel(Z, C + step * VECTORS) - kernel(Z, C - step * VECTORS)).sum(dim=1) / (2 * step)
    assert torch.allclose(kernel.directional_sum(Z, C, VECTORS), moved, atol=1e-7)


def test_wide_networks_have_the_gate_kernel_in_every_sum() -> None:
    limit = GateKernel(0.1, trained_bias=True)
    x, z = normal(6, 4, seed=0), normal(5, 4, seed=1)
    weights, vectors = normal(6, seed=2), normal(6, 4, seed=3)
    empirical = EmpiricalKernel(initialise(TwoLayerConfig(hidden_dim=100_000, slope=0.1), 4, seed=0, role="f").double())
    pairs = [
        (empirical.weighted_sum(z, x, weights), limit.weighted_sum(z, x, weights)),
        (empirical.gradient_sum(z, x, weights), limit.gradient_sum(z, x, weights)),
        (empirical.directional_sum(z, x, vectors), limit.directional_sum(z, x, vectors)),
        (empirical.diagonal(x), limit.diagonal(x)),
    ]
    # Means over m = 100,000 units: 1/sqrt(m) = 0.003, a few times that for sums whose terms cancel.
    for found, expected in pairs:
        assert float((found - expected).norm() / expected.norm()) < 0.03


def test_the_initial_gradient_of_a_wide_network() -> None:
    dim = 3000
    x = normal(4, dim, seed=0)
    network = initialise(TwoLayerConfig(hidden_dim=300, slope=0.3), dim, seed=0, role="f").double()
    found = EmpiricalKernel(network).initial_gradient_square(x)
    loop = torch.stack([torch.autograd.functional.jacobian(network, row[None]).square().sum() for row in x])
    assert torch.allclose(found, loop)
    # A sum over m = 300 units of a_j^2 phi'^2: relative error about 2/sqrt(m) = 0.12.
    assert torch.allclose(found, GateKernel(0.3).initial_gradient_square(x), rtol=0.4)


@pytest.mark.parametrize("kernel", [PolynomialKernel(), EmpiricalKernel(network(1))], ids=["polynomial", "network"])
def test_predictions_take_any_kernel(kernel: Kernel) -> None:
    fhat = theory.standard_prediction(C, Y, Z, kernel=kernel)
    t = theory.perturbation_direction(C, Y, kernel=kernel)
    # t is the gradient of fhat: a small step along it raises fhat by its squared length.
    step = 1e-6
    raised = theory.standard_prediction(C, Y, C + step * t, kernel=kernel)
    lowered = theory.standard_prediction(C, Y, C - step * t, kernel=kernel)
    assert torch.allclose((raised - lowered) / (2 * step), t.square().sum(dim=1), rtol=1e-5)
    # g from tiny perturbations is the change that they make, whatever the labels: sum y' Theta(u + eps y' t, z).
    targets = torch.tensor([1, 1, -1, -1, 1, 1, -1])
    unit = t / t.norm(dim=1, keepdim=True)
    perturbed = C + 1e-5 * targets[:, None] * unit
    change = (kernel(Z, perturbed) - kernel(Z, C)) @ targets.double() / N / 1e-5
    ghat = theory.predict_from_directions(C, unit, Z, kernel=kernel)
    assert torch.allclose(change, ghat, atol=1e-4 * float(ghat.abs().max()))
    full = theory.full_perturbation_prediction(perturbed, targets, t, Z, kernel=kernel, epsilon=1e-5, sources=C)
    assert torch.allclose(full, kernel(Z, perturbed) @ targets.double() / N, rtol=1e-6, atol=1e-9)
    # Nothing else is in the perturbation term, and the two terms are all that g learns.
    terms = theory.perturbation_terms(C, perturbed, targets.double() / N, Z, kernel=kernel)
    assert torch.allclose(terms.perturbation / 1e-5, change, atol=1e-4 * float(ghat.abs().max()))
    assert near(terms.source + terms.perturbation, kernel(Z, perturbed) @ targets.double() / N)
    lazy = theory.lazy_prediction(C, Y, Z, kernel=kernel, time=2.0, initial=fhat)
    assert torch.allclose(lazy, 3 * fhat)


def test_maps_take_kernels_that_are_not_of_inner_products() -> None:
    kernel = PolynomialKernel()
    plane = theory.mean_plane(C, Y)
    drawn = theory.predictions_on(plane, C, Y, C + VECTORS, kernel=kernel, limits=(-2.0, 2.0), points=5)
    z = plane.points(coordinates(drawn.grid))
    assert near(drawn.values["fhat"].flatten(), theory.standard_prediction(C, Y, z, kernel=kernel))
    assert near(drawn.values["ghat"].flatten(), theory.perturbation_prediction(C, Y, C + VECTORS, z, kernel=kernel))


def test_a_reduced_kernel_sees_the_same_moves() -> None:
    """Three coordinates are enough for any kernel of inner products and lengths, derivatives included."""

    class Rotated(PolynomialKernel):
        def reduced(self, input_dim: int) -> Kernel:
            return self

    plane = theory.mean_plane(C, Y)
    maps = [
        theory.predictions_on(plane, C, Y, C + VECTORS, kernel=kernel, limits=(-2.0, 2.0), points=5).values
        for kernel in (PolynomialKernel(), Rotated())
    ]
    for name in ("fhat", "ghat"):
        assert near(maps[0][name], maps[1][name])


def test_kernels_are_values() -> None:
    assert GateKernel(0.1) == GateKernel(0.1, bias=True)
    assert GateKernel(0.1) != GateKernel(0.1, trained_bias=True)
    assert len({GateKernel(0.1), GateKernel(0.1), GateKernel(0.2)}) == 2


def test_sums_and_multiples_of_kernels() -> None:
    first, second = GateKernel(0.1), DeepKernel(2, 0.3, sigma_b=0.5)
    total = (first + 0.5 * second) * 4
    assert near(total(C, Z), 4 * first(C, Z) + 2 * second(C, Z))
    assert near(total.initial_covariance(C), 4 * first.initial_covariance(C) + 2 * second.initial_covariance(C))
    squares = 4 * first.initial_gradient_square(C) + 2 * second.initial_gradient_square(C)
    assert near(total.initial_gradient_square(C), squares)
    assert total.reduced(9) == 4 * first.reduced(9) + 2.0 * second.reduced(9)
    assert (first + PolynomialKernel()).reduced(9) is None
    with pytest.raises(ConfigError, match="a kernel times -1 is no kernel; multiply by a number above 0"):
        _ = -1 * first


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match=r"slope = 1\.0, but the negative slope must be"):
        GateKernel(1.0)
    with pytest.raises(ConfigError, match="PolynomialKernel does not describe the network before training"):
        theory.expected_cosine(C, Y, kernel=PolynomialKernel(), time=1.0)
