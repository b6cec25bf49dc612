"""The trainer against PyTorch's optimiser, plateau rule and autograd in float64, and what holds for any trainer."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from tests.training.reference import relative, train_plainly
from torch import Tensor

from perturblearn.classifiers import TwoLayer, from_state, initialise
from perturblearn.config import ModelConfig
from perturblearn.errors import DivergenceError
from perturblearn.training import Descent, full_batch, train, train_side_by_side

LOSS_NAMES = ["identity", "logistic", "exponential"]
KINDS = ["two_layer", "one_hidden"]


def network(
    dim: int,
    *,
    width: int = 8,
    name: str = "two_layer",
    slope: float = 0.0,
    role: str = "f",
    dtype: Any = torch.float64,
) -> TwoLayer:
    config = ModelConfig.model_validate({"name": name, "hidden_dim": width, "slope": slope})
    return initialise(config, dim, seed=0, role=role).to(dtype)


def problem(n_samples: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Gauss inputs in float64 with labels that lean on the first coordinate."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n_samples, dim, generator=generator, dtype=torch.float64)
    noise = torch.randn(n_samples, generator=generator, dtype=torch.float64)
    return inputs, torch.where(inputs[:, 0] + noise > 0, 1, -1)


def assert_as_plain(start: TwoLayer, inputs: Tensor, labels: Tensor, descent: Descent) -> float:
    """Weights, biases, losses and rate agree; returns the rate that was left.

    An epoch adds some dozens of roundings of 1e-16, and 50 of them with momentum sum to below 1e-12 of the weights'
    change, unless the descent itself drives neighbours apart; 1e-9 leaves it a factor of 1000 for that. A wrong gate,
    sign, rate or velocity shows in the first digits.
    """
    trained = train(start, inputs, labels, descent)
    expected, losses, lr = train_plainly(start, inputs, labels, descent)
    assert relative(trained.module.weight - start.weight, expected.weight - start.weight) < 1e-9
    if start.bias is not None and expected.bias is not None and trained.module.bias is not None:
        assert relative(trained.module.bias - start.bias, expected.bias - start.bias) < 1e-9
    assert torch.equal(trained.module.readout, start.readout)
    assert trained.losses.tolist() == pytest.approx(losses, rel=1e-9, abs=1e-12)
    assert trained.final_lr == lr
    return lr


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.5])
@pytest.mark.parametrize(("momentum", "plateau"), [(0.9, True), (0.0, True), (0.9, False)])
def test_against_pytorch(loss: str, name: str, slope: float, momentum: float, plateau: bool) -> None:
    inputs, labels = problem(20, 6)
    start = network(6, name=name, slope=slope)
    assert_as_plain(start, inputs, labels, Descent(loss, 0.05, 50, momentum, plateau))


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize(("n_samples", "dim"), [(1, 4), (3, 12), (12, 3), (5, 1), (1, 1)])
def test_shapes_of_the_problem(loss: str, n_samples: int, dim: int) -> None:
    inputs, labels = problem(n_samples, dim)
    assert_as_plain(network(dim, slope=0.1), inputs, labels, Descent(loss, 0.05, 50))


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_repeated_samples_and_zeros(loss: str) -> None:
    inputs, labels = problem(6, 4)
    # The same inputs with equal and with opposite labels, a sample of zeros, a coordinate that is always 0.
    inputs = torch.cat((inputs, inputs, inputs[:3], torch.zeros(1, 4, dtype=torch.float64)))
    inputs[:, 2] = 0
    labels = torch.cat((labels, labels, -labels[:3], torch.tensor([1])))
    assert_as_plain(network(4), inputs, labels, Descent(loss, 0.05, 50))


@pytest.mark.parametrize(
    ("loss", "lr", "epochs"),
    [
        ("logistic", 1e-6, 50),  # improves by less than 1e-4 an epoch: cut for want of progress
        ("exponential", 1e-6, 50),
        ("logistic", 2000.0, 60),  # overshoots
        ("logistic", 1e-8, 50),  # a cut that would be too small
    ],
)
def test_where_the_plateau_rule_cuts(loss: str, lr: float, epochs: int) -> None:
    inputs, labels = problem(40, 5)
    # Half the inputs with both labels, so that large outputs cost.
    inputs, labels = torch.cat((inputs, inputs[:20])), torch.cat((labels, -labels[:20]))
    left = assert_as_plain(network(5), inputs, labels, Descent(loss, lr, epochs))
    assert (left < lr) == (lr > 1e-8)
    assert train(network(5), inputs, labels, Descent(loss, lr, epochs, plateau=False)).final_lr == lr


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[full_batch.Preactivations]:
    """Every set of preactivations that is moved instead of computed anew, at any input dimension."""
    made: list[full_batch.Preactivations] = []

    class Counted(full_batch.Preactivations):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(full_batch, "Preactivations", Counted)
    monkeypatch.setattr(full_batch, "LEAST_INPUT_DIM", 1)
    return made


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("slope", [0.0, 0.5])
# Share of units with a flip per epoch: below 1/16; between that and 1/2; above 1/2 at first.
@pytest.mark.parametrize(("lr", "moves"), [(0.02, True), (0.3, False), (3.0, False)])
@pytest.mark.parametrize("own_inputs", [False, True])
def test_identity_loss_with_few_and_many_flips(
    moved: list[Any], name: str, slope: float, lr: float, moves: bool, own_inputs: bool
) -> None:
    count, width, n_samples, dim = 2, 40, 30, 12
    problems = [problem(n_samples, dim, seed) for seed in range(count)]
    starts = [network(dim, width=width, name=name, slope=slope, role=f"{index}") for index in range(count)]
    descent = Descent("identity", lr, 60)
    inputs = [inputs for inputs, _ in problems] if own_inputs else problems[0][0]
    labels = torch.stack([labels for _, labels in problems])
    trained = train_side_by_side(starts, inputs, labels, descent)
    assert len(moved) >= 1 if moves else True
    for index, classifier in enumerate(trained):
        own = problems[index if own_inputs else 0][0]
        expected, losses, _ = train_plainly(starts[index], own, labels[index], descent)
        # As in assert_as_plain.
        change = expected.weight - starts[index].weight
        assert relative(classifier.module.weight - starts[index].weight, change) < 1e-9
        assert classifier.losses.tolist() == pytest.approx(losses, rel=1e-9)


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("with_bias", [True, False])
def test_all_gates_flip_at_once(moved: list[Any], slope: float, with_bias: bool) -> None:
    """Preactivations that move are given up when most units flip, and taken up again afterwards."""
    inputs = torch.tensor([[1.0, 2.0], [1.0, 1.9]], dtype=torch.float64)
    weight = torch.full((8, 2), 0.5, dtype=torch.float64)
    bias = torch.zeros(8, dtype=torch.float64) if with_bias else None
    # Equal units with readout -1 and labels +1: all sink through 0 together, some epochs in.
    start = TwoLayer(weight, torch.full((8,), -1.0, dtype=torch.float64), bias, slope)
    assert_as_plain(start, inputs, torch.tensor([1, 1]), Descent("identity", 0.01, 30))
    assert len(moved) >= 2


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("own_inputs", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_side_by_side_is_solo(loss: str, own_inputs: bool, name: str) -> None:
    """Other networks do not matter: the same products in other blocks, so float64 rounding over 30 epochs."""
    problems = [problem(15, 6, seed) for seed in range(3)]
    starts = [network(6, name=name, slope=0.2, role=f"{index}") for index in range(3)]
    labels = torch.stack([labels for _, labels in problems])
    # The second network's labels make its rate fall, the others' do not follow.
    labels[1] = torch.where(torch.arange(15) % 2 == 0, 1, -1)
    inputs = [inputs for inputs, _ in problems] if own_inputs else problems[0][0]
    descent = Descent(loss, 0.03, 30)
    together = train_side_by_side(starts, inputs, labels, descent)
    for index, classifier in enumerate(together):
        alone = train(starts[index], problems[index if own_inputs else 0][0], labels[index], descent)
        assert relative(classifier.module.weight, alone.module.weight) < 1e-12
        assert classifier.losses.tolist() == pytest.approx(alone.losses.tolist(), rel=1e-12)
        assert classifier.final_lr == alone.final_lr


def test_each_network_has_its_own_plateau() -> None:
    inputs, labels = problem(20, 5)
    # Zeros and no bias: nothing to learn, so the rate is cut; the other problem is learned at an even pace.
    starts = [network(5, name="one_hidden", role="f"), network(5, name="one_hidden", role="g")]
    first, second = train_side_by_side(starts, [torch.zeros_like(inputs), inputs], labels, Descent("logistic", 0.1, 30))
    # 30 equal losses: the first is better than nothing, then the 11th and the 22nd bad one cut.
    assert first.final_lr == pytest.approx(0.1 / 100)
    assert second.final_lr == 0.1


def test_one_label_row_serves_all_and_images_are_flattened() -> None:
    inputs, labels = problem(10, 12)
    starts = [network(12, role="f"), network(12, role="g")]
    descent = Descent("logistic", 0.1, 10)
    flat = train_side_by_side(starts, inputs, labels, descent)
    images = inputs.view(10, 3, 2, 2)
    for other in (
        train_side_by_side(starts, images, labels.expand(2, 10), descent),
        train_side_by_side(starts, [images, images], labels, descent),
    ):
        for one, two in zip(flat, other, strict=True):
            # The same numbers in batched products.
            assert relative(two.module.weight, one.module.weight) < 1e-13


def test_networks_labels_and_inputs_are_left_alone() -> None:
    inputs, labels = problem(10, 5)
    start = network(5)
    before = from_state(start.state_dict(), start.slope)
    copies = inputs.clone(), labels.clone()
    trained = train(start, inputs, labels, Descent("identity", 0.1, 5))
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])
        moved = not torch.equal(tensor, trained.module.state_dict()[name])
        assert moved == (name != "readout")
    assert torch.equal(inputs, copies[0])
    assert torch.equal(labels, copies[1])


def test_what_a_trained_classifier_says_of_its_training() -> None:
    inputs, labels = problem(10, 5)
    trained = train(network(5), inputs, labels, Descent("exponential", 0.1, 7, 0.5, plateau=False))
    assert trained.training == {
        "loss": "exponential",
        "lr": 0.1,
        "epochs": 7,
        "momentum": 0.5,
        "plateau": False,
        "form": "plain",
    }
    assert trained.losses.shape == (7,)
    assert trained.losses.dtype == torch.float64


@pytest.mark.parametrize("epochs", [1, 2, 50, 99, 100, 101, 250, 1000])
def test_reports(epochs: int) -> None:
    heard: list[tuple[int, int, str]] = []
    inputs, labels = problem(4, 2)
    trained = train(
        network(2), inputs, labels, Descent("logistic", 0.1, epochs), report=lambda *words: heard.append(words)
    )
    done = [word[0] for word in heard]
    # A hundred words or so: every (epochs // 100)-th epoch, hence below 200 of them, and the first at once.
    assert done[0] == 1
    assert done == sorted(set(done))
    assert min(epochs, 100) <= len(done) < 200
    assert done[-1] <= epochs
    for epoch, total, note in heard:
        assert total == epochs
        assert note == f"loss {float(trained.losses[epoch - 1]):.4g}"


@pytest.mark.parametrize("kind", ["loss inf", "loss nan", "weight", "bias"])
def test_divergence(kind: str) -> None:
    """The error comes at the first epoch that is not finite and names it and its rate; one that ends before is fine."""
    inputs, labels = (tensor.to(torch.float32) for tensor in problem(8, 3))
    start = network(3, slope=0.1, dtype=torch.float32)
    if kind == "loss inf":
        # The same inputs with both labels: their margins are opposite, so one loss explodes.
        inputs, labels = torch.cat((inputs, inputs[:3])), torch.cat((labels, -labels[:3]))
    descent = {
        "loss inf": Descent("exponential", 1e3, 40),
        # Infinite in float32: inf - inf at the next output.
        "loss nan": Descent("identity", 1e39, 40),
        # One epoch: no later loss could tell.
        "weight": Descent("identity", 3.4e38, 1),
        "bias": Descent("identity", 3.4e38, 1),
    }[kind]
    if kind == "weight":
        inputs = inputs * 1e3
    if kind == "bias":
        # All gradient goes to the bias, which moves by at least 1e4 * 3.4e38.
        start.readout.fill_(1e4)
        start.bias = torch.nn.Parameter(torch.ones(8))
        inputs, labels = torch.zeros_like(inputs), torch.ones_like(labels)
    with pytest.raises(DivergenceError, match="choose a smaller learning rate") as error:
        train(start, inputs, labels, descent)
    found = re.match(r"training diverged at epoch (\d+) of (\d+) with learning rate (\S+) \((.*)\)", str(error.value))
    assert found is not None, str(error.value)
    epoch = int(found[1])
    assert int(found[2]) == descent.epochs
    assert float(found[3]) == descent.lr
    expected = {"loss inf": "the loss became inf", "loss nan": "the loss became nan"}
    assert found[4] == expected.get(kind, f"a {kind} is not finite")
    if kind == "loss inf":
        before = train(start, inputs, labels, Descent("exponential", 1e3, epoch - 1))
        # exp(-s) is infinite in float32 once a margin is below -log(3.4e38) = -88.7.
        assert float((labels * before.outputs(inputs)).min()) < -88.7


@pytest.mark.parametrize(
    ("inputs", "labels", "complaint"),
    [
        ((4, 3), (4,), r"inputs of shape \(4, 3\) do not fit 2 networks of dimension 2"),
        ((4, 2), (3,), r"labels of shape \(3,\) do not fit 2 networks and 4 samples"),
        ((4, 2), (3, 4), r"labels of shape \(3, 4\) do not fit 2 networks and 4 samples"),
        ((4, 2), (4, 2), r"labels of shape \(4, 2\) do not fit 2 networks and 4 samples"),
    ],
)
def test_shapes_that_do_not_fit(inputs: tuple[int, ...], labels: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        train_side_by_side(
            [network(2), network(2)],
            torch.zeros(inputs, dtype=torch.float64),
            torch.ones(labels),
            Descent("identity", 0.1, 1),
        )


def test_a_wrong_number_of_input_sets() -> None:
    with pytest.raises(ValueError, match=r"inputs of shape \(3, 4, 2\) do not fit 2 networks of dimension 2"):
        train_side_by_side(
            [network(2)] * 2, [torch.zeros(4, 2, dtype=torch.float64)] * 3, torch.ones(4), Descent("identity", 0.1, 1)
        )


@pytest.mark.parametrize(
    "other", [network(2, slope=0.5), network(2, width=4), network(3), network(2, name="one_hidden")]
)
def test_networks_that_are_not_alike(other: TwoLayer) -> None:
    inputs, labels = problem(4, 2)
    with pytest.raises(ValueError, match="networks must be alike in width, dimension, slope and bias"):
        train_side_by_side([network(2), other], inputs, labels, Descent("identity", 0.1, 1))
