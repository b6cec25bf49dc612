"""What a network's body sees of the data, what becomes of its outputs, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.classifiers.reference import draw, signature
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from perturblearn.classifiers import Network, evaluating, label_loss, make_network
from perturblearn.classifiers.outputs import outputs_by_class
from perturblearn.config import NetworkConfig, OwnNetworkConfig
from perturblearn.data import Signature
from perturblearn.errors import ModelError

OWN = OwnNetworkConfig(name="mine:network")


class Seen(nn.Module):
    """Remembers what it was given; returns outputs of a wanted shape, told apart by their place."""

    def __init__(self, outputs: Callable[[int], Any] = lambda n: torch.zeros(n)) -> None:
        super().__init__()
        self.inputs = torch.empty(0)
        self._outputs = outputs

    def forward(self, inputs: Tensor) -> Any:
        self.inputs = inputs
        return self._outputs(len(inputs))


def seen_by(config: NetworkConfig, data: Signature, inputs: Tensor) -> Tensor:
    body = Seen()
    # The body has no parameters to tell a precision, so the network's is set.
    network = Network(body, data, config).to(inputs.dtype)
    network(inputs)
    return body.inputs


IMAGES = signature(2, 3, 4, offset=0.25)


def test_the_body_sees_the_original_values_unless_they_are_normalised() -> None:
    images = draw(5, 2, 3, 4)
    assert torch.equal(seen_by(OWN, IMAGES, images), images + 0.25)
    found = seen_by(OwnNetworkConfig(name="mine:network", normalise=True), IMAGES, images)
    for channel, (mean, std) in enumerate(zip(IMAGES.means, IMAGES.stds, strict=True)):
        # Means in float32, as the network was made: 2^-24 of them; then the division.
        assert torch.allclose(found[:, channel], (images[:, channel] - mean) / std, rtol=1e-14, atol=2**-23)


@pytest.mark.parametrize("normalise", [True, False])
def test_flat_and_shaped_inputs_are_one(normalise: bool) -> None:
    images = draw(5, 2, 3, 4)
    config = OwnNetworkConfig(name="mine:network", normalise=normalise)
    flat = seen_by(config, IMAGES, images.flatten(1))
    assert flat.shape == (5, 2, 3, 4)
    assert torch.equal(flat, seen_by(config, IMAGES, images))
    strided = images.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    assert not strided.is_contiguous()
    assert torch.equal(flat, seen_by(config, IMAGES, strided))


def test_vectors_have_one_mean_and_deviation() -> None:
    data = Signature((3,), 2, 0.5, (2.0,), (4.0,))
    inputs = torch.tensor([[2.0, 6.0, -2.0]])
    assert seen_by(OwnNetworkConfig(name="mine:network", normalise=True), data, inputs).tolist() == [[0.0, 1.0, -1.0]]
    assert seen_by(OWN, data, inputs).tolist() == [[2.5, 6.5, -1.5]]


def test_who_is_normalised_by_default() -> None:
    data = signature(2, 9, 9, offset=0.25)
    for name in ("mlp", "convnet", "resnet18"):
        network = make_network(NetworkConfig.model_validate({"name": name, **WIDTHS[name]}), data, seed=0, role="f")
        assert network.mean.flatten().tolist() == pytest.approx(data.means)
        config = NetworkConfig.model_validate({"name": name, "normalise": False, **WIDTHS[name]})
        assert make_network(config, data, seed=0, role="f").mean.flatten().tolist() == [-0.25]
    assert Network(Seen(), data, OWN).mean.flatten().tolist() == [-0.25]


WIDTHS: dict[str, dict[str, float]] = {
    "mlp": {"hidden_dim": 5},
    "convnet": {"width": 0.03, "depth": 1},
    "wide_resnet": {"width": 1, "depth": 10},
    "resnet18": {"width": 0.05},
    "resnet9": {"width": 0.05},
}


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize("classes", [2, 3])
def test_our_own_networks(name: str, classes: int) -> None:
    data = signature(3, 12, 11, n_classes=classes)
    config = NetworkConfig.model_validate({"name": name, **WIDTHS[name]})
    network = make_network(config, data, seed=0, role="standard").eval()
    images = draw(4, 3, 12, 11, dtype=torch.float32)
    outputs = network(images)
    assert outputs.shape == ((4,) if classes == 2 else (4, 3))
    assert torch.equal(outputs, network(images.flatten(1)))
    shift, scale = torch.tensor(data.means).view(3, 1, 1), torch.tensor(data.stds).view(3, 1, 1)
    direct = network.body((images - shift) / scale)
    assert direct.shape == (4, 1 if classes == 2 else 3)
    # Thousands of sums of numbers below 10 in another order of memory: 1e4 times 2^-24 times 10 at the very most.
    assert torch.allclose(outputs.reshape(direct.shape), direct, rtol=0, atol=6e-3)
    assert f"{name}, inputs 3 x 12 x 11, {classes} classes" in repr(network)
    # Gradients reach the inputs, and every parameter.
    leaf = images.requires_grad_()
    network(leaf).square().sum().backward()
    assert leaf.grad is not None
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", ["convnet", "wide_resnet", "resnet18", "resnet9"])
def test_image_networks_run_channels_last(name: str) -> None:
    network = make_network(
        NetworkConfig.model_validate({"name": name, **WIDTHS[name]}), signature(3, 11, 11), seed=0, role="f"
    )
    kernels = [parameter for parameter in network.body.parameters() if parameter.ndim == 4]
    for moved in (network, network.double()):
        assert kernels
        for parameter in moved.body.parameters():
            assert parameter.ndim != 4 or parameter.is_contiguous(memory_format=torch.channels_last)
    found: list[Tensor] = []
    network.body.register_forward_pre_hook(lambda _, arguments: found.append(arguments[0]))
    network(draw(2, 363))
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_the_user_s_networks_get_images_as_usual() -> None:
    class Viewing(nn.Module):
        """As many networks do; view fails on the channels-last format."""

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs.view(len(inputs), -1).sum(dim=1)

    network = Network(Viewing(), IMAGES, OWN)
    assert network(torch.zeros(3, 24)).tolist() == [6.0, 6.0, 6.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", WIDTHS)
def test_other_precisions(name: str, dtype: torch.dtype) -> None:
    config = NetworkConfig.model_validate({"name": name, **WIDTHS[name]})
    network = make_network(config, signature(3, 11, 11, n_classes=3), seed=0, role="f").eval()
    images = draw(4, 3, 11, 11, dtype=torch.float32)
    expected = network(images).detach()
    outputs = network.to(dtype)(images.to(dtype)).detach()
    assert outputs.dtype == dtype
    assert {tensor.dtype for tensor in network.state_dict().values() if tensor.is_floating_point()} == {dtype}
    # Of up to twenty layers each rounds its inputs and outputs to eight bits, and the sum of such errors is a share
    # of the outputs' size: 20 * 2 * 2^-9. In float64 what is left is the other's rounding, 2^-24 per step.
    share = 20 * 2 * 2**-9 if dtype == torch.bfloat16 else 20 * 1000 * 2**-24
    assert float((outputs.double() - expected.double()).abs().max()) < share * max(1, float(expected.abs().max()))


def test_two_logits_are_their_difference() -> None:
    logits = draw(6, 2)
    data = signature(4)
    network = Network(Seen(lambda n: logits[:n]), data, OWN)
    outputs = network(torch.zeros(6, 4))
    assert torch.equal(outputs, logits[:, 0] - logits[:, 1])
    # Class 0 is +1: the logistic loss of the difference is the cross-entropy of the logits.
    labels = torch.tensor([1, -1, -1, 1, 1, -1])
    expected = cross_entropy(logits, (labels < 0).long(), reduction="none")
    assert torch.allclose(label_loss(outputs, labels), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("classes", "shape"), [(2, ()), (2, (1,)), (2, (2,)), (3, (3,)), (10, (10,))], ids=lambda value: str(value)
)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shapes_of_outputs(classes: int, shape: tuple[int, ...], count: int) -> None:
    network = Network(Seen(lambda n: torch.ones(n, *shape)), signature(4, n_classes=classes), OWN)
    assert network(torch.zeros(count, 4)).shape == ((count,) if classes == 2 else (count, classes))


@pytest.mark.parametrize(
    ("classes", "outputs", "found", "wanted"),
    [
        (2, lambda n: torch.zeros(n, 3), "outputs of shape (2, 3)", "(n,), (n, 1) or (n, 2)"),
        (2, lambda n: torch.zeros(n, 1, 1), "outputs of shape (2, 1, 1)", "(n,), (n, 1) or (n, 2)"),
        (2, lambda n: torch.tensor(0.0), "outputs of shape ()", "(n,), (n, 1) or (n, 2)"),
        (2, lambda n: torch.zeros(n + 1), "outputs of shape (3,)", "(n,), (n, 1) or (n, 2)"),
        (3, lambda n: torch.zeros(n), "outputs of shape (2,)", "(n, 3)"),
        (3, lambda n: torch.zeros(n, 2), "outputs of shape (2, 2)", "(n, 3)"),
        (3, lambda n: (torch.zeros(n, 2), torch.zeros(n, 3)), "outputs of shape (2, 2)", "(n, 3)"),
        (3, lambda n: (None, torch.zeros(n, 3)), "a tuple", "(n, 3)"),
        (3, lambda n: {"a": torch.zeros(n, 3), "b": torch.zeros(n, 3)}, "a dict", "(n, 3)"),
        (3, lambda n: None, "a NoneType", "(n, 3)"),
    ],
)
def test_outputs_of_another_shape(classes: int, outputs: Callable[[int], Any], found: str, wanted: str) -> None:
    message = f"mine:network returns {found} for n = 2 inputs of {classes} classes, but {wanted} is needed"
    with pytest.raises(ModelError, match=re.escape(message)):
        Network(Seen(outputs), signature(4, n_classes=classes), OWN)


def test_classes_are_chosen_among_the_outputs_of_the_user_s_own_network() -> None:
    logits = draw(6, 9)
    data = replace(signature(4, n_classes=3), model_classes=((7,), (0, 2), (3,)))
    network = Network(Seen(lambda n: logits[:n]), data, OWN)
    assert network.is_mapped
    assert torch.equal(network(torch.zeros(6, 4)), outputs_by_class(logits, [[7], [0, 2], [3]]))
    # Our own networks are made with an output for each class.
    ours = make_network(NetworkConfig(name="mlp"), data, seed=0, role="perturbation")
    assert (ours(torch.zeros(6, 4)).shape, ours.is_mapped) == ((6, 3), False)
    # So may be a learner.
    assert not Network(Seen(lambda n: logits[:n, :3]), data, OWN).is_mapped


def test_two_classes_among_more_outputs_are_their_difference() -> None:
    logits = draw(6, 9)
    network = Network(Seen(lambda n: logits[:n]), replace(signature(4), model_classes=((7,), (2,))), OWN)
    assert torch.equal(network(torch.zeros(6, 4)), logits[:, 7] - logits[:, 2])


@pytest.mark.parametrize("count", [2, 4, 7])
def test_an_output_that_the_network_does_not_have(count: int) -> None:
    data = replace(signature(4, n_classes=3), model_classes=((7,), (0, 2), (3,)))
    words = (
        rf"returns outputs of shape \(2, {count}\) .* but model_classes names the output 7 \(counted from 0\); correct"
    )
    with pytest.raises(ModelError, match=words):
        Network(Seen(lambda n: torch.zeros(n, count)), data, OWN)


class Output:
    """As what networks of Hugging Face return."""

    def __init__(self, logits: Tensor) -> None:
        self.loss = None
        self.logits = logits


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (Output, "(Output): the attribute logits"),
        (lambda logits: (logits, torch.zeros(1)), "(tuple): the first entry"),
        (lambda logits: [logits], "(list): the first entry"),
        (lambda logits: {"loss": torch.zeros(len(logits), 3), "logits": logits}, "(dict): the entry 'logits'"),
        (lambda logits: {"classes": logits}, "(dict): the entry 'classes'"),
    ],
)
def test_outputs_are_unwrapped_and_that_is_said(wrap: Callable[[Tensor], Any], said: str) -> None:
    logits = draw(6, 3)
    with pytest.warns(UserWarning, match=re.escape(f"returns more than a tensor {said} is taken as its outputs")):
        network = Network(Seen(lambda n: wrap(logits[:n])), signature(4, n_classes=3), OWN)
    assert torch.equal(network(torch.zeros(5, 4)), logits[:5])


def test_outputs_are_looked_at_whenever_the_network_is_used() -> None:
    network = Network(Seen(lambda n: torch.zeros(n, 1 if n == 2 else 5)), signature(4), OWN)
    with pytest.raises(ModelError, match=re.escape("returns outputs of shape (3, 5) for n = 3 inputs")):
        network(torch.zeros(3, 4))


def test_a_body_that_fails_on_such_inputs() -> None:
    with pytest.raises(
        ModelError, match=r"mine:network fails on inputs of shape \(2, 2, 3, 4\) \(RuntimeError: mat1 and mat2 .*\); it"
    ):
        Network(nn.Sequential(nn.Flatten(), nn.Linear(23, 1)), IMAGES, OWN)


def test_a_state_that_cannot_be_stored() -> None:
    class Remembering(Seen):
        def get_extra_state(self) -> dict[str, int]:
            return {"calls": 3}

    with pytest.raises(ModelError, match=r"has body\._extra_state, a dict, in its state dict"):
        Network(Remembering(), signature(4), OWN)


def test_the_trial_leaves_no_trace() -> None:
    body = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))
    body[1].eval()
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    generator = torch.random.get_rng_state()
    network = Network(body, signature(4), OWN)
    assert [part.training for part in body] == [True, False, True]
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in body.state_dict().items())
    assert torch.equal(generator, torch.random.get_rng_state())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_evaluation_mode_ends_with_an_error_too() -> None:
    body = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout()))
    body[1].eval()

    class Stop(Exception):
        pass

    def fail() -> None:
        assert not any(part.training for part in body.modules())
        raise Stop

    with pytest.raises(Stop), evaluating(body):
        fail()
    assert [part.training for part in body.modules()] == [True, True, False, False, False]
