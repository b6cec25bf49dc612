"""Tiny deep networks, their data, and training by minibatches with nothing but PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from tests.training.reference import LOSSES
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from perturblearn.classifiers import Classifier, ConvNet, Network, TwoLayer
from perturblearn.config import NetworkConfig
from perturblearn.data import Signature
from perturblearn.seeding import derive_seed
from perturblearn.training import MinibatchDescent


def wrapped(body: nn.Module, shape: tuple[int, ...], n_classes: int, *, name: str = "own.package:network") -> Network:
    """A network of this body, for data from which 0.25 was subtracted."""
    return Network(body, Signature(shape, n_classes, 0.25, (0.1,), (0.7,)), NetworkConfig(name=name))


def dense(n_classes: int, *, dropout: float = 0.0) -> Network:
    """A network of vectors with BatchNorm, in float64."""
    outputs = 1 if n_classes == 2 else n_classes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, outputs))
    return wrapped(body.double(), (6,), n_classes)


def convolutional(n_classes: int = 3, *, size: int = 8) -> Network:
    """One of our own networks of images, whose weights lie channels last, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = ConvNet((1, size, size), 1 if n_classes == 2 else n_classes, depth=1, width=0.05)
    return wrapped(body.double(), (1, size, size), n_classes, name="convnet")


def samples(n_samples: int, shape: tuple[int, ...], n_classes: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Uniform inputs in float64, with labels that lean on their mean."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(n_samples, *shape, generator=generator, dtype=torch.float64) - 0.25
    scores = inputs.flatten(1)[:, :4].mean(dim=1) + 0.1 * torch.rand(n_samples, generator=generator)
    classes = (scores.argsort().argsort() * n_classes) // n_samples
    return inputs, 1 - 2 * classes if n_classes == 2 else classes


def train_plainly(
    network: TwoLayer | Network, inputs: Tensor, labels: Tensor, descent: MinibatchDescent, seed: int
) -> tuple[nn.Module, list[float], float]:
    """The network after training, the mean loss of each epoch, and the last rate or what the plateau rule left."""
    module = copy.deepcopy(network).train()
    optimiser = SGD(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=descent.lr,
        momentum=descent.momentum,
        nesterov=descent.nesterov and descent.momentum > 0,
        weight_decay=descent.weight_decay,
        foreach=False,
    )
    size = min(descent.batch_size, len(inputs))
    per_epoch = len(inputs) // size
    steps = descent.epochs * per_epoch
    of_steps: Any = None
    if descent.schedule == "one_cycle":
        of_steps = OneCycleLR(optimiser, descent.lr, total_steps=steps, cycle_momentum=False)
    if descent.schedule == "cosine":
        of_steps = CosineAnnealingLR(optimiser, steps)
    if descent.schedule == "linear":
        corners = [0, descent.warmup_epochs * per_epoch, steps], [float(descent.warmup_epochs == 0), 1, 0]
        of_steps = LambdaLR(optimiser, lambda step: float(np.interp(step, *corners)))
    average = None
    if descent.ema_decay:
        average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(descent.ema_decay), use_buffers=True)
    of_epochs = ReduceLROnPlateau(optimiser) if descent.schedule == "plateau" else None
    means, rate = [], descent.lr
    for epoch in range(descent.epochs):
        order = torch.randperm(
            len(inputs), generator=torch.Generator().manual_seed(derive_seed(seed, "shuffle", str(epoch)))
        ).tolist()
        losses = []
        for step in range(per_epoch):
            rows = order[step * size : (step + 1) * size]
            with torch.random.fork_rng():
                torch.manual_seed(derive_seed(seed, "network", str(epoch), str(step), "0"))
                outputs = module(inputs[rows])
            if outputs.ndim == 2:
                loss = cross_entropy(outputs, labels[rows], label_smoothing=descent.label_smoothing)
            elif descent.label_smoothing:
                # The output is the difference of two logits; +1 is the first class.
                logits = torch.stack((outputs, torch.zeros_like(outputs)), dim=1)
                loss = cross_entropy(logits, (1 - labels[rows]) // 2, label_smoothing=descent.label_smoothing)
            else:
                loss = LOSSES[descent.loss](labels[rows] * outputs).mean()
            optimiser.zero_grad()
            loss.backward()
            losses.append(loss.item())
            rate = optimiser.param_groups[0]["lr"]
            optimiser.step()
            if average is not None:
                average.update_parameters(module)
            if of_steps is not None and epoch * per_epoch + step + 1 < steps:
                of_steps.step()
        means.append(sum(losses) / per_epoch)
        if of_epochs is not None:
            of_epochs.step(means[-1])
            rate = optimiser.param_groups[0]["lr"]
    if average is not None:
        for own, other in zip(average.module.buffers(), module.buffers(), strict=True):
            if not own.is_floating_point():
                own.copy_(other)
        module = average.module
    return module.eval(), means, rate


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in module.state_dict().items()}


def assert_same_bits(found: Classifier, expected: Classifier) -> None:
    """Weights, buffers, losses and final learning rate."""
    states = state_of(found.module), state_of(expected.module)
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    assert torch.equal(found.losses, expected.losses)
    assert found.final_lr == expected.final_lr


def assert_close(found: nn.Module, expected: nn.Module) -> None:
    """Parameters and buffers agree to 1e-9 of their length, and integers exactly.

    A step adds some hundred roundings of 1e-16 to what has length 1, and some dozen steps sum to below 1e-13 unless
    the descent itself drives neighbours apart, which 1e-9 leaves a factor of 10,000. A wrong rate, momentum, decay or
    batch shows in the first digits.
    """
    states = state_of(found), state_of(expected)
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        other = states[1][name]
        if tensor.is_floating_point():
            assert float((tensor - other).norm()) <= 1e-9 * float(other.norm()), name
        else:
            assert torch.equal(tensor, other), name
