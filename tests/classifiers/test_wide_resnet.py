"""The WideResNet of ICLR24 against its description, written out."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from tests.classifiers.reference import ROUNDING, draw, normalised, randomise
from torch import Tensor, nn
from torch.nn.functional import conv2d, dropout

from perturblearn.classifiers import WideResNet


def conv(before: int, after: int, size: int = 3) -> int:
    return before * after * size**2 + after


def test_the_parameters_of_28_10_on_cifar_10() -> None:
    with torch.device("meta"):
        network = WideResNet(3, 10)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 10)
        assert network.blocks(network.stem(torch.empty(2, 3, 32, 32))).shape == (2, 640, 8, 8)
    expected = conv(3, 16) + 2 * 640 + 640 * 10 + 10
    for before, after in pairwise([16, 160, 320, 640]):
        first = 2 * before + conv(before, after) + 2 * after + conv(after, after) + conv(before, after, 1)
        other = 2 * after + conv(after, after) + 2 * after + conv(after, after)
        expected += first + 3 * other
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    # 28 convolutions: these, the first, and three shortcuts.
    assert sum("conv" in name and "weight" in name for name in network.state_dict()) == 24


def by_hand(network: WideResNet, inputs: Tensor, *, depth: int, training: bool = False, rate: float = 0.0) -> Tensor:
    """Pre-activation, stride on the second convolution, shortcut from the raw input, biases everywhere."""
    weights = network.state_dict()

    def convolved(values: Tensor, name: str, *, stride: int = 1, padding: int = 1) -> Tensor:
        return conv2d(values, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride, padding=padding)

    def norm(values: Tensor, name: str) -> Tensor:
        part = network.get_submodule(name)
        assert isinstance(part, nn.BatchNorm2d)
        return normalised(values, part, training=training)

    hidden = convolved(inputs, "stem")
    per_group = (depth - 4) // 6
    for block in range(3 * per_group):
        name, raw = f"blocks.{block}", hidden
        stride = 2 if block in (per_group, 2 * per_group) else 1
        first = torch.relu(norm(raw, f"{name}.norm1"))
        middle = dropout(convolved(first, f"{name}.conv1"), rate, training)
        second = torch.relu(norm(middle, f"{name}.norm2"))
        hidden = convolved(second, f"{name}.conv2", stride=stride)
        same = hidden.shape == raw.shape
        hidden = hidden + (raw if same else convolved(raw, f"{name}.shortcut", stride=stride, padding=0))
    hidden = torch.relu(norm(hidden, "norm"))
    return hidden.mean(dim=(2, 3)) @ weights["linear.weight"].T + weights["linear.bias"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("depth", "width", "side"), [(10, 1, 9), (16, 1, 6), (10, 2, 4)])
def test_against_the_description(depth: int, width: int, side: int, training: bool) -> None:
    network = randomise(WideResNet(3, 4, depth=depth, width=width, dropout=0.0)).train(training)
    inputs = draw(3, 3, side, side, seed=9)
    expected = by_hand(network, inputs, depth=depth, training=training)
    assert torch.allclose(network(inputs), expected, rtol=0, atol=ROUNDING)


def test_dropout_lies_between_the_convolutions() -> None:
    network = randomise(WideResNet(1, 2, depth=10, width=1)).train()
    inputs = draw(4, 1, 5, 5, seed=9)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        outputs = network(inputs)
        torch.default_generator.manual_seed(3)
        expected = by_hand(network, inputs, depth=10, training=True, rate=0.3)
    assert torch.allclose(outputs, expected, rtol=0, atol=ROUNDING)
    network.eval()
    assert torch.allclose(network(inputs), by_hand(network, inputs, depth=10), rtol=0, atol=ROUNDING)


def test_the_last_normalisation_has_momentum_0_9() -> None:
    network = randomise(WideResNet(1, 1, depth=10, width=1, dropout=0.0)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    seen: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen[module] = arguments[0].detach()

    norms = {name: part for name, part in network.named_modules() if isinstance(part, nn.BatchNorm2d)}
    for norm in norms.values():
        norm.register_forward_pre_hook(note)
    network(draw(4, 1, 5, 5, seed=9))
    for name, norm in norms.items():
        momentum = 0.9 if name == "norm" else 0.1
        expected = (1 - momentum) * before[f"{name}.running_mean"] + momentum * seen[norm].mean(dim=(0, 2, 3))
        assert torch.allclose(network.state_dict()[f"{name}.running_mean"], expected, rtol=0, atol=ROUNDING)
    assert len(norms) == 7


@pytest.mark.parametrize("depth", [4, 9, 11, 12, 27])
def test_depths_that_do_not_exist(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth = {depth}, but it must be 6 n"):
        WideResNet(3, 1, depth=depth)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_the_smallest_images(side: int) -> None:
    network = WideResNet(1, 2, depth=10, width=1).eval()
    assert bool(network(torch.randn(2, 1, side, side)).isfinite().all())
