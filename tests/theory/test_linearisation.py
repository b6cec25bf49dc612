from __future__ import annotations

import copy

import pytest
import torch
from tests.theory.reference import normal
from torch import Tensor, nn

from perturblearn.classifiers import MLP, TwoLayer, initialise
from perturblearn.config import TwoLayerConfig
from perturblearn.errors import DataError
from perturblearn.theory import empirical_kernel, gate_kernel, lazy_regime, linearised_outputs
from perturblearn.theory.parameter_gradients import GradientsOf
from perturblearn.training import Descent


def small(outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, outputs)).double()


def moved(module: nn.Module, size: float) -> nn.Module:
    other = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return other


def kernel_by_autograd(module: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def gradients(point: Tensor) -> list[Tensor]:
        outputs = module(point[None]).flatten()
        return [
            torch.cat([g.flatten() for g in torch.autograd.grad(value, wanted, retain_graph=True)]) for value in outputs
        ]

    left, right = [gradients(point) for point in x], [gradients(point) for point in z]
    return torch.stack(
        [torch.stack([sum((a @ b for a, b in zip(p, q, strict=True)), torch.zeros(())) for q in right]) for p in left]
    )


def test_the_kernel_of_any_module() -> None:
    module, x, z = small(), normal(6, 5, seed=0), normal(4, 5, seed=1)
    expected = kernel_by_autograd(module, x, z)
    assert torch.allclose(empirical_kernel(module, x, z), expected, atol=1e-12)
    assert torch.allclose(empirical_kernel(module, x), kernel_by_autograd(module, x, x), atol=1e-12)
    for workspace in (1, 5000):
        assert torch.allclose(empirical_kernel(module, x, z, workspace=workspace), expected, atol=1e-12)
        assert torch.allclose(
            empirical_kernel(module, x, workspace=workspace), kernel_by_autograd(module, x, x), atol=1e-12
        )


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


class Odd(nn.Module):
    """Linear layers that one product of factors does not describe, beside one that it does.

    Args:
        use: what is odd.
    """

    def __init__(self, use: str) -> None:
        super().__init__()
        self.use = use
        self.places = normal(3, 4, seed=9)
        self.first, self.second, self.last = nn.Linear(5, 4), nn.Linear(4, 4, bias=use != "twice"), nn.Linear(4, 2)
        if use == "reparametrised":
            nn.utils.parametrize.register_parametrization(self.second, "weight", Doubled())
        if use == "one weight of two layers":
            self.last = nn.Linear(4, 4)
            self.last.weight = self.second.weight
        if use == "frozen bias":
            self.second.bias.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu_(self.first(inputs))
        if self.use == "a sequence":
            return self.last(self.second(hidden[:, None] * self.places).sum(dim=1))
        if self.use == "not called":
            return self.last(nn.functional.linear(hidden, self.second.weight, self.second.bias))
        hidden = torch.tanh(self.second(hidden))
        if self.use == "twice":
            hidden = self.second(hidden)
        if self.use == "called and used":
            hidden = hidden @ self.second.weight
        return self.last(hidden)


@pytest.mark.parametrize(
    "use",
    ["nothing odd", "twice", "a sequence", "not called", "called and used", "reparametrised", "frozen bias",
     "one weight of two layers"],
)  # fmt: skip
def test_the_kernel_of_layers_used_in_odd_ways(use: str) -> None:
    torch.manual_seed(0)
    module = Odd(use).double()
    x, z = normal(6, 5, seed=0), normal(4, 5, seed=1)
    for others, workspace in ((z, 2**31), (x, 2**31), (z, 700)):
        found = empirical_kernel(module, x, None if others is x else others, workspace=workspace)
        assert torch.allclose(found, kernel_by_autograd(module, x, others), atol=1e-12)
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("sigmas", [None, (1.4, 0.3)], ids=["torch", "ntk"])
def test_the_kernel_of_wide_layers_takes_no_matrix_of_gradients(sigmas: tuple[float, float] | None) -> None:
    module = MLP(5, 1, hidden_dim=3000, depth=2, sigmas=sigmas).double()
    x = normal(40, 5, seed=0)
    # 9 million weights: the gradients at two inputs would take 144 MB, at forty 2.9 GB.
    gradients = GradientsOf(module, x[:1])
    assert gradients.bytes_per_input < 200_000
    found = empirical_kernel(module, x)
    assert torch.allclose(found[:1, :2], kernel_by_autograd(module, x[:1], x[:2]), rtol=1e-10)


def test_a_network_without_trained_parameters_has_no_kernel() -> None:
    module = small(1).requires_grad_(False)
    assert torch.equal(empirical_kernel(module, normal(3, 5, seed=0)), torch.zeros(3, 3, dtype=torch.float64))


def test_frozen_parameters_do_not_count() -> None:
    module, x = small(1), normal(3, 5, seed=0)
    whole = empirical_kernel(module, x)
    for parameter in module[0].parameters():
        parameter.requires_grad_(False)
    last = module[1](module[0](x))
    assert torch.allclose(empirical_kernel(module, x), last @ last.T + 1, atol=1e-12)
    assert not torch.allclose(empirical_kernel(module, x), whole)


def test_the_kernel_of_a_two_layer_network() -> None:
    x = normal(5, 8, seed=0)
    network = initialise(TwoLayerConfig(hidden_dim=30, slope=0.2), 8, seed=0, role="f").double()
    assert network.bias is not None
    gates = (0.2 + 0.8 * (x @ network.weight.T + network.bias > 0).double()) * network.readout
    assert torch.allclose(empirical_kernel(network, x), (gates @ gates.T) * (x @ x.T + 1), atol=1e-12)


def test_wide_networks_have_the_gate_kernel() -> None:
    x = normal(6, 4, seed=0)
    limit = gate_kernel(x, x, slope=0.1) * (x @ x.T + 1)
    errors = []
    for width in (100, 10_000):
        networks = [
            initialise(TwoLayerConfig(hidden_dim=width, slope=0.1), 4, seed=seed, role="f") for seed in range(8)
        ]
        kernels = [empirical_kernel(network.double(), x) for network in networks]
        errors.append(sum(float((kernel - limit).norm() / limit.norm()) for kernel in kernels) / 8)
    # 1/sqrt(m): a factor of 10, known to some 30 % from 8 networks each.
    assert 5 < errors[0] / errors[1] < 20
    assert errors[1] < 0.05


def test_a_network_that_is_linear_in_its_parameters_is_lazy() -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(5, 1).double(), normal(7, 5, seed=0)
    found = lazy_regime(module, moved(module, 3.0), x)
    assert found.kernel_drift == 0
    assert found.linearisation_distance < 1e-12
    assert found.n_inputs == 7


def test_the_linearisation_is_the_first_order_of_the_step() -> None:
    module, x = small(), normal(6, 5, seed=0)
    distances = []
    for size in (0.02, 0.01):
        other = moved(module, size)
        first, linear = linearised_outputs(module, other, x)
        assert torch.allclose(first, module(x))
        distances.append(float((other(x).detach() - linear).norm()))
    # What is left is of second order: a quarter at half the step, up to the third order's few percent.
    assert distances[0] / distances[1] == pytest.approx(4, rel=0.1)


def test_training_is_lazier_in_wider_networks() -> None:
    x = normal(30, 10, seed=0)
    y = torch.tensor([1, -1] * 15)
    found = []
    for width in (30, 300, 3000):
        start = initialise(TwoLayerConfig(hidden_dim=width), 10, seed=0, role="f").double()
        found.append(lazy_regime(start, Descent("identity", 0.01, 20).train(start, x, y).module, x))
    # Drift and distance fall as 1/sqrt(m): a factor of 10 from the first to the last.
    assert found[0].kernel_drift > 3 * found[2].kernel_drift > 0
    assert found[0].linearisation_distance > 3 * found[2].linearisation_distance > 0


def test_a_network_that_has_not_moved() -> None:
    module = small()
    found = lazy_regime(module, module, normal(3, 5, seed=0))
    assert (found.kernel_drift, found.linearisation_distance) == (0, 0)


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input() -> None:
    with pytest.raises(DataError, match="give the same network before and after training"):
        lazy_regime(small(2), small(3), normal(3, 5, seed=0))
    with pytest.raises(DataError, match="there are no inputs"):
        lazy_regime(small(), small(), normal(0, 5, seed=0))
    network = TwoLayer(torch.ones(2, 5), torch.ones(2), None, 0.1)
    with pytest.raises(DataError, match="differ in their parameters' names or shapes"):
        linearised_outputs(network, TwoLayer(torch.ones(3, 5), torch.ones(3), None, 0.1), torch.ones(1, 5))
