"""Descent in mixed precision, emulated, against torch's own autocast and gradient scaling."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.training.problems import network, problem
from torch import Tensor
from torch.nn.functional import leaky_relu, linear, softplus

from perturblearn.classifiers import TwoLayer
from perturblearn.training import Descent, Job, train_in_float16
from perturblearn.training.float16 import LOSS_SCALE

N, DIM, WIDTH = 40, 6, 12


def trained(start: TwoLayer, inputs: Tensor, labels: Tensor, descent: Descent) -> tuple[TwoLayer, list[float]]:
    ((_, outcome),) = train_in_float16(
        [Job(start, labels, descent)], inputs, wanted=[0], report=lambda done, epochs, note: None
    )
    classifier = outcome.after(descent.epochs)
    assert isinstance(classifier.module, TwoLayer)
    return classifier.module, classifier.losses.tolist()


def by_autocast(start: TwoLayer, inputs: Tensor, labels: Tensor, descent: Descent) -> tuple[TwoLayer, list[float], int]:
    """The published way: a network under autocast, its loss scaled, steps with infinite gradients left out."""
    made, scale, losses, skipped = copy.deepcopy(start), LOSS_SCALE, [], 0
    optimizer = torch.optim.SGD(made.parameters(), lr=descent.lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    for _ in range(descent.epochs):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            hidden = leaky_relu(linear(inputs, made.weight, made.bias), made.slope)
            outputs = linear(hidden, made.readout[None])[:, 0]
        margins = labels * outputs.float()
        value = (-margins if descent.loss == "identity" else softplus(-margins)).mean()
        (scale * value).backward()
        gradients = [parameter.grad for parameter in made.parameters() if parameter.grad is not None]
        if all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            for gradient in gradients:
                gradient.div_(scale)
            optimizer.step()
        else:
            scale, skipped = scale / 2, skipped + 1
        scheduler.step(value.item())
        losses.append(value.item())
    return made, losses, skipped


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("loss", ["identity", "logistic"])
def test_it_follows_torch_s_mixed_precision(loss: str, slope: float) -> None:
    inputs, labels = (part.float() for part in problem(N, DIM))
    start = network(DIM, width=WIDTH, role="f", slope=slope).float()
    descent = Descent(loss, 0.1, 30)
    ours, losses = trained(start, inputs, labels, descent)
    theirs, expected, _ = by_autocast(start, inputs, labels, descent)
    exact = descent.train(start, inputs, labels).module
    moved = (exact.weight - start.weight).norm()
    # A sum in another order is rounded to another 16-bit number now and then: 2**-11 of it, in 30 epochs.
    assert (ours.weight - theirs.weight).norm() < 2e-3 * moved
    assert losses == pytest.approx(expected, rel=2e-3, abs=1e-3)
    # And what is emulated is no smaller than what the emulation leaves open.
    assert (ours.weight - theirs.weight).norm() < (exact.weight - theirs.weight).norm()


def test_steps_that_overflow_are_skipped_and_the_scale_is_halved() -> None:
    inputs, labels = (part.float() for part in problem(2, DIM))
    # With two samples the scaled signal is 2**15, times inputs of 40 beyond what 16 bits hold.
    inputs, start = 40 * inputs, network(DIM, width=WIDTH, role="f").float()
    descent = Descent("identity", 0.01, 12)
    ours, losses = trained(start, inputs, labels, descent)
    theirs, expected, skipped = by_autocast(start, inputs, labels, descent)
    assert skipped > 0
    assert losses[1] == losses[0]
    assert losses == pytest.approx(expected, rel=5e-3)
    assert (ours.weight - theirs.weight).norm() < 5e-3 * (ours.weight - start.weight).norm()


def test_checkpoints_are_trainings_that_end_there() -> None:
    inputs, labels = (part.float() for part in problem(N, DIM))
    start = network(DIM, width=WIDTH, role="f").float()
    job = Job(start, labels, Descent("identity", 0.1, 9), (4,))
    ((_, outcome),) = train_in_float16([job], inputs, wanted=[0], report=lambda done, epochs, note: None)
    for epochs in (4, 9):
        alone, _ = trained(start, inputs, labels, Descent("identity", 0.1, epochs))
        module = outcome.after(epochs).module
        assert isinstance(module, TwoLayer)
        assert torch.equal(module.weight, alone.weight)
