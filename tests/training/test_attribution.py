"""What each part of a training has taught: complete, exact where nothing is perturbed, and the kernel's where lazy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.training.minibatch_problems import convolutional, dense, samples, state_of, wrapped
from tests.training.problems import network as two_layer
from tests.training.problems import problem
from torch import Tensor, nn

from perturblearn.classifiers import Network, initialise
from perturblearn.config import TwoLayerConfig
from perturblearn.errors import DataError
from perturblearn.theory import EmpiricalKernel, perturbation_terms
from perturblearn.training import LOSSES, Descent, MinibatchDescent, PathAttribution, attribute_training


def moved(inputs: Tensor, size: float = 0.1) -> Tensor:
    return inputs + size * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(9), dtype=inputs.dtype)


CASES: dict[str, tuple[Network, tuple[int, ...], int, dict[str, Any]]] = {
    "batch statistics and dropout": (dense(3, dropout=0.2), (6,), 3, {"schedule": "one_cycle"}),
    "one output, no momentum": (dense(2), (6,), 2, {"momentum": 0.0, "weight_decay": 0.1}),
    "images, augmented": (convolutional(3), (1, 8, 8), 3, {"augmentation": ("crop", "flip"), "schedule": "cosine"}),
}


@pytest.mark.parametrize("case", CASES)
def test_parts_add_up_and_the_training_is_the_same(case: str) -> None:
    network, shape, n_classes, keys = CASES[case]
    inputs, labels = samples(40, shape, n_classes)
    heldout, _ = samples(20, shape, n_classes, seed=5)
    descent = MinibatchDescent("logistic", 0.02, 4, 8, **keys)
    trained = descent.train(network, inputs, labels, seed=3)

    def attribute(sources: Tensor, **options: Any) -> PathAttribution:
        return attribute_training(descent, network, inputs, sources, labels, heldout, seed=3, **options)

    found = attribute(moved(inputs))
    for name, tensor in state_of(trained.module).items():
        assert torch.equal(tensor, state_of(found.network)[name]), name
    assert torch.allclose(found.final, trained.outputs(heldout))
    assert found.error < 0.005  # the tolerance
    # Nothing is perturbed: both gradients are the same numbers, in the same order.
    same = attribute(inputs, merged=2)
    assert not bool(same.parts["perturbation"].any())
    assert bool(same.parts["source"].any())


@pytest.mark.parametrize("plateau", [True, False])
def test_full_batch_training(plateau: bool) -> None:
    inputs, labels = problem(20, 6)
    start, heldout = two_layer(6, slope=0.1), problem(15, 6, seed=4)[0]
    descent = Descent("logistic", 0.2, 60, plateau=plateau)
    found = attribute_training(descent, start, inputs, moved(inputs), labels, heldout, seed=0)
    expected = descent.train(start, inputs, labels).outputs(heldout).double()
    assert torch.allclose(found.final, expected, rtol=1e-9)
    assert found.error < 0.01
    assert set(found.parts) == {"source", "perturbation"}


def test_a_lazy_network_has_the_parts_of_its_kernel() -> None:
    inputs, labels = problem(20, 6)
    sources, heldout = moved(inputs, 0.5), problem(15, 6, seed=4)[0]
    start = initialise(TwoLayerConfig(hidden_dim=5000, slope=0.1), 6, seed=0, role="g").double()
    found = attribute_training(Descent("identity", 0.01, 10), start, inputs, sources, labels, heldout, seed=0)
    # The identity loss's multipliers are y' tau / N; parts are compared by their ratio, whatever tau.
    terms = perturbation_terms(sources, inputs, labels.double() / 20, heldout, kernel=EmpiricalKernel(start))
    for part, term in (("source", terms.source), ("perturbation", terms.perturbation)):
        both = torch.stack((found.parts[part], term))
        assert float(torch.corrcoef(both)[0, 1]) > 0.999
    times = [float(found.parts["source"].norm() / terms.source.norm()), float(
        found.parts["perturbation"].norm() / terms.perturbation.norm())]  # fmt: skip
    assert times[0] == pytest.approx(times[1], rel=0.02)


def test_the_source_part_is_not_what_sources_alone_teach() -> None:
    """Its weights are those of training on the perturbed inputs: written out for one step."""
    inputs, labels = problem(12, 6)
    sources, start = moved(inputs, 2.0), two_layer(6, slope=0.1)
    found = attribute_training(Descent("logistic", 1e-4, 1), start, inputs, sources, labels, inputs, seed=0)
    weights = -LOSSES["logistic"].derivative(labels * start(inputs)) * labels / 12
    gradients = torch.autograd.grad((weights.detach() * start(sources)).sum(), tuple(start.parameters()))
    step = two_layer(6, slope=0.1)
    with torch.no_grad():
        for parameter, gradient in zip(step.parameters(), gradients, strict=True):
            parameter += 1e-4 * gradient
        change = step(inputs) - start(inputs)
    assert torch.allclose(found.parts["source"], change, rtol=1e-3, atol=1e-9)


class Transformer(nn.Module):
    """Attention over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.linear = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.layers(images[:, 0]).mean(dim=1))


def test_a_transformer_of_the_user_s() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = wrapped(Transformer().double(), (1, 8, 8), 3)
    inputs, labels = samples(32, (1, 8, 8), 3)
    heldout, _ = samples(10, (1, 8, 8), 3, seed=4)
    descent = MinibatchDescent("logistic", 0.01, 3, 16)
    found = attribute_training(descent, network, inputs, moved(inputs), labels, heldout, seed=0)
    assert found.error < 0.01
    # Outside, attention is as fast as before: in evaluation without gradients its fused operation rounds otherwise.
    assert torch.backends.mha.get_fastpath_enabled()
    expected = descent.train(network, inputs, labels, seed=0).outputs(heldout)
    assert torch.allclose(found.final, expected)


class NoForwardDerivative(nn.Module):
    """A linear layer through a function of the user's that has a backward derivative alone."""

    class Plain(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, values: Tensor) -> Tensor:
            return values.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return gradients[0]

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 1).double()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.Plain.apply(self.linear(inputs))


def test_a_network_without_forward_derivatives() -> None:
    inputs, labels = samples(24, (6,), 2)
    descent = MinibatchDescent("logistic", 0.05, 3, 8)
    found = attribute_training(
        descent, wrapped(NoForwardDerivative(), (6,), 2), moved(inputs), inputs, labels, inputs, seed=0
    )
    # A linear network's outputs are linear in its weights: nothing is missed but roundings.
    assert found.error < 1e-9
    assert bool(found.parts["perturbation"].any())


@pytest.mark.usefixtures("unchecked_shapes")
def test_one_source_for_each_input() -> None:
    inputs, labels = samples(8, (6,), 2)
    with pytest.raises(DataError, match=r"sources have shape \(7, 6\) and the inputs \(8, 6\); give one source"):
        attribute_training(
            MinibatchDescent("logistic", 0.02, 1, 8), dense(2), inputs, inputs[1:], labels, inputs, seed=0
        )
