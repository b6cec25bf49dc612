"""The flow against descent, whose time it covers, and against its own steps written with autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.training.problems import factors_of
from tests.training.reference import LOSSES, relative
from tests.values import number
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer, from_state, initialise
from perturblearn.config import TrainedTwoLayerConfig
from perturblearn.errors import ConfigError, DivergenceError
from perturblearn.training import Descent, Flow

FLOW_LOSSES = ["exponential", "logistic"]
KINDS = ["one_hidden", "two_layer"]
# Each kind and each loss once; the other pairs take as long again.
WAYS = [
    ("one_hidden", "exponential"),
    ("two_layer", "logistic"),
    pytest.param("one_hidden", "logistic", marks=pytest.mark.long),
    pytest.param("two_layer", "exponential", marks=pytest.mark.long),
]


def network(dim: int, *, width: int = 20, name: str = "one_hidden", slope: float = 0.1, dtype: Any = None) -> TwoLayer:
    config = TrainedTwoLayerConfig.model_validate({"name": name, "hidden_dim": width, "slope": slope})
    return initialise(config, dim, seed=0, role="f").to(dtype or torch.float64)


def noise(n_samples: int, dim: int, *, rank: int | None = None, dtype: Any = None) -> tuple[Tensor, Tensor]:
    """Uniform inputs with random labels, of low rank where asked for."""
    generator = torch.Generator().manual_seed(0)
    inputs = 2 * torch.rand(n_samples, rank or dim, generator=generator) - 1
    if rank is not None:
        inputs = inputs @ torch.randn(rank, dim, generator=generator)
    labels = torch.tensor([1, -1])[torch.randint(2, (n_samples,), generator=generator)]
    return inputs.to(dtype or torch.float64), labels


def follow_plainly(
    start: TwoLayer, inputs: Tensor, labels: Tensor, flow: Flow, *, most_steps: int = 10**6
) -> tuple[dict[str, Tensor], list[float]]:
    """Euler steps of the flow in rescaled time in float64, with every derivative by autograd.

    The page Theory, third object: ds = L dt, with the mean |loss'| in the place of L where the two differ. The time of
    a step is the integral of ds over a rate that falls as exp(-k s).
    """
    network = from_state(start.state_dict(), start.slope).double()
    names, values = zip(*network.named_parameters(), strict=True)
    x, y = inputs.double(), labels.double()

    def margins_of(*parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        hidden = x @ given["weight"].T + given.get("bias", 0.0)
        return y * (torch.where(hidden > 0, hidden, start.slope * hidden) @ network.readout)

    def rate_of(*parameters: Tensor) -> Tensor:
        margins = margins_of(*parameters)
        return (torch.exp(-margins) if flow.loss == "exponential" else torch.sigmoid(-margins)).mean()

    parameters = tuple(value.detach().clone().requires_grad_() for value in values)
    left, losses = flow.time, []
    while left > 0 and len(losses) < most_steps:
        loss = LOSSES[flow.loss](margins_of(*parameters)).mean()
        losses.append(loss.item())
        rate = rate_of(*parameters).item()
        direction = tuple(-gradient / rate for gradient in torch.autograd.grad(loss, parameters))
        speeds = derivative_along(margins_of, parameters, direction)
        k = -derivative_along(rate_of, parameters, direction).item() / rate
        ds = flow.step / float(speeds.abs().max())
        dt = (math.exp(k * ds) - 1) / (k * rate)
        if dt >= left:
            dt, ds = left, math.log(1 + left * k * rate) / k
        left -= dt
        parameters = tuple((p + ds * v).detach().requires_grad_() for p, v in zip(parameters, direction, strict=True))
    return {name: value.detach() for name, value in zip(names, parameters, strict=True)}, losses


def derivative_along(
    function: Callable[..., Tensor], parameters: tuple[Tensor, ...], direction: tuple[Tensor, ...]
) -> Tensor:
    """J v, as the derivative in u of <J^T u, v>: torch.func.jvp warns of a deprecation of its own."""
    value = function(*parameters)
    u = torch.zeros_like(value, requires_grad=True)
    pulled = torch.autograd.grad(value, parameters, u, create_graph=True)
    product = torch.stack([(p * v).sum() for p, v in zip(pulled, direction, strict=True)]).sum()
    return torch.autograd.grad(product, u)[0]


def change_of(trained: Classifier[TwoLayer], start: TwoLayer) -> Tensor:
    """What training has added to weights and biases, in one vector."""
    return torch.cat(
        [
            (after - before).detach().double().flatten()
            for (name, after), before in zip(
                trained.module.state_dict().items(), start.state_dict().values(), strict=True
            )
            if name != "readout"
        ]
    )


def plain_change(expected: dict[str, Tensor], start: TwoLayer) -> Tensor:
    # In the order of the state: weight, then bias.
    return torch.cat([(expected[name] - value.detach().double()).flatten() for name, value in start.named_parameters()])


def compared(first: Classifier[TwoLayer], second: Classifier[TwoLayer], dim: int) -> tuple[float, float]:
    """Sign agreement and correlation of outputs on 4,000 fresh inputs."""
    fresh = 2 * torch.rand(4000, dim, generator=torch.Generator().manual_seed(1)) - 1
    one, other = first.outputs(fresh), second.outputs(fresh)
    agreement = (one.sign() == other.sign()).double().mean().item()
    return agreement, torch.corrcoef(torch.stack((one, other)).double())[0, 1].item()


@pytest.mark.long
def test_ends_where_long_descent_ends() -> None:
    """The page Theory, third object: the network of very long training from some hundred steps."""
    inputs, labels = noise(40, 400, dtype=torch.float32)
    start = network(400, width=200, slope=0.01, dtype=torch.float32)
    descent = Descent("exponential", 0.01, 5000, 0.9, plateau=False).train(start, inputs, labels)
    flow = Flow("exponential", 0.01, 5000, 0.9).train(start, inputs, labels)
    closer = Flow("exponential", 0.01, 5000, 0.9, exact_epochs=100).train(start, inputs, labels)
    for found in (flow, closer):
        assert number(found.training["steps"]) < 300
        agreement, correlation = compared(found, descent, 400)
        assert agreement >= 0.99
        assert correlation >= 0.999
        # A step of 0.1 in the margins may misjudge the loss by that share, and does so by much less.
        assert found.training["final_loss"] == pytest.approx(float(descent.losses[-1]), rel=0.1)
    assert compared(closer, descent, 400) > compared(flow, descent, 400)
    # The first epochs, in which gates flip most, cost the flow most of what it misses: an eighth is left [measured].
    reached = change_of(descent, start)
    assert relative(change_of(closer, start), reached) < relative(change_of(flow, start), reached) / 4


@pytest.mark.parametrize("loss", FLOW_LOSSES)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("n_samples", "dim", "form"),
    [(15, 40, "Gram"), (40, 21, "plain"), (42, 21, "plain"), (60, 6, "plain"), (1, 5, "Gram"), (2, 1, "plain")],
)
def test_same_steps_as_autograd(loss: str, name: str, n_samples: int, dim: int, form: str) -> None:
    inputs, labels = noise(n_samples, dim)
    start = network(dim, name=name)
    flow = Flow(loss, 0.01, 600, 0.9)
    found = flow.train(start, inputs, labels)
    expected, losses = follow_plainly(start, inputs, labels, flow)
    assert found.training["form"] == form
    assert found.training["steps"] == len(losses) >= 4
    # Dozens of steps, each of some roundings of 1e-16; a factor of 1000 for what the flow itself drives apart.
    assert relative(change_of(found, start), plain_change(expected, start)) < 1e-10
    assert found.losses.tolist() == pytest.approx(losses, rel=1e-10)


@pytest.mark.parametrize("loss", FLOW_LOSSES)
def test_rule_of_the_third_object(loss: str) -> None:
    """A_nj += ds softmax_n(-y f)_n y_n phi'_nj a_j, sample by sample and unit by unit, for a single step."""
    inputs, labels = noise(8, 20)
    start = network(20, width=6)
    # So little time that one step covers it.
    flow = Flow(loss, 1e-3, 1, 0.0)
    found = flow.train(start, inputs, labels)
    assert found.training["steps"] == 1
    margins = (labels * start(inputs)).tolist()
    # |loss'|; the exponential's is the softmax's numerator.
    slopes = [math.exp(-s) if loss == "exponential" else 1 / (1 + math.exp(s)) for s in margins]
    weight = start.weight.detach()
    expected = torch.zeros_like(weight)
    for n in range(8):
        for j in range(6):
            active = float(inputs[n] @ weight[j]) > 0
            gate = 1.0 if active else 0.1
            expected[j] += slopes[n] / sum(slopes) * int(labels[n]) * gate * float(start.readout[j]) * inputs[n]
    # The step is ds long: parallel to the rule, and of the time's 1e-3 times the mean |loss'| but for the second order,
    # k dt rate / 2 with |k| below the squared length of a gradient per unit loss, so below 1e-3.
    change = found.module.weight.detach() - weight
    ds = float((change * expected).sum() / expected.square().sum())
    assert relative(change, ds * expected) < 1e-12
    assert ds == pytest.approx(1e-3 * sum(slopes) / 8, rel=1e-3 * float(inputs.square().sum(dim=1).max()))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("n_samples", "form"), [(60, "low rank of rank 5"), (5, "Gram of rank 5")])
def test_inputs_with_known_factors_move_in_their_coordinates(name: str, n_samples: int, form: str) -> None:
    # In float64: in float32 gates flip a step early or late, in the plain form too, and by how much that moves the
    # weights depends on the machine's order of summation.
    inputs, labels = noise(n_samples, 24, rank=5)
    start = network(24, name=name)
    flow = Flow("exponential", 0.01, 300, 0.9)
    coordinates, basis = factors_of(inputs)
    found = flow.train(start, inputs, labels, factors=(coordinates[:, :5], basis[:5]))
    assert found.training["form"] == form
    expected, losses = follow_plainly(start, inputs, labels, flow)
    assert found.training["steps"] == len(losses)
    # The inputs are a product that was rounded to float32, so they are of rank 5 but for some 1e-7 of themselves, and
    # what lies outside the factors is lost. Some ten times that is left for what 200 steps make of it.
    assert relative(change_of(found, start), plain_change(expected, start)) < 1e-6
    assert found.losses.tolist() == pytest.approx(losses, rel=1e-6)


@pytest.mark.parametrize(("n_samples", "dim", "rank"), [(15, 40, None), (60, 6, None), (40, 24, 5)])
def test_float32_is_float64_but_for_rounding(n_samples: int, dim: int, rank: int | None) -> None:
    flow = Flow("exponential", 0.01, 300, 0.9)
    found = {}
    for dtype in (torch.float32, torch.float64):
        start = network(dim, dtype=dtype)
        found[dtype] = flow.train(start, *noise(n_samples, dim, rank=rank, dtype=dtype))
        for tensor in found[dtype].module.state_dict().values():
            assert tensor.dtype == dtype
        assert found[dtype].losses.dtype == torch.float64
    # As in the test of the row space.
    start = network(dim)
    assert relative(change_of(found[torch.float32], start), change_of(found[torch.float64], start)) < 1e-3


@pytest.mark.parametrize(("name", "loss"), WAYS)
def test_descent_at_a_small_rate_follows_the_flow(loss: str, name: str) -> None:
    """Of both errors, descent's falls with its rate and the flow's with its step: each is below 1 % here."""
    inputs, labels = noise(25, 20)
    start = network(20, width=30, name=name)
    descent = Descent(loss, 0.002, 2000, 0.0, plateau=False).train(start, inputs, labels)
    found = Flow(loss, 0.002, 2000, 0.0, step=0.01).train(start, inputs, labels)
    assert relative(change_of(found, start), change_of(descent, start)) < 0.01
    assert found.training["final_loss"] == pytest.approx(float(descent.losses[-1]), rel=0.005)


def errors_of_steps(start: TwoLayer, loss: str) -> list[float]:
    """Distance from the change at a step of 0.1/32, at 0.1, 0.05 and 0.025."""
    inputs, labels = noise(25, start.input_dim)

    def reached(step: float) -> Tensor:
        return change_of(Flow(loss, 0.01, 2000, 0.9, step=step).train(start, inputs, labels), start)

    limit = reached(0.1 / 32)
    return [relative(reached(step), limit) for step in (0.1, 0.05, 0.025)]


@pytest.mark.parametrize(("name", "loss"), WAYS)
def test_first_order_in_the_step(loss: str, name: str) -> None:
    # At a slope of 0.999 gates that flip within a step shift a thousandth, and what is left is smooth.
    large, middle, small = errors_of_steps(network(20, width=100, name=name, slope=0.999), loss)
    assert large < 0.01
    # To first order (1 - 1/32) / (1/2 - 1/32) and (1/2 - 1/32) / (1/4 - 1/32), up to the thousandth of the gates and a
    # second order of the size of the errors, 0.002; no dependence would be 1, second order 4.
    assert large / middle == pytest.approx(31 / 15, rel=0.02)
    assert middle / small == pytest.approx(15 / 7, rel=0.02)


@pytest.mark.parametrize(("name", "loss"), WAYS)
def test_shorter_steps_change_little(loss: str, name: str) -> None:
    """With gates that matter each step's flips are off by a share of the step: uneven, and a few per cent in all."""
    large, _, small = errors_of_steps(network(20, width=400, name=name), loss)
    assert small < large < 0.05


@pytest.mark.parametrize("loss", FLOW_LOSSES)
def test_momentum_only_sets_the_time(loss: str) -> None:
    """Heavy ball 0.9 covers ten times the time of plain descent: lr E / (1 - momentum)."""
    inputs, labels = noise(10, 30)
    start = network(30)
    heavy = Flow(loss, 0.01, 500, 0.9)
    assert heavy.time == pytest.approx(50, rel=1e-15)
    found = [
        flow.train(start, inputs, labels) for flow in (heavy, Flow(loss, 0.1, 500, 0.0), Flow(loss, 0.01, 5000, 0.0))
    ]
    for other in found[1:]:
        # Equal times but for their rounding.
        assert relative(change_of(other, start), change_of(found[0], start)) < 1e-12


@pytest.mark.parametrize("loss", FLOW_LOSSES)
@pytest.mark.parametrize("target", [0.3, 1e-2, 1e-4, 1e-8, 1e-30])
def test_target_loss(loss: str, target: float) -> None:
    inputs, labels = noise(40, 200)
    start = network(200, slope=0.01)
    # Far more time than is needed.
    found = Flow(loss, 1e40, 100, 0.9, target_loss=target).train(start, inputs, labels)
    # A step changes no margin by more than 0.1, and it is cut to end a fiftieth of itself below the target.
    assert 0.95 * target < number(found.training["final_loss"]) <= target
    assert found.training["target_loss"] == target
    # The least margin grows by at most 0.1 a step and ends near -log(target); few steps are wasted on the others.
    assert math.log(1 / target) / 0.1 - 10 < number(found.training["steps"]) < 2 * math.log(1 / target) / 0.1 + 30
    assert found.training["final_loss"] == pytest.approx(
        LOSSES[loss](labels * found.outputs(inputs)).mean().item(), rel=1e-9
    )


def test_time_decides_where_it_ends_before_the_target() -> None:
    inputs, labels = noise(10, 30)
    start = network(30)
    plain = Flow("exponential", 0.01, 100, 0.9).train(start, inputs, labels)
    aimed = Flow("exponential", 0.01, 100, 0.9, target_loss=1e-9).train(start, inputs, labels)
    assert torch.equal(plain.module.weight, aimed.module.weight)
    assert number(aimed.training["final_loss"]) > 1e-3


def test_a_target_above_the_first_loss_leaves_the_network() -> None:
    inputs, labels = noise(10, 30)
    start = network(30)
    found = Flow("exponential", 0.01, 100, 0.9, target_loss=5.0).train(start, inputs, labels)
    assert torch.equal(found.module.weight, start.weight)
    assert found.training["steps"] == len(found.losses) == 0


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("n_samples", "dim", "rank"), [(15, 40, None), (60, 6, None), (40, 24, 5)])
@pytest.mark.parametrize("exact_epochs", [0, 20, 30])
def test_no_time_leaves_the_network(name: str, n_samples: int, dim: int, rank: int | None, exact_epochs: int) -> None:
    """Of no epochs the initial network; of epochs that are all done exactly, descent's."""
    inputs, labels = noise(n_samples, dim, rank=rank, dtype=torch.float32)
    start = network(dim, name=name, dtype=torch.float32)
    epochs = min(20, exact_epochs)
    flow = Flow("exponential", 0.01, epochs, 0.9, exact_epochs=exact_epochs)
    assert flow.time == 0
    found = flow.train(start, inputs, labels)
    module, losses = start, []
    if epochs:
        expected = Descent("exponential", 0.01, epochs, 0.9, plateau=False).train(start, inputs, labels)
        module, losses = expected.module, expected.losses.tolist()
    for key, value in module.state_dict().items():
        assert torch.equal(found.module.state_dict()[key], value)
    assert found.training["steps"] == 0
    assert found.training["exact_epochs"] == epochs
    assert found.losses.tolist() == losses


def test_the_network_inputs_and_labels_are_left_alone() -> None:
    inputs, labels = noise(10, 30)
    start = network(30, name="two_layer")
    before = from_state(start.state_dict(), start.slope)
    copies = inputs.clone(), labels.clone()
    found = Flow("logistic", 0.01, 200, 0.9, exact_epochs=5).train(start, inputs, labels)
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])
        assert torch.equal(tensor, found.module.state_dict()[name]) == (name == "readout")
    assert torch.equal(inputs, copies[0])
    assert torch.equal(labels, copies[1])


def test_images_are_flattened() -> None:
    inputs, labels = noise(10, 12)
    flow = Flow("exponential", 0.01, 100, 0.9, exact_epochs=3)
    flat = flow.train(network(12), inputs, labels)
    images = flow.train(network(12), inputs.view(10, 3, 2, 2), labels)
    assert torch.equal(flat.module.weight, images.module.weight)


def test_what_a_classifier_says_of_its_flow() -> None:
    inputs, labels = noise(10, 30)
    flow = Flow("logistic", 0.02, 300, 0.5, step=0.2, target_loss=1e-5, exact_epochs=7)
    assert flow.time == pytest.approx(0.02 * 293 / 0.5, rel=1e-15)
    found = flow.train(network(30), inputs, labels)
    assert found.training == {
        "training": "flow",
        "loss": "logistic",
        "lr": 0.02,
        "epochs": 300,
        "momentum": 0.5,
        "step": 0.2,
        "target_loss": 1e-5,
        "exact_epochs": 7,
        "steps": len(found.losses) - 7,
        "final_loss": found.training["final_loss"],
        "form": "Gram",
    }
    first = LOSSES["logistic"](labels * network(30)(inputs)).mean().item()
    assert found.losses[0].item() == pytest.approx(first, rel=1e-12)
    assert found.final_lr == 0.02


def test_reports_grow_to_a_hundred() -> None:
    inputs, labels = noise(10, 30)
    heard: list[tuple[int, int, str]] = []
    found = Flow("exponential", 0.01, 3000, 0.9).train(
        network(30), inputs, labels, report=lambda *words: heard.append(words)
    )
    shares = [share for share, total, _ in heard if total == 100]
    assert len(shares) == len(heard) == number(found.training["steps"]) + 1
    assert shares == sorted(shares)
    assert shares[0] < 20
    assert shares[-1] == 100
    assert heard[-1][2] == f"loss {found.training['final_loss']:.3g}"


@pytest.mark.parametrize(("name", "loss"), WAYS)
def test_data_that_cannot_be_fitted_end_with_the_time(loss: str, name: str) -> None:
    """Near a minimum steps go back and forth by the step's length; each still covers time."""
    inputs, labels = noise(60, 3)
    # Half the inputs with both labels.
    inputs, labels = torch.cat((inputs, inputs[:30])), torch.cat((labels, -labels[:30]))
    start = network(3, width=4, name=name)
    found = Flow(loss, 0.01, 1500, 0.9).train(start, inputs, labels)
    assert number(found.training["steps"]) < 1500
    descent = Descent(loss, 0.01, 1500, 0.9, plateau=False).train(start, inputs, labels)
    # Margins that are 0.1 off the minimum, where the loss is flat, cost the square of that, and gates as much again.
    assert found.training["final_loss"] == pytest.approx(float(descent.losses[-1]), rel=0.02)


def test_nothing_to_learn_ends_at_once() -> None:
    inputs, labels = noise(10, 4)
    start = network(4)
    found = Flow("exponential", 0.01, 10**6, 0.9).train(start, torch.zeros_like(inputs), labels)
    assert torch.equal(found.module.weight, start.weight)
    assert found.training["final_loss"] == 1


def test_margins_that_no_float32_loss_could_tell() -> None:
    """exp(-s) of float32 is 0 for s above 104 and infinite for s below -88; the flow goes on either way."""
    inputs, labels = noise(20, 100, dtype=torch.float32)
    start = network(100, dtype=torch.float32)
    far = Flow("exponential", 1e60, 100, 0.9, target_loss=1e-60).train(start, inputs, labels)
    assert float((labels * far.outputs(inputs)).min()) > 104
    back = Flow("exponential", 0.01, 1, 0.9, target_loss=1e-3).train(far.module, inputs, -labels)
    assert float(back.losses[0]) > 1e60
    # Labels turned round: the time of one epoch undoes all that, for the loss is so steep.
    assert float(back.losses[-1]) < 1e3


def test_divergence_is_told() -> None:
    inputs, labels = noise(4, 3)
    with pytest.raises(DivergenceError, match=r"^the flow left the finite numbers \(the loss became nan\)$"):
        Flow("logistic", 0.1, 10).train(network(3), inputs * math.inf, labels)


@pytest.mark.parametrize("loss", ["identity", "hinge"])
def test_losses_that_do_not_die_out_are_refused(loss: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^the flow follows an exponential or logistic loss, not '{loss}'; choose one of these$"
    ):
        Flow(loss, 0.01, 10)


def test_a_flow_that_would_take_far_longer_than_descent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels = noise(60, 3)
    monkeypatch.setattr("perturblearn.training.flow._MOST_STEPS", 0.01)
    with pytest.raises(DivergenceError, match="for the time of 500 epochs and is not there yet; scale the inputs down"):
        Flow("exponential", 0.01, 500, 0.9).train(network(3), inputs, labels)
