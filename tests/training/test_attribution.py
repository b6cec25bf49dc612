"""What each part of a training has taught: complete, exact where nothing is perturbed, and the kernel's where lazy."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tests.training.minibatch_problems import convolutional, dense, samples, state_of, wrapped
from tests.training.problems import network as two_layer
from tests.training.problems import problem
from torch import Tensor, nn

from perturblearn.classifiers import Network, TwoLayer, initialise
from perturblearn.config import TwoLayerConfig
from perturblearn.errors import DataError
from perturblearn.theory import EmpiricalKernel, perturbation_terms
from perturblearn.training import LOSSES, Descent, MinibatchDescent, PathAttribution, Plateau, attribute_training
from perturblearn.training.chords import split_change


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


@pytest.mark.parametrize(
    ("name", "slope", "loss", "plateau", "merged"),
    [
        ("two_layer", 0.0, "logistic", True, 1),
        ("two_layer", 0.1, "logistic", False, 7),
        ("one_hidden", 0.1, "exponential", True, 1),
        ("one_hidden", 0.0, "identity", False, 1),
    ],
)
def test_full_batch_training(name: str, slope: float, loss: str, plateau: bool, merged: int) -> None:
    """The closed form beside autograd's gradients and outputs split along chords, as for any network."""
    inputs, labels = problem(20, 6)
    start, heldout = two_layer(6, name=name, slope=slope), problem(15, 6, seed=4)[0]
    descent = Descent(loss, 0.2, 60, plateau=plateau)
    found = attribute_training(descent, start, inputs, moved(inputs), labels, heldout, seed=0, merged=merged)
    trained = descent.train(start, inputs, labels)
    assert torch.allclose(found.final, trained.outputs(heldout).double(), rtol=1e-9)
    assert torch.allclose(found.network(inputs), trained.outputs(inputs), rtol=1e-9)
    assert found.error < 1e-12
    expected = attribute_plainly(descent, start, inputs, moved(inputs), labels, heldout, merged)
    assert found.parts.keys() == expected.keys()
    for part, values in expected.items():
        # Differences of outputs over a twentieth of a chord: roundings times the number of steps.
        assert torch.allclose(found.parts[part], values, rtol=1e-9, atol=1e-9 * float(values.norm())), part


def attribute_plainly(
    descent: Descent, start: TwoLayer, inputs: Tensor, sources: Tensor, labels: Tensor, heldout: Tensor, merged: int
) -> dict[str, Tensor]:
    """The parts of a full-batch training by autograd, step by step, and along chords as for any network."""
    network, plateau = copy.deepcopy(start), Plateau(descent.lr)
    parameters = dict(network.named_parameters())
    velocities = {part: {name: torch.zeros_like(p) for name, p in parameters.items()} for part in ("source", "whole")}
    at = {name: p.detach().clone() for name, p in parameters.items()}
    parts = {part: torch.zeros(len(heldout), dtype=torch.float64) for part in ("source", "perturbation")}
    moves = {part: {name: torch.zeros_like(p) for name, p in at.items()} for part in parts}
    for epoch in range(1, descent.epochs + 1):
        mean = LOSSES[descent.loss](labels * (outputs := network(inputs))).mean()
        (weights,) = torch.autograd.grad(mean, outputs, retain_graph=True)
        rate = plateau.lr
        if descent.plateau:
            plateau.update(mean.item())
        passes = {"source": network(sources), "whole": outputs}
        for part, of_part in velocities.items():
            gradients = torch.autograd.grad((passes[part] * weights).sum(), list(parameters.values()))
            for name, gradient in zip(parameters, gradients, strict=True):
                of_part[name] = descent.momentum * of_part[name] + gradient
        for name, parameter in parameters.items():
            source, whole = velocities["source"][name], velocities["whole"][name]
            moves["source"][name] -= rate * source
            moves["perturbation"][name] -= rate * (whole - source)
            parameter.data -= rate * whole
        if epoch % merged == 0 or epoch == descent.epochs:
            end = {name: p.detach().clone() for name, p in parameters.items()}
            _, _, changes = split_change(
                network, heldout, at, end, moves, straighten=True, block=100, suffices=lambda rows, after, missed: True
            )
            parts = {part: parts[part] + change for part, change in changes.items()}
            at, moves = end, {part: {name: torch.zeros_like(p) for name, p in end.items()} for part in moves}
    return parts


def test_nothing_perturbed_full_batch() -> None:
    inputs, labels = problem(20, 6)
    inputs = inputs.float()
    found = attribute_training(
        Descent("logistic", 0.2, 30), two_layer(6, dtype=torch.float32), inputs, inputs.clone(), labels, inputs, seed=0
    )
    assert not bool(found.parts["perturbation"].any())
    assert bool(found.parts["source"].any())


def test_a_full_batch_descent_of_a_deep_network() -> None:
    inputs, labels = samples(8, (6,), 2)
    with pytest.raises(ValueError, match="trains two-layer networks on all inputs at once, but this network is a Net"):
        attribute_training(Descent("logistic", 0.2, 1), dense(2), inputs, inputs, labels, inputs, seed=0)


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
