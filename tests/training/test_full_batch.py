"""Every form of the trainer against PyTorch's optimiser, rule and autograd in float64, alone and side by side."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.training.problems import (
    KINDS,
    LOSS_NAMES,
    assert_as_plain,
    assert_close,
    assert_same,
    factors_of,
    network,
    problem,
    train_in,
    ways,
)
from tests.training.reference import train_plainly
from torch import Tensor

from perturblearn.classifiers import TwoLayer, from_state
from perturblearn.errors import ConfigError, DivergenceError
from perturblearn.training import FORMS, Descent, Form, Job, Outcome, form_words, full_batch, train_side_by_side


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("slope", "momentum", "plateau"), [(0.0, 0.9, True), (0.01, 0.0, True), (0.5, 0.9, False), (0.5, 0.0, True)]
)
def test_against_pytorch(loss: str, name: str, slope: float, momentum: float, plateau: bool) -> None:
    inputs, labels = problem(20, 6)
    start = network(6, name=name, slope=slope)
    assert_as_plain(start, inputs, labels, Descent(loss, 0.05, 25, momentum, plateau))


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("n_samples", "dim", "rank"), [(1, 4, None), (3, 12, None), (12, 3, None), (5, 1, None), (1, 1, None), (15, 10, 4)]
)
def test_shapes_of_the_problem(loss: str, name: str, n_samples: int, dim: int, rank: int | None) -> None:
    inputs, labels = problem(n_samples, dim, rank=rank)
    assert_as_plain(network(dim, name=name, slope=0.1), inputs, labels, Descent(loss, 0.05, 20))


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("name", KINDS)
def test_repeated_samples_and_zeros(loss: str, name: str) -> None:
    inputs, labels = problem(6, 4)
    # The same inputs with equal and with opposite labels, a sample of zeros, a coordinate that is always 0.
    inputs = torch.cat((inputs, inputs, inputs[:3], torch.zeros(1, 4, dtype=torch.float64)))
    inputs[:, 2] = 0
    labels = torch.cat((labels, labels, -labels[:3], torch.tensor([1])))
    assert_as_plain(network(4, name=name), inputs, labels, Descent(loss, 0.05, 25))


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("lr", [0.05, 2.0])
def test_inputs_that_are_all_zero(loss: str, name: str, lr: float) -> None:
    """What a bare perturbation of size 0 is: nothing but a bias learns, and at a large rate its gates flip."""
    inputs, labels = torch.zeros(15, 7, dtype=torch.float64), problem(15, 7)[1]
    assert int(labels.sum()) != 0
    # With 40 units the flips of one unit are few enough for sparse products, of rank 0 in the row space.
    start = network(7, width=40, name=name, slope=0.1)
    descent = Descent(loss, lr, 30)
    assert_as_plain(start, inputs, labels, descent)
    for form, incremental in ways(loss):
        (found,) = train_in(Job(start, labels, descent), inputs, form, incremental=incremental).values()
        assert torch.equal(found.module.weight, start.weight)
        if form == "row_space":
            assert found.training["form"] == "row space of rank 0"


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_factors_of_rank_zero(loss: str) -> None:
    labels = problem(15, 7)[1]
    start = network(7, width=40)
    factors = torch.zeros(15, 0, dtype=torch.float64), torch.zeros(0, 7, dtype=torch.float64)
    descent = Descent(loss, 2.0, 30)
    for form in ("low_rank", "gram"):
        found = descent.train(start, factors[0] @ factors[1], labels, factors=factors, form=form)
        assert_close(found.module, train_plainly(start, factors[0] @ factors[1], labels, descent)[0], start)
        assert found.training["form"] == f"{form_words(form)} of rank 0"


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("slope", [0.0, 0.5])
@pytest.mark.parametrize("momentum", [pytest.param(0.0, marks=pytest.mark.long), 0.9])
# No unit of most epochs is awake; some are; most are, and some epochs flip more than a sixteenth of all gates.
@pytest.mark.parametrize("lr", [0.003, 0.1, 3.0])
def test_identity_loss_with_few_and_many_flips(name: str, slope: float, momentum: float, lr: float) -> None:
    inputs, labels = problem(30, 12)
    assert_as_plain(
        network(12, width=40, name=name, slope=slope), inputs, labels, Descent("identity", lr, 50, momentum)
    )


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
    assert Descent(loss, lr, epochs, plateau=False).train(network(5), inputs, labels).final_lr == lr


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("name", KINDS)
def test_checkpoints_are_trainings_of_their_own(loss: str, name: str) -> None:
    inputs, labels = problem(15, 9, rank=6)
    start = network(9, name=name, slope=0.1)
    for form, incremental in ways(loss):
        # Unsorted, twice the same, and the last epoch, which is wanted anyway.
        job = Job(start, labels, Descent(loss, 0.05, 40), checkpoints=(17, 40, 3, 17, 1))
        found = train_in(job, inputs, form, incremental=incremental)
        assert list(found) == [1, 3, 17, 40]
        for epochs, classifier in found.items():
            assert classifier.training["epochs"] == len(classifier.losses) == epochs
            alone = Job(start, labels, Descent(loss, 0.05, epochs))
            assert_same(classifier, train_in(alone, inputs, form, incremental=incremental)[epochs])


@pytest.mark.parametrize("checkpoints", [(0,), (11,), (-1, 5), (5, 11)])
def test_checkpoints_out_of_range(checkpoints: tuple[int, ...]) -> None:
    inputs, labels = problem(4, 2)
    job = Job(network(2), labels, Descent("identity", 0.1, 10), checkpoints)
    with pytest.raises(ValueError, match=re.escape(f"checkpoints {checkpoints} must lie between 1 and 10 epochs")):
        list(train_side_by_side([job], inputs))


def different_jobs(labels: Tensor, dim: int) -> list[Job]:
    """Networks that differ in labels, rate, loss, slope, width, epochs, momentum, plateau, bias and checkpoints."""
    other = torch.where(torch.arange(len(labels)) % 3 == 0, 1, -1)

    def job(role: str, labels: Tensor, descent: Descent, *checkpoints: int, **options: Any) -> Job:
        return Job(network(dim, role=role, **options), labels, descent, checkpoints)

    return [
        job("0", labels, Descent("logistic", 0.1, 30), slope=0.2),
        job("1", other, Descent("identity", 0.05, 30), 7),
        job("2", other, Descent("exponential", 0.01, 30, 0.5), 30, 2, slope=0.1),
        job("3", labels, Descent("identity", 1.0, 30, 0.0, plateau=False), slope=0.3),
        job("4", -labels, Descent("logistic", 1e-6, 30), 12, 13),  # its rate is cut
        job("5", labels, Descent("exponential", 0.02, 20), name="one_hidden", width=6),
        job("6", other, Descent("identity", 0.3, 20), 19, name="one_hidden", width=6, slope=0.5),
        job("7", labels, Descent("identity", 0.05, 30), width=4),
        job("8", other, Descent("logistic", 0.3, 30, 0.0)),
        job("9", labels, Descent("logistic", 0.1, 25), width=3),
    ]


# So few units train together that a batch is one network, two, or all that are alike. Of the last two each form and way
# has one: all three take three times as long.
COMPANIES = [
    pytest.param(
        form,
        incremental,
        most_units,
        marks=() if most_units == (16 if (FORMS.index(form) + incremental) % 2 else 1024) else pytest.mark.long,
    )
    for form in FORMS
    for incremental in (True, False)
    for most_units in (1, 16, 1024)
]


@pytest.mark.parametrize(("form", "incremental", "most_units"), COMPANIES)
def test_side_by_side_is_solo(monkeypatch: pytest.MonkeyPatch, form: Form, incremental: bool, most_units: int) -> None:
    """Whatever else trains over the same inputs."""
    monkeypatch.setattr(full_batch, "MOST_UNITS", most_units)
    inputs, labels = problem(15, 9, rank=6)
    jobs = different_jobs(labels, 9)
    found = dict(train_side_by_side(jobs, inputs, factors=factors_of(inputs), form=form, incremental=incremental))
    assert sorted(found) == list(range(len(jobs)))
    for index, job in enumerate(jobs):
        ((_, alone),) = train_side_by_side(
            [job], inputs, factors=factors_of(inputs), form=form, incremental=incremental
        )
        assert list(found[index].classifiers) == list(alone.classifiers) == list(job.wanted)
        for epochs, classifier in found[index].classifiers.items():
            assert_same(classifier, alone.classifiers[epochs])
            assert classifier.training == dict(alone.classifiers[epochs].training) | {
                "form_chosen": classifier.training["form_chosen"]
            }


def test_side_by_side_is_plain() -> None:
    """Each network against autograd, so that no mistake is shared by a network and its neighbours."""
    inputs, labels = problem(15, 9, rank=6)
    jobs = different_jobs(labels, 9)
    rates = {}
    for index, outcome in train_side_by_side(jobs, inputs):
        job = jobs[index]
        expected, losses, rates[index] = train_plainly(job.network, inputs, job.labels, job.descent)
        found = outcome.after(job.descent.epochs)
        assert_close(found.module, expected, job.network)
        assert found.losses.tolist() == pytest.approx(losses, rel=1e-9, abs=1e-12)
        assert found.final_lr == rates[index]
    # One rate is cut among networks whose rates are not.
    assert [index for index, job in enumerate(jobs) if rates[index] != job.descent.lr] == [4]


def test_networks_that_are_wanted_again_end_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_batch, "MOST_UNITS", 16)
    inputs, labels = problem(15, 9)
    jobs = [*different_jobs(labels, 9), *different_jobs(-labels, 9)]
    everything = dict(train_side_by_side(jobs, inputs))
    for wanted in ([0], [4, 3], [6], [1, 7, 8], []):
        again = dict(train_side_by_side(jobs, inputs, wanted=wanted))
        assert sorted(again) == sorted(wanted)
        for index, outcome in again.items():
            for epochs, classifier in outcome.classifiers.items():
                before = everything[index].classifiers[epochs]
                assert classifier.hash == before.hash
                assert torch.equal(classifier.losses, before.losses)
                assert classifier.training == before.training


def test_results_come_as_soon_as_they_are_known() -> None:
    """Of networks that train together all at once, of those from flip to flip one by one."""
    inputs, labels = problem(10, 5)
    logistic, identity = (Descent(loss, 0.1, 10) for loss in ("logistic", "identity"))
    jobs = [Job(network(5), labels, descent) for descent in (identity, logistic, identity, logistic)]
    heard: list[int] = []
    results = train_side_by_side(jobs, inputs, report=lambda done, *_: heard.append(done))
    order, words = [], []
    for index, _ in results:
        order.append(index)
        words.append(len(heard))
    # Batches in the order of their first network.
    assert order == [0, 2, 1, 3]
    assert words[0] < words[1] < words[2] == words[3]
    assert heard == sorted(heard)
    assert heard[-1] == 10


def test_no_networks() -> None:
    assert list(train_side_by_side([], problem(4, 2)[0])) == []


def test_each_network_has_its_own_plateau() -> None:
    inputs, labels = torch.zeros(20, 5, dtype=torch.float64), problem(20, 5)[1]
    for loss in LOSS_NAMES:
        # Zeros: nothing to learn without a bias, so the rate is cut; with one the labels' mean is learned.
        jobs = [Job(network(5, name=name), labels, Descent(loss, 0.1, 30)) for name in ("one_hidden", "two_layer")]
        (_, first), (_, second) = train_side_by_side(jobs, inputs)
        # 30 equal losses: the first is better than nothing, then the 11th and the 22nd bad one cut.
        assert first.after(30).final_lr == pytest.approx(0.1 / 100)
        assert second.after(30).final_lr == 0.1


def test_images_are_flattened() -> None:
    inputs, labels = problem(10, 12)
    for loss in ("identity", "logistic"):
        flat = Descent(loss, 0.1, 10).train(network(12), inputs, labels)
        images = Descent(loss, 0.1, 10).train(network(12), inputs.view(10, 3, 2, 2), labels)
        assert torch.equal(flat.module.weight, images.module.weight)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", ["identity", "logistic"])
def test_networks_labels_and_inputs_are_left_alone(form: Form, loss: str) -> None:
    inputs, labels = problem(10, 5)
    start = network(5)
    before = from_state(start.state_dict(), start.slope)
    factors = factors_of(inputs)
    copies = [tensor.clone() for tensor in (inputs, labels, *factors)]
    trained = Descent(loss, 0.1, 5).train(start, inputs, labels, factors=factors, form=form)
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])
        moved = not torch.equal(tensor, trained.module.state_dict()[name])
        assert moved == (name != "readout")
    for tensor, copy in zip((inputs, labels, *factors), copies, strict=True):
        assert torch.equal(tensor, copy)


def test_what_a_trained_classifier_says_of_its_training() -> None:
    inputs, labels = problem(10, 5)
    trained = Descent("exponential", 0.1, 7, 0.5, plateau=False).train(network(5), inputs, labels, form="gram")
    assert trained.training == {
        "loss": "exponential",
        "lr": 0.1,
        "epochs": 7,
        "momentum": 0.5,
        "plateau": False,
        "form": "Gram",
        "form_chosen": "asked for",
        "products": "exact",
    }
    assert trained.losses.shape == (7,)
    assert trained.losses.dtype == torch.float64


@pytest.mark.parametrize(
    ("form", "said"),
    [("plain", "plain"), ("row_space", "row space of rank 3"), ("low_rank", "low rank of rank 5"), ("gram", "Gram")],
)
def test_what_forms_are_called(form: Form, said: str) -> None:
    inputs, labels = problem(10, 5, rank=3)
    found = train_in(Job(network(5), labels, Descent("logistic", 0.1, 2)), inputs, form)
    assert found[2].training["form"] == said


@pytest.mark.parametrize("loss", ["identity", "logistic"])
@pytest.mark.parametrize("epochs", [1, 2, 50, 99, 100, 101, 250, 1000])
def test_reports(loss: str, epochs: int) -> None:
    heard: list[tuple[int, int, str]] = []
    inputs, labels = problem(4, 2)
    trained = Descent(loss, 0.1, epochs).train(network(2), inputs, labels, report=lambda *words: heard.append(words))
    done = [word[0] for word in heard]
    assert done == sorted(set(done))
    assert len(done) < 200
    assert done[-1] <= epochs
    if loss == "logistic":
        # A hundred words or so: every (epochs // 100)-th epoch, and the first at once.
        assert done[0] == 1
        assert min(epochs, 100) <= len(done)
    else:
        # After each window, of at least 8 epochs.
        assert done[0] == min(epochs, 8)
    for epoch, total, note in heard:
        assert total == epochs
        assert note == f"loss {float(trained.losses[epoch - 1]):.4g}"


def test_reports_of_several_batches_go_on_from_each_other() -> None:
    heard: list[tuple[int, int]] = []
    inputs, labels = problem(10, 9)
    list(train_side_by_side(different_jobs(labels, 9), inputs, report=lambda *words: heard.append(words[:2])))
    shares = [done / total for done, total in heard]
    # Whole epochs of batches of 20 to 30.
    assert all(after >= before - 1 / 20 for before, after in pairwise(shares))
    assert shares[0] < 0.1
    assert 0.9 < shares[-1] <= 1


DIVERGING = {
    # Half the inputs with both labels: their margins are opposite, so one loss explodes.
    "loss inf": Descent("exponential", 1e3, 40),
    # Infinite in float32: inf - inf at the next output.
    "loss nan": Descent("identity", 1e39, 40),
    # One epoch: no later loss could tell.
    "weight": Descent("identity", 3.4e38, 1),
    "bias": Descent("identity", 3.4e38, 1),
}


@pytest.mark.parametrize("incremental", [True, False])
@pytest.mark.parametrize("kind", DIVERGING)
def test_divergence(kind: str, incremental: bool) -> None:
    """The error names the epoch that led out of the finite numbers and its rate; one that ends before is fine."""
    inputs, labels = (tensor.to(torch.float32) for tensor in problem(8, 3))
    start = network(3, slope=0.1, dtype=torch.float32)
    descent = DIVERGING[kind]
    if kind == "loss inf":
        inputs, labels = torch.cat((inputs, inputs[:3])), torch.cat((labels, -labels[:3]))
    if kind == "weight":
        inputs = inputs * 1e3
    if kind == "bias":
        # All gradient goes to the bias, which moves by at least 1e4 * 3.4e38.
        start.readout.fill_(1e4)
        start.bias = torch.nn.Parameter(torch.ones(8))
        inputs, labels = torch.zeros_like(inputs), torch.ones_like(labels)
    ((_, outcome),) = train_side_by_side([Job(start, labels, descent)], inputs, incremental=incremental)
    assert not outcome.classifiers
    with pytest.raises(DivergenceError, match=r"choose a smaller learning rate$"):
        outcome.after(descent.epochs)
    found = re.match(r"training diverged at epoch (\d+) of (\d+) with learning rate (\S+) \((.*)\)", str(outcome.error))
    assert found is not None, str(outcome.error)
    epoch = int(found[1])
    assert int(found[2]) == descent.epochs
    assert float(found[3]) == descent.lr
    expected = {"loss inf": "the loss became inf", "loss nan": "the loss became nan"}
    assert found[4] == expected.get(kind, "a weight or bias is not finite")
    if kind == "loss inf":
        before = Descent("exponential", 1e3, epoch).train(start, inputs, labels)
        # exp(-s) is infinite in float32 once a margin is below -log(3.4e38) = -88.7.
        assert float((labels * before.outputs(inputs)).min()) < -88.7
    else:
        assert epoch == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("losses", "incremental"),
    [
        (["identity"] * 3, True),
        (["identity"] * 3, False),
        (["logistic", "exponential", "exponential"], False),  # never from flip to flip
    ],
)
def test_one_that_diverges_leaves_the_others_alone(form: Form, losses: list[str], incremental: bool) -> None:
    inputs, labels = problem(12, 5)
    inputs, labels = torch.cat((inputs, inputs[:6])), torch.cat((labels, -labels[:6]))
    # The identity loss is linear, so only a rate near the largest number leaves the finite ones.
    rates = [0.1, 1e308 if losses[0] == "identity" else 1e4, 0.01]
    descents = [Descent(loss, lr, 60) for loss, lr in zip(losses, rates, strict=True)]
    jobs = [Job(network(5, role=f"{k}", slope=0.1), labels, own, (1, 2, 45)) for k, own in enumerate(descents)]

    def outcomes(*chosen: int) -> dict[int, Outcome]:
        options: dict[str, Any] = {"factors": factors_of(inputs), "form": form, "incremental": incremental}
        return {
            chosen[position]: outcome
            for position, outcome in train_side_by_side([jobs[index] for index in chosen], inputs, **options)
        }

    together = outcomes(0, 1, 2)
    for index in range(3):
        alone = outcomes(index)[index]
        assert str(together[index].error) == str(alone.error)
        assert (alone.error is None) == (index != 1)
        assert list(together[index].classifiers) == list(alone.classifiers)
        for epochs, classifier in together[index].classifiers.items():
            assert_same(classifier, alone.classifiers[epochs])
    # What came before is as good as ever.
    assert 1 in together[1].classifiers
    assert together[1].after(1) is together[1].classifiers[1]
    rate = re.escape(f"{rates[1]:g}")
    with pytest.raises(DivergenceError, match=rf"^training diverged at epoch \d+ of 60 with learning rate {rate} "):
        together[1].after(60)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("inputs", "labels", "complaint"),
    [
        ((4, 3), (4,), r"inputs of shape \(4, 3\) do not fit a network of dimension 2"),
        ((4, 2), (3,), r"labels of shape \(3,\) do not fit 4 samples"),
        ((4, 2), (1, 4), r"labels of shape \(1, 4\) do not fit 4 samples"),
    ],
)
def test_shapes_that_do_not_fit(inputs: tuple[int, ...], labels: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Descent("identity", 0.1, 1).train(network(2), torch.zeros(inputs, dtype=torch.float64), torch.ones(labels))


def test_bfloat16_is_for_float32() -> None:
    inputs, labels = problem(4, 2)
    with pytest.raises(
        ConfigError, match=r"^bfloat16 products need float32 inputs, but these are torch.float64; leave bfloat16 out$"
    ):
        Descent("identity", 0.1, 1).train(network(2), inputs, labels, bfloat16=True)


@pytest.mark.parametrize("loss", LOSS_NAMES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("incremental", [True, False])
def test_bfloat16_is_exact_but_for_its_rounding(loss: str, form: Form, incremental: bool) -> None:
    """Positive inputs and weights and labels +1: all gates stay open, and no sum cancels."""
    generator = torch.Generator().manual_seed(0)
    inputs, weight = (torch.rand(n, 9, generator=generator) for n in (12, 6))
    start = TwoLayer(weight, torch.full((6,), 0.01), torch.ones(6), 0.0)
    labels, factors = torch.ones(12), factors_of(inputs)
    epochs = 20 if loss == "identity" else 1
    job = Job(start, labels, Descent(loss, 0.1, epochs, 0.9, plateau=False))
    options: dict[str, Any] = {"factors": factors, "form": form, "incremental": incremental}
    ((_, exact),) = train_side_by_side([job], inputs, **options)
    ((_, short),) = train_side_by_side([job], inputs, bfloat16=True, **options)
    found, expected = short.after(epochs), exact.after(epochs)
    assert found.training["products"] == "bfloat16"
    for name, tensor in found.module.state_dict().items():
        assert tensor.dtype == torch.float32
        # An input, a signal and their product are each rounded to 8 binary digits, by 2^-8 of themselves at most; where
        # a signal depends on the outputs, of some 0.2, it moves by less than these do. In all 4 * 2^-8.
        # In the row space columns of C cancel in C Q: their roundings are of |C| |Q|, here twice as large.
        bound = 2**-6 * (2 if form in ("row_space", "low_rank") else 1)
        change, right = (
            module.state_dict()[name] - start.state_dict()[name] for module in (found.module, expected.module)
        )
        assert float((change - right).norm()) <= bound * float(right.norm())
    # In the Gram form coefficients are signals, which are exact under the identity loss and in the first epoch, where
    # preactivations come from the offset alone.
    assert torch.equal(found.module.weight, expected.module.weight) == (form == "gram")
