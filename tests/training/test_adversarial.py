"""Adversarial training against loops written out and closed forms, and on data with a feature that is not robust."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.minibatch_problems import (
    assert_close,
    assert_same_bits,
    convolutional,
    dense,
    samples,
    state_of,
    train_plainly,
    wrapped,
)
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from perturblearn.attacks import L2, PGD, InnerAttack, LInf, NoisyStep, Norm, RadialPGD
from perturblearn.attacks.ball import Ball, sizes_of
from perturblearn.classifiers import Classifier
from perturblearn.seeding import derive_seed
from perturblearn.store import ArtefactStore, Drafts
from perturblearn.training import Adversary, MinibatchDescent, Resumption, minibatch

KEY = "0" * 64
RANGE = (-0.25, 0.75)
"""Of `samples`."""
INNER: list[InnerAttack] = [
    NoisyStep(LInf(), 0.1),
    NoisyStep(L2(), 0.3, step=0.7, noise=0.5),
    PGD(LInf(), 0.1, steps=3, step=0.5, random_start=True),
    PGD(L2(), 0.3, steps=3, step=0.5, random_start=True),
    PGD(L2(), 0.3, steps=2, step=0.6),
    RadialPGD(L2(), 0.3, steps=2, step=0.6),
]


def moved_plainly(module: nn.Module, inputs: Tensor, labels: Tensor, attack: Any, seed: int) -> Tensor:
    """What an inner attack makes of a batch, by the definitions of N-FGSM and PGD."""
    norm, epsilon, noise = attack.norm, attack.epsilon, getattr(attack, "noise", 1.0)
    flat = inputs.flatten(1)
    start = flat
    if getattr(attack, "random_start", True):
        # The draws are those of the norm itself, which has tests of its own.
        ball = Ball(norm, flat, sizes_of(noise * epsilon, flat), RANGE)
        start = ball.random_points(torch.Generator().manual_seed(seed))
    module.eval()
    points = start.clone()
    for _ in range(getattr(attack, "steps", 1)):
        leaf = points.clone().requires_grad_()
        outputs = module(leaf.view_as(inputs))
        loss = (-labels * outputs).sum() if outputs.ndim == 1 else cross_entropy(outputs, labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        direction = gradient.sign() if norm.order == math.inf else gradient / gradient.norm(dim=1, keepdim=True)
        points = points + attack.step * epsilon * direction
        if not isinstance(attack, NoisyStep):
            change = points - flat
            if norm.order == math.inf:
                change = change.clamp(-epsilon, epsilon)
            else:
                change = change * (epsilon / change.norm(dim=1, keepdim=True)).clamp(max=1)
            points = flat + change
        points = points.clamp(*RANGE)
    module.train()
    return points.view_as(inputs)


def by_hand(
    network: Any,
    inputs: Tensor,
    labels: Tensor,
    descent: MinibatchDescent,
    seed: int,
    *,
    epsilons: list[float] | None = None,
) -> nn.Module:
    """Plain gradient descent on moved batches; epsilons are those of each step, by default the attack's."""
    assert descent.adversary is not None
    attack: Any = descent.adversary.attack
    module = copy.deepcopy(network).train()
    size = descent.batch_size
    for epoch in range(descent.epochs):
        generator = torch.Generator().manual_seed(derive_seed(seed, "shuffle", str(epoch)))
        order = torch.randperm(len(inputs), generator=generator)
        for step in range(len(inputs) // size):
            rows = order[step * size : (step + 1) * size]
            draws = derive_seed(seed, "adversary", str(epoch), str(step), "0")
            if epsilons is not None:
                attack = replace(attack, epsilon=epsilons[epoch * (len(inputs) // size) + step])
            moved = moved_plainly(module, inputs[rows], labels[rows], attack, draws)
            module.zero_grad()
            outputs = module(moved)
            margins = labels[rows] * outputs if outputs.ndim == 1 else None
            loss = cross_entropy(outputs, labels[rows]) if margins is None else (1 + (-margins).exp()).log().mean()
            loss.backward()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter -= descent.lr * parameter.grad
    return module.eval()


@pytest.mark.parametrize("attack", INNER, ids=str)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_against_a_loop_written_out(attack: InnerAttack, n_classes: int) -> None:
    inputs, labels = samples(16, (6,), n_classes)
    plain = MinibatchDescent("logistic", 0.1, 2, 8, 0.0, 0.0, "constant")
    descent = replace(plain, adversary=Adversary(attack, RANGE))
    found = descent.train(dense(n_classes), inputs, labels, seed=3)
    # Steps aim inside the ball by some roundings of float64, which signs and projections do not enlarge.
    assert_close(found.module, by_hand(dense(n_classes), inputs, labels, descent, 3))
    other = plain.train(dense(n_classes), inputs, labels, seed=3)
    assert not torch.equal(found.losses, other.losses)


def test_images_against_a_loop_written_out() -> None:
    inputs, labels = samples(16, (1, 8, 8), 3)
    attack = PGD(LInf(), 0.1, steps=2, step=0.7, random_start=True)
    descent = MinibatchDescent("logistic", 0.1, 2, 8, 0.0, 0.0, "constant", adversary=Adversary(attack, RANGE))
    found = descent.train(convolutional(), inputs, labels, seed=3)
    assert_close(found.module, by_hand(convolutional(), inputs, labels, descent, 3))


def test_an_adversary_of_size_0_changes_nothing() -> None:
    inputs, labels = samples(16, (6,), 3)
    network = dense(3, dropout=0.3)
    descent = MinibatchDescent("logistic", 0.1, 2, 8)
    expected, losses, _ = train_plainly(network, inputs, labels, descent, 0)
    for attack in (NoisyStep(LInf(), 0.0), PGD(L2(), 0.0, steps=2, random_start=True)):
        found = replace(descent, adversary=Adversary(attack)).train(network, inputs, labels, seed=0)
        assert_close(found.module, expected)
        assert found.losses.tolist() == pytest.approx(losses, rel=1e-12)


def test_epsilon_rises_in_the_first_epochs() -> None:
    inputs, labels = samples(16, (6,), 3)
    attack = PGD(LInf(), 0.4, steps=2, step=0.7)
    descent = MinibatchDescent("logistic", 0.1, 2, 8, 0.0, 0.0, "constant", adversary=Adversary(attack, RANGE, 2))
    found = descent.train(dense(3), inputs, labels, seed=3)
    expected = by_hand(dense(3), inputs, labels, descent, 3, epsilons=[0.0, 0.1, 0.2, 0.3])
    assert_close(found.module, expected)


def linear(weight: list[float]) -> nn.Module:
    layer = nn.Linear(len(weight), 1, bias=False).double()
    layer.weight.data = torch.tensor([weight], dtype=torch.float64)
    return layer


@pytest.mark.parametrize(("norm", "dual"), [(LInf(), 1.0), (L2(), 2.0)])
def test_the_inner_maximum_of_a_linear_network_is_reached(norm: Norm, dual: float) -> None:
    # y w x falls by epsilon times the dual norm of w, wherever one starts: FGSM and PGD of a step of epsilon are exact.
    weight = [2.0, -1.0, 0.5, 3.0]
    network = wrapped(linear(weight), (4,), 2)
    inputs, labels = samples(12, (4,), 2)
    network.mean.zero_()
    network.std.fill_(0.7)
    expected = labels * network(inputs) - 0.1 / 0.7 * torch.tensor(weight, dtype=torch.float64).norm(dual)
    for attack in (NoisyStep(norm, 0.1, noise=0.0), PGD(norm, 0.1, steps=1, step=1.0)):
        moved = Adversary(attack).move(network.requires_grad_(False), inputs, labels, torch.Generator())
        # A descent stays inside the ball by a few roundings.
        torch.testing.assert_close(labels * network(moved), expected, rtol=1e-12, atol=1e-12)


def robust_and_not(n_samples: int) -> tuple[Tensor, Tensor]:
    """One coordinate says the label by ±1 nine times in ten, the other by ±0.2 always."""
    generator = torch.Generator().manual_seed(0)
    labels = 1 - 2 * torch.randint(2, (n_samples,), generator=generator)
    is_right = torch.arange(n_samples) % 10 > 0
    robust = torch.where(is_right, labels, -labels).double()
    return torch.stack((robust, 0.2 * labels), dim=1), labels


@pytest.mark.parametrize(
    "attack", [NoisyStep(LInf(), 0.4, noise=0.0), PGD(LInf(), 0.4, steps=2, step=1.0)], ids=["fgsm", "pgd"]
)
def test_a_feature_that_is_not_robust_is_used_by_standard_training_alone(attack: InnerAttack) -> None:
    inputs, labels = robust_and_not(200)
    network = wrapped(linear([0.1, 0.1]), (2,), 2)
    network.mean.zero_()
    network.std.fill_(1.0)
    descent = MinibatchDescent("logistic", 0.5, 60, 200, 0.9, 0.0, "constant", nesterov=False)
    standard = descent.train(network, inputs, labels, seed=0)
    robust = replace(descent, adversary=Adversary(attack)).train(network, inputs, labels, seed=0)
    assert accuracy(standard, inputs, labels) == 1.0  # the robust coordinate alone is right for nine of ten
    of_standard, of_robust = (state_of(found.module)["body.weight"][0] for found in (standard, robust))
    assert float(of_standard[1] / of_standard[0]) > 5
    # An adversary of 0.4 turns the sign of 0.2 y, so every weight on it is a loss: it goes to 0, up to a step.
    assert abs(float(of_robust[1] / of_robust[0])) < 0.05
    assert accuracy(robust, inputs, labels) == 0.9


def accuracy(classifier: Classifier, inputs: Tensor, labels: Tensor) -> float:
    return float((classifier.outputs(inputs).sign() == labels).double().mean())


def test_statistics_and_modes_are_those_of_the_step_alone() -> None:
    # The inner attack goes through the network in evaluation mode: two batches, two updates of the running mean.
    inputs, labels = samples(16, (6,), 2)
    attack = PGD(LInf(), 0.0, steps=5)
    descent = MinibatchDescent("logistic", 0.1, 1, 8, adversary=Adversary(attack))
    found = descent.train(dense(2), inputs, labels, seed=0)
    assert int(state_of(found.module)["body.1.num_batches_tracked"]) == 2


@pytest.mark.parametrize("attack", INNER[:3], ids=str)
def test_an_interrupted_training_goes_on_to_the_same_bits(
    tmp_path: Path, attack: InnerAttack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minibatch, "REPORT_SECONDS", 0.0)
    inputs, labels = samples(17, (1, 8, 8), 3)
    network, drafts = convolutional(), Drafts(ArtefactStore(tmp_path), KEY)
    descent = MinibatchDescent("logistic", 0.1, 2, 4, augmentation=("crop", "flip"), ema_decay=0.7)
    descent = replace(descent, adversary=Adversary(attack, RANGE))
    undisturbed = descent.train(network, inputs, labels, seed=0)

    class Stopped(Exception):
        pass

    def stop_at(step: int) -> Callable[[int, int, str], None]:
        def report(done: int, total: int, note: str) -> None:
            if done == step:
                raise Stopped

        return report

    for step in (2, 3, 7):
        with pytest.raises(Stopped):
            descent.train(network, inputs, labels, seed=0, report=stop_at(step), resumption=Resumption(drafts, 0))
    assert_same_bits(descent.train(network, inputs, labels, seed=0, resumption=Resumption(drafts, 0)), undisturbed)
    state = drafts.read("state")
    # Another norm is another training, whose draft is not gone on from.
    other = replace(descent, adversary=Adversary(PGD(L2(), 0.1, steps=1)))
    found = other.train(network, inputs, labels, seed=0, resumption=Resumption(drafts))
    assert state is not None
    assert_same_bits(found, other.train(network, inputs, labels, seed=0))


def test_products_in_bfloat16_move_inputs_too() -> None:
    inputs, labels = samples(16, (6,), 3)
    attack = PGD(LInf(), 0.1, steps=2, step=0.7)
    descent = MinibatchDescent("logistic", 0.1, 2, 8, bfloat16=True, adversary=Adversary(attack, RANGE))
    network, inputs = dense(3).float(), inputs.float()
    found, plain = (each.train(network, inputs, labels, seed=0) for each in (descent, replace(descent, adversary=None)))
    # Away from the labels, so that the losses of the same batches are larger, by more than bfloat16 is wrong by.
    assert float(found.losses[0]) > 1.01 * float(plain.losses[0])


def test_inputs_outside_the_data_range_are_not_clipped_into_it() -> None:
    attack = NoisyStep(LInf(), 0.1)
    inside, outside = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.5]])
    assert Adversary.for_inputs(attack, inside, (0.0, 1.0)).value_range == (0.0, 1.0)
    assert Adversary.for_inputs(attack, outside, (0.0, 1.0)).value_range == (-math.inf, math.inf)
