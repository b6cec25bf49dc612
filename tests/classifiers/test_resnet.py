"""ResNet-18 for small images against its description, written out."""

from __future__ import annotations

import pytest
import torch
from tests.classifiers.reference import ROUNDING, draw, normalised, randomise
from torch import Tensor, nn
from torch.nn.functional import conv2d

from perturblearn.classifiers import ResNet18


def test_the_parameters_on_cifar_10() -> None:
    with torch.device("meta"):
        network = ResNet18(3, 10)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 10)
        assert network.blocks(network.stem(torch.empty(2, 3, 32, 32))).shape == (2, 512, 4, 4)
    expected, before = 3 * 64 * 9 + 2 * 64 + 512 * 10 + 10, 64
    for channels in (64, 128, 256, 512):
        expected += (before + 3 * channels) * channels * 9 + 4 * 2 * channels
        expected += 0 if before == channels else before * channels + 2 * channels
        before = channels
    # The number that is known for this network.
    assert expected == 11_173_962
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def by_hand(network: ResNet18, inputs: Tensor, *, training: bool) -> Tensor:
    """relu(x + norm(conv(relu(norm(conv(x)))))), stride on the first convolution, normalised 1x1 shortcut."""
    weights = network.state_dict()

    def step(values: Tensor, convolution: str, norm: str, *, stride: int = 1, padding: int = 1) -> Tensor:
        values = conv2d(values, weights[f"{convolution}.weight"], stride=stride, padding=padding)
        part = network.get_submodule(norm)
        assert isinstance(part, nn.BatchNorm2d)
        return normalised(values, part, training=training)

    hidden = torch.relu(step(inputs, "stem", "norm"))
    for block in range(8):
        name, raw, stride = f"blocks.{block}", hidden, 2 if block in (2, 4, 6) else 1
        hidden = torch.relu(step(raw, f"{name}.conv1", f"{name}.norm1", stride=stride))
        hidden = step(hidden, f"{name}.conv2", f"{name}.norm2")
        if stride > 1:
            raw = step(raw, f"{name}.shortcut.0", f"{name}.shortcut.1", stride=stride, padding=0)
        hidden = torch.relu(hidden + raw)
    return hidden.mean(dim=(2, 3)) @ weights["linear.weight"].T + weights["linear.bias"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("side", [4, 9])
def test_against_the_description(side: int, training: bool) -> None:
    network = randomise(ResNet18(2, 3, width=0.05)).train(training)
    inputs = draw(4, 2, side, side, seed=9)
    expected = by_hand(network, inputs, training=training)
    assert torch.allclose(network(inputs), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(("width", "channels"), [(0.05, [3, 6, 13, 26]), (1e-9, [1, 1, 1, 1])])
def test_width_multiplies_all_channels(width: float, channels: list[int]) -> None:
    state = ResNet18(1, 1, width=width).state_dict()
    assert [state[f"blocks.{block}.norm2.bias"].numel() for block in (1, 3, 5, 7)] == channels
