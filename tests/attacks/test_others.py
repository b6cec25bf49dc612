"""Searches that leave other networks at the true labels: what they minimise, and what they count as success."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from perturblearn.attacks import L2, PGD, AttackContext, Iterate, Others, ProjectedDescent, RadialPGD
from perturblearn.classifiers import is_target
from perturblearn.errors import ModelError

N, DIM, CLASSES = 7, 5, 3
SEARCHES = [PGD, RadialPGD]


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


INPUTS = torch.rand(N, DIM, generator=draw(), dtype=torch.float64)
LABELS = torch.arange(N) % CLASSES
TARGETS = (LABELS + 1) % CLASSES


def linear(seed: int, n_outputs: int = CLASSES) -> nn.Linear:
    network = nn.Linear(DIM, n_outputs).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network


class Private(nn.Module):
    """Two classes by two coordinates; the second is this network's own."""

    def __init__(self, own: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, own]))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight


@pytest.mark.parametrize("kind", SEARCHES)
def test_the_losses_are_those_of_f_at_the_target_and_of_the_others_at_the_truth(kind: type[ProjectedDescent]) -> None:
    f, first, second = linear(0), linear(1), linear(2)
    seen: list[Iterate] = []
    context = AttackContext(others=Others((first, second), LABELS), callback=seen.append, block=4)
    found = kind(L2(), 0.8, steps=6).search(f, INPUTS, TARGETS, context)
    for iterate in seen:
        truth, target = LABELS[iterate.rows], TARGETS[iterate.rows]
        by_hand = cross_entropy(f(iterate.inputs), target, reduction="none") + 0.5 * sum(
            cross_entropy(other(iterate.inputs), truth, reduction="none") for other in (first, second)
        )
        # Sums of a dozen float64.
        torch.testing.assert_close(iterate.losses, by_hand.detach(), rtol=1e-12, atol=0)
    # Of each sample's iterates the best is kept, and it is f alone that succeeds.
    for row in range(N):
        losses = [float(one.losses[one.rows == row]) for one in seen if bool((one.rows == row).any())]
        assert float(found.losses[row]) == min(losses) < losses[0]
    torch.testing.assert_close(found.outputs, f(found.inputs).detach(), rtol=1e-12, atol=1e-14)
    assert torch.equal(found.success, is_target(f(found.inputs), TARGETS))


@pytest.mark.parametrize("kind", SEARCHES)
def test_without_labels_the_losses_are_odds_of_the_target_in_the_others_minus_those_in_f(
    kind: type[ProjectedDescent],
) -> None:
    f, first, second = linear(0), linear(1), linear(2)
    seen: list[Iterate] = []
    context = AttackContext(others=Others((first, second)), callback=seen.append, block=4)
    found = kind(L2(), 0.8, steps=6).search(f, INPUTS, TARGETS, context)

    def log_odds(network: nn.Module, iterate: Iterate) -> Tensor:
        share = network(iterate.inputs).softmax(dim=1).gather(1, TARGETS[iterate.rows, None])[:, 0]
        return (share / (1 - share)).log()

    for iterate in seen:
        by_hand = (log_odds(first, iterate) + log_odds(second, iterate)) / 2 - log_odds(f, iterate)
        # 1 - share loses digits where the target is likely.
        torch.testing.assert_close(iterate.losses, by_hand.detach(), rtol=1e-9, atol=1e-12)
    assert torch.equal(found.success, is_target(f(found.inputs), TARGETS))


class Shared(nn.Module):
    """Three classes by the first three coordinates, in which a network may be far from doubt; a fourth is its own."""

    def __init__(self, own: float) -> None:
        super().__init__()
        weights = torch.zeros(3, 4)
        weights[:, :3] = 10 * torch.eye(3)
        weights[:, 3] = torch.tensor([own, -own, 0.0])
        self.weight = nn.Parameter(weights)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight.T


def test_features_that_all_networks_share_are_left_alone_by_odds_and_used_by_labels() -> None:
    """Cross-entropies of others far from doubt hardly grow; their odds of the target do."""
    f, others = Shared(-5.0), (Shared(0.0), Shared(0.0))
    inputs, labels, targets = torch.tensor([[2.0, 0.0, 0.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
    attack = PGD(L2(), 1.5, steps=20)
    by_labels, by_odds = (
        attack.search(f, inputs, targets, AttackContext(others=Others(others, kept))).inputs - inputs
        for kept in (labels, None)
    )
    assert float(by_labels[0, 1]) > 0.5
    assert float(by_odds[:, :2].abs().max()) < 0.02
    assert float(by_odds[0, 3]) > 1.4


def test_the_step_goes_along_the_gradient_of_the_sum() -> None:
    f, other = linear(0), linear(1)
    seen: list[Iterate] = []
    context = AttackContext(others=Others((other,), LABELS), callback=seen.append)
    PGD(L2(), 0.5, steps=1, step=0.5).search(f, INPUTS, TARGETS, context)
    inputs = INPUTS.clone().requires_grad_()
    loss = cross_entropy(f(inputs), TARGETS, reduction="sum") + cross_entropy(other(inputs), LABELS, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, inputs)
    by_hand = INPUTS - 0.25 * gradient / gradient.norm(dim=1, keepdim=True)
    torch.testing.assert_close(seen[-1].inputs, by_hand, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_f_is_fooled_by_what_is_its_own(bfloat16: bool) -> None:
    """Where f has a coordinate that the others have not, the search finds it, and leaves the shared one."""
    f, others = Private(1.0), (Private(0.0), Private(0.0))
    inputs, labels = torch.tensor([[0.5, 0.0], [-0.5, 0.0]]), torch.tensor([1, -1])
    attack = PGD(L2(), 1.0, steps=20, bfloat16=bfloat16)
    alone = attack.search(f, inputs, -labels, AttackContext())
    kept = attack.search(f, inputs, -labels, AttackContext(others=Others(others, labels)))
    assert bool(alone.success.all())
    assert bool(kept.success.all())
    assert not bool(is_target(others[0](alone.inputs), labels).any())
    assert bool(is_target(others[0](kept.inputs), labels).all())
    # Minus the margins sum to y (x_1 + x_2) - y x_1: only x_2 is left, up to bfloat16's rounding.
    moved = kept.inputs - inputs
    torch.testing.assert_close(moved[:, 0], torch.zeros(2), rtol=0, atol=0.02)
    torch.testing.assert_close(moved[:, 1], torch.tensor([-1.0, 1.0]), rtol=0.01, atol=0)


def test_of_two_classes_odds_and_labels_keep_the_same() -> None:
    f, others = linear(0, 1), (linear(1, 1), linear(2, 1))
    labels = torch.where(LABELS == 0, 1, -1)
    by_labels, by_odds = (
        PGD(L2(), 0.5, steps=8).search(f, INPUTS, -labels, AttackContext(others=Others(others, kept)))
        for kept in (labels, None)
    )
    assert torch.equal(by_labels.inputs, by_odds.inputs)


@pytest.mark.parametrize("patience", [None, 2])
def test_blocks_and_samples_that_leave_change_nothing_of_whose_labels_are_kept(patience: int | None) -> None:
    f, others = linear(0), Others((linear(1), linear(2)), LABELS)
    attack = PGD(L2(), 0.5, steps=8, patience=patience)
    whole = attack.search(f, INPUTS, TARGETS, AttackContext(others=others))
    parts = attack.search(f, INPUTS, TARGETS, AttackContext(others=others, block=2))
    torch.testing.assert_close(whole.inputs, parts.inputs, rtol=1e-12, atol=1e-14)


def test_others_are_left_as_they_were_found() -> None:
    other = nn.Sequential(nn.Dropout(0.5), linear(1)).train()
    PGD(L2(), 0.5, steps=2).search(linear(0), INPUTS, TARGETS, AttackContext(others=Others((other,), LABELS)))
    assert all(part.training for part in other.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in other.parameters())


def test_others_with_other_classes_are_refused() -> None:
    context = AttackContext(others=Others((linear(1, 2),), LABELS))
    with pytest.raises(ModelError, match="Linear has 2 outputs per input, so targets must lie between 0 and 1"):
        PGD(L2(), 0.5, steps=2).search(linear(0), INPUTS, TARGETS, context)
