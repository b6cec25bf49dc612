"""Training from flip to flip against single steps: jumps, windows, counts of flips, random problems."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from tests.training.problems import KINDS, assert_as_plain, assert_close, network, problem, train_in, ways
from tests.training.reference import train_plainly
from torch import Tensor

from perturblearn.classifiers import TwoLayer, from_state
from perturblearn.training import Descent, Job
from perturblearn.training.batch import Batch
from perturblearn.training.flips import DENSE_SHARE, FlipDescent, _Motion, path
from perturblearn.training.products import CoordinateProducts, GramProducts, gram_matrix


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("steps", [0, 1, 2, 7, 100, 4096])
def test_a_jump_is_so_many_steps(momentum: float, steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    # All of one sign, so that no sum cancels.
    start = _Motion(*(torch.rand(4, 3, generator=generator, dtype=torch.float64) + 1 for _ in range(3)))
    start.position.neg_()
    stepped, jumped = (start.rows(torch.arange(4)) for _ in range(2))
    for _ in range(steps):
        stepped.step(momentum, 0.1)
    moving = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)[:, None]
    jumped.jump(moving, steps, momentum, 0.1, torch.empty(4, 3, dtype=torch.float64))
    stepped.put(torch.tensor([1]), start.rows(torch.tensor([1])))
    for name in ("position", "velocity", "drive"):
        # As many roundings as steps; the closed form divides differences of near numbers by 1 - momentum, twice.
        rtol = 2**-52 * (steps + 8 / (1 - momentum) ** 2)
        assert torch.allclose(getattr(jumped, name), getattr(stepped, name), rtol=rtol, atol=0), name


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_path_by_hand(momentum: float) -> None:
    for steps in range(20):
        # v_k = momentum^k v_0 + (1 + ... + momentum^(k - 1)) drive, summed over k = 1, ..., steps.
        of_velocity = sum(momentum**k for k in range(1, steps + 1))
        of_drive = sum(momentum**i for k in range(1, steps + 1) for i in range(k))
        # As in the test above.
        rel = 2**-52 * (20 + 8 / (1 - momentum) ** 2)
        assert path(steps, momentum) == pytest.approx((of_velocity, of_drive), rel=rel, abs=0)


def descend(
    start: TwoLayer, inputs: Tensor, labels: Tensor, descent: Descent, *, gram: bool, dense_share: float = DENSE_SHARE
) -> tuple[FlipDescent, TwoLayer, list[float], float]:
    """The descent when it is done, its network, losses and rate."""
    plain = CoordinateProducts(inputs, bias=start.bias is not None)
    weight = start.weight.detach()
    own = weight.clone() if start.bias is None else torch.cat((weight, start.bias.detach()[:, None]), dim=1)
    offset = plain.image(own, slice(0, len(inputs)), weight.new_empty(len(own), len(inputs)))
    products = GramProducts(gram_matrix(inputs, bias=start.bias is not None), offset) if gram else plain
    batch = Batch([Job(start, labels, descent)], inputs)
    states = torch.zeros_like(offset) if gram else own
    flips = FlipDescent(batch.records[0], products, states, batch.labels[0], dense_share=dense_share)
    flips.run(lambda *_: None)
    record = batch.records[0]
    assert record.error is None
    trained = from_state(start.state_dict(), start.slope)
    end = record.states[descent.epochs]
    trained.weight.data = weight + end @ inputs if gram else end[:, : inputs.shape[1]]
    if trained.bias is not None:
        trained.bias.data = trained.bias.data + end.sum(dim=1) if gram else end[:, -1]
    return flips, trained, record.losses, record.plateau.lr


def flips_of(start: TwoLayer, inputs: Tensor, labels: Tensor, descent: Descent) -> list[int]:
    """Gates that are not what they were an epoch before, by epochs done one at a time."""
    trained, momentum, rate = from_state(start.state_dict(), start.slope), descent.momentum, descent.lr
    parameters = [p for p in (trained.weight, trained.bias) if p is not None]
    velocities = [torch.zeros_like(p) for p in parameters]

    def hidden() -> Tensor:
        return inputs @ trained.weight.T + (0.0 if trained.bias is None else trained.bias)

    found = []
    for _ in range(descent.epochs):
        preactivations = hidden()
        gates = torch.where(preactivations > 0, 1.0, start.slope).to(inputs)
        signal = -labels[:, None] * gates * start.readout / len(labels)
        gradients = [signal.T @ inputs, signal.sum(dim=0)]
        for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=False):
            velocity.mul_(momentum).add_(gradient)
            parameter.data -= rate * velocity
        found.append(int(((hidden() > 0) != (preactivations > 0)).sum()))
    return found


@pytest.mark.parametrize("gram", [False, True])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("slope", [0.0, 0.3])
# Seldom a flip; some; many at first.
@pytest.mark.parametrize("lr", [0.01, 0.1, 1.0])
def test_every_flip_is_found(gram: bool, name: str, slope: float, lr: float) -> None:
    inputs, labels = problem(30, 12)
    start = network(12, width=20, name=name, slope=slope)
    descent = Descent("identity", lr, 60, plateau=False)
    expected = flips_of(start, inputs, labels, descent)
    assert sum(expected) > 0
    # Epochs with more than a sixteenth, with any, and with none; all are the same flips.
    for dense_share, dense in (
        (DENSE_SHARE, sum(n > 600 / 16 for n in expected)),
        (0, sum(map(bool, expected))),
        (1, 0),
    ):
        found = descend(start, inputs, labels, descent, gram=gram, dense_share=dense_share)[0]
        assert found.flips == sum(expected)
        assert found.dense_epochs == dense


@pytest.mark.parametrize("gram", [False, True])
def test_no_gate_ever_flips(gram: bool) -> None:
    """Inputs, weights and readouts above 0 and labels +1: what is open opens further."""
    generator = torch.Generator().manual_seed(0)
    inputs, weight = (torch.rand(n, 5, generator=generator, dtype=torch.float64) + 0.1 for n in (12, 6))
    start = TwoLayer(weight, torch.ones(6, dtype=torch.float64), None, 0.2)
    labels, descent = torch.ones(12), Descent("identity", 1.0, 200)
    found, trained, losses, _ = descend(start, inputs, labels, descent, gram=gram)
    assert found.flips == found.dense_epochs == 0
    expected, plain, _ = train_plainly(start, inputs, labels, descent)
    assert_close(trained, expected, start)
    assert losses == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("gram", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_flip_in_every_epoch(gram: bool, momentum: float) -> None:
    """12,000 gates at a rate at which some of them flip whenever the weights move."""
    inputs, labels = problem(300, 5)
    start = network(5, width=40, slope=0.2)
    descent = Descent("identity", 0.3 * (1 - momentum), 25, momentum)
    counts = flips_of(start, inputs, labels, descent)
    assert min(counts) > 0
    found, trained, losses, _ = descend(start, inputs, labels, descent, gram=gram)
    assert found.flips == sum(counts)
    expected, plain, _ = train_plainly(start, inputs, labels, descent)
    assert_close(trained, expected, start)
    assert losses == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("gram", [False, True])
def test_all_gates_flip_at_once(slope: float, with_bias: bool, gram: bool) -> None:
    inputs = torch.tensor([[1.0, 2.0], [1.0, 1.9]], dtype=torch.float64)
    weight = torch.full((8, 2), 0.5, dtype=torch.float64)
    bias = torch.zeros(8, dtype=torch.float64) if with_bias else None
    # Equal units with readout -1 and labels +1: all sink through 0 together, some epochs in.
    start = TwoLayer(weight, torch.full((8,), -1.0, dtype=torch.float64), bias, slope)
    labels, descent = torch.tensor([1, 1]), Descent("identity", 0.01, 30)
    counts = flips_of(start, inputs, labels, descent)
    assert max(counts) == 16
    found = descend(start, inputs, labels, descent, gram=gram)[0]
    assert found.flips == 16
    assert found.dense_epochs == 1
    assert_as_plain(start, inputs, labels, descent)


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("gram", [False, True])
# No unit, some and most of them are awake while the rate is cut.
@pytest.mark.parametrize(("lr", "least", "most"), [(1e-6, 0, 0), (0.01, 0.01, 0.49), (3.0, 0.51, 1)])
def test_windows_end_where_the_rate_is_cut(
    monkeypatch: pytest.MonkeyPatch, slope: float, momentum: float, gram: bool, lr: float, least: float, most: float
) -> None:
    inputs, _ = problem(12, 6)
    labels = torch.tensor([1, 1, -1] * 4)
    start = network(6, width=30, slope=slope)
    # One unit puts a loss of 1e8 / 3 upon the others', which no epoch betters by a part in 1e4.
    start.readout[0] = -1
    start.bias = torch.nn.Parameter(start.readout.new_zeros(30).index_fill(0, torch.tensor(0), 1e8))
    cut: list[float] = []
    window = FlipDescent._window

    def noted(self: FlipDescent, awake: Tensor, ahead: int) -> int:
        done = window(self, awake, ahead)
        if done < ahead:
            cut.append(len(awake) / 30)
        return done

    monkeypatch.setattr(FlipDescent, "_window", noted)
    lr *= 1 - momentum
    descent = Descent("identity", lr, 40, momentum)
    _, trained, losses, rate = descend(start, inputs, labels, descent, gram=gram)
    expected, plain, left = train_plainly(start, inputs, labels, descent)
    assert_close(trained, expected, start)
    assert losses == pytest.approx(plain, rel=1e-12)
    # At epochs 12, 23 and 34; a cut below 1e-8 is not made.
    assert rate == left == pytest.approx(lr / 1000 if lr > 1e-6 else 1e-8)
    assert cut
    assert all(least <= share <= most for share in cut[:1])


def test_nothing_to_learn_cuts_the_rate_as_well() -> None:
    """Labels that cancel over equal samples, and inputs of zeros: the drive is 0, and the loss as well."""
    start = network(4, name="one_hidden")
    for inputs in (torch.zeros(6, 4, dtype=torch.float64), torch.ones(6, 4, dtype=torch.float64)):
        labels = torch.tensor([1, -1] * 3)
        for gram in (False, True):
            descent = Descent("identity", 0.1, 40)
            found, trained, losses, lr = descend(start, inputs, labels, descent, gram=gram)
            # Opposite terms are equal numbers, so all sums over pairs are exactly 0.
            assert losses == [0.0] * 40
            assert torch.equal(trained.weight, start.weight)
            assert found.flips == 0
            # After epochs 12, 23 and 34.
            assert lr == pytest.approx(1e-4)


def test_checkpoints_in_a_quiet_stretch() -> None:
    """No gate flips, so that nothing but a checkpoint ends a window, and all that lies between is closed form."""
    inputs, labels = problem(12, 5)
    start = network(5, slope=0.1)
    # A bias so large that gates stay as they are for long.
    start.bias = torch.nn.Parameter(100 * start.readout.sign())
    descent = Descent("identity", 0.01, 300)
    assert sum(flips_of(start, inputs, labels, descent)) == 0
    checkpoints = (1, 8, 9, 150, 299)
    plain = {
        epochs: train_plainly(start, inputs, labels, Descent("identity", 0.01, epochs))
        for epochs in (*checkpoints, 300)
    }
    for form, incremental in ways("identity"):
        found = train_in(Job(start, labels, descent, checkpoints), inputs, form, incremental=incremental)
        for epochs, (expected, losses, lr) in plain.items():
            assert_close(found[epochs].module, expected, start)
            assert found[epochs].losses.tolist() == pytest.approx(losses, rel=1e-9)
            assert found[epochs].final_lr == lr


@pytest.mark.parametrize("epochs", [1, 7, 8, 9, 1200, pytest.param(5000, marks=pytest.mark.long)])
def test_long_windows(epochs: int) -> None:
    """Windows grow to hundreds and thousands of epochs, and the last is cut to what is left."""
    inputs, labels = problem(10, 3)
    start = network(3, width=4, slope=0.2)
    descent = Descent("identity", 0.002, epochs, plateau=False)
    _, trained, losses, _ = descend(start, inputs, labels, descent, gram=False)
    assert len(losses) == epochs
    expected, plain, _ = train_plainly(start, inputs, labels, descent)
    assert_close(trained, expected, start)
    assert losses == pytest.approx(plain, rel=1e-9)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    n_samples=st.integers(1, 14),
    dim=st.integers(1, 9),
    width=st.sampled_from([2, 4, 10, 24]),
    name=st.sampled_from(KINDS),
    slope=st.sampled_from([0.0, 0.01, 0.3, 0.9]),
    lr=st.floats(-4, 1).map(lambda power: 10**power),
    momentum=st.sampled_from([0.0, 0.5, 0.9, 0.97]),
    plateau=st.booleans(),
    epochs=st.integers(1, 60),
    gram=st.booleans(),
    dense_share=st.sampled_from([0.0, DENSE_SHARE, 1.0]),
)
def test_random_problems(
    seed: int,
    n_samples: int,
    dim: int,
    width: int,
    name: str,
    slope: float,
    lr: float,
    momentum: float,
    plateau: bool,
    epochs: int,
    gram: bool,
    dense_share: float,
) -> None:
    inputs, labels = problem(n_samples, dim, seed)
    start = network(dim, width=width, name=name, slope=slope, role=f"{seed}")
    descent = Descent("identity", lr, epochs, momentum, plateau)
    found, trained, losses, rate = descend(start, inputs, labels, descent, gram=gram, dense_share=dense_share)
    expected, plain, left = train_plainly(start, inputs, labels, descent)
    assert_close(trained, expected, start)
    # A loss is a sum of terms that may cancel: its error is relative to the largest loss on the way.
    assert losses == pytest.approx(plain, rel=1e-9, abs=1e-11 * max(map(abs, plain)))
    assert rate == left
    if not plateau:
        assert found.flips == sum(flips_of(start, inputs, labels, descent))


def test_the_trainer_goes_from_flip_to_flip_where_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Noted(FlipDescent):
        def run(self, report: object) -> None:
            made.append("flips")
            super().run(report)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr("perturblearn.training.full_batch.FlipDescent", Noted)
    inputs, labels = problem(10, 5)
    job = Job(network(5), labels, Descent("identity", 0.1, 5))
    train_in(job, inputs, "plain")
    assert len(made) == 1
    train_in(job, inputs, "plain", incremental=False)
    Descent("logistic", 0.1, 5).train(network(5), inputs, labels)
    monkeypatch.setattr("perturblearn.training.full_batch.MEMORY", 0)
    train_in(job, inputs, "plain")
    assert len(made) == 1
