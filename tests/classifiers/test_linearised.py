"""A network's linearisation: its formula, its gradients, its training, and its way to disk and back."""

from __future__ import annotations

import pytest
import torch
from tests.training.minibatch_problems import convolutional, dense, samples
from torch import nn
from torch.func import functional_call, jvp

from perturblearn.classifiers import Classifier, Network, linearised, make_network
from perturblearn.config import NetworkConfig
from perturblearn.data import Signature
from perturblearn.theory import EmpiricalKernel, lazy_regime
from perturblearn.training import MinibatchDescent, attribute_training


def fresh(name: str, *, shape: tuple[int, ...] = (6,), n_classes: int = 2) -> Network:
    config = NetworkConfig.model_validate({"name": name, "hidden_dim": 8} if name == "mlp" else {"name": name})
    return make_network(config, Signature(shape, n_classes, 0.25, (0.1,), (0.7,)), seed=0, role="g").double()


@pytest.mark.parametrize(("network", "shape"), [(dense(3, dropout=0.5), (6,)), (convolutional(3), (1, 8, 8))])
def test_against_the_formula(network: Network, shape: tuple[int, ...]) -> None:
    inputs, _ = samples(7, shape, 3)
    found, start = linearised(network).train(), network.channels_first().eval()
    assert torch.equal(found(inputs), start(inputs))
    steps = {name: 0.1 * torch.randn_like(value) for name, value in start.named_parameters()}
    with torch.no_grad():
        for own, step in zip((p for p in found.parameters() if p.requires_grad), steps.values(), strict=True):
            own += step
    values = {name: value.detach() for name, value in start.named_parameters()}
    outputs, change = jvp(lambda parameters: functional_call(start, parameters, (inputs,)), (values,), (steps,))[:2]
    assert torch.allclose(found(inputs), outputs + change)
    # Gradients in the step are those of the network at its start, wherever the step has led.
    weights = torch.randn(7, 3, dtype=torch.float64)
    moved = torch.autograd.grad((weights * found(inputs)).sum(), [p for p in found.parameters() if p.requires_grad])
    first = torch.autograd.grad((weights * start(inputs)).sum(), list(start.parameters()))
    assert all(torch.allclose(a, b) for a, b in zip(moved, first, strict=True))


def test_training_follows_the_kernel_of_the_start() -> None:
    network, (inputs, labels) = fresh("mlp"), samples(24, (6,), 2)
    heldout, _ = samples(9, (6,), 2, seed=4)
    # With the identity loss a step of rate lr adds lr/N sum_n y_n Theta(x_n, z), at any rate and any batch of all.
    descent = MinibatchDescent("identity", 0.5, 3, 24, momentum=0.0, weight_decay=0.0, schedule="constant")
    trained = descent.train(linearised(network), inputs, labels, seed=0)
    with torch.no_grad():
        learned = trained.module(heldout) - network(heldout)
    expected = EmpiricalKernel(network).weighted_sum(heldout, inputs, 3 * 0.5 * labels.double() / 24)
    assert torch.allclose(learned, expected, rtol=1e-9)
    regime = lazy_regime(linearised(network), trained.module, heldout)
    assert regime.kernel_drift < 1e-12
    assert regime.linearisation_distance < 1e-12
    # Nothing bends, so attribution misses nothing but roundings.
    sources = inputs + 0.3 * torch.randn_like(inputs)
    split = attribute_training(descent, linearised(network), inputs, sources, labels, heldout, seed=0)
    assert split.error < 1e-12


def test_its_kernel_is_that_of_the_network_it_was_taken_from() -> None:
    network, (inputs, _) = fresh("mlp"), samples(6, (6,), 2)
    lazy = linearised(network)
    steps = [parameter for parameter in lazy.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in steps:
            parameter += 0.3 * torch.randn_like(parameter)
    rows = [
        torch.cat([gradient.flatten() for gradient in torch.autograd.grad(output, steps)])
        for output in (lazy(one[None]).sum() for one in inputs)
    ]
    found, gradients = EmpiricalKernel(lazy)(inputs), torch.stack(rows)
    assert torch.allclose(found, gradients @ gradients.T, rtol=1e-12)
    assert torch.equal(found, EmpiricalKernel(network)(inputs))


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_to_disk_and_back(name: str) -> None:
    shape, n_classes = ((6,), 2) if name == "mlp" else ((1, 11, 11), 3)
    network, (inputs, labels) = fresh(name, shape=shape, n_classes=n_classes).float(), samples(12, shape, n_classes)
    descent = MinibatchDescent("logistic", 0.1, 1, 4)
    trained = descent.train(linearised(network), inputs.float(), labels, seed=0)
    again = Classifier.load(trained.dump())
    assert torch.equal(again.outputs(inputs.float()), trained.outputs(inputs.float()))
    assert again.hash == trained.hash != Classifier(network).hash
    start = again.outputs(inputs.float())
    assert isinstance(again.module, nn.Module)
    leaf = inputs.float().requires_grad_()
    (gradient,) = torch.autograd.grad(again.module(leaf).sum(), leaf)
    assert bool(gradient.isfinite().all())
    assert torch.equal(start, again.to(device="cpu").outputs(inputs.float()))
