"""The nine-layer residual network against its description, written out."""

from __future__ import annotations

import pytest
import torch
from tests.classifiers.reference import ROUNDING, draw, normalised, randomise
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from perturblearn.classifiers import ResNet9
from perturblearn.errors import ConfigError

LAYERS = [
    # name, channels in and out at full width, side of the kernel
    ("layers.0", 3, 64, 3),
    ("layers.1", 64, 128, 5),
    ("layers.2.layers.0", 128, 128, 3),
    ("layers.2.layers.1", 128, 128, 3),
    ("layers.3", 128, 256, 3),
    ("layers.5.layers.0", 256, 256, 3),
    ("layers.5.layers.1", 256, 256, 3),
    ("layers.6", 256, 128, 3),
]


def test_the_parameters_on_cifar_10() -> None:
    with torch.device("meta"):
        network = ResNet9((3, 32, 32), 10)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 10)
        assert network.layers(torch.empty(2, 3, 32, 32)).shape == (2, 128, 6, 6)
    expected = sum(before * after * kernel**2 + 2 * after for _, before, after, kernel in LAYERS) + 128 * 10
    assert expected == 2_274_880
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def by_hand(network: ResNet9, inputs: Tensor, *, training: bool) -> Tensor:
    weights = network.state_dict()

    def layer(values: Tensor, number: int, *, stride: int = 1, padding: int = 1) -> Tensor:
        name, *_ = LAYERS[number]
        values = conv2d(values, weights[f"{name}.0.weight"], stride=stride, padding=padding)
        norm = network.get_submodule(f"{name}.1")
        assert isinstance(norm, nn.BatchNorm2d)
        return normalised(values, norm, training=training).clamp_min(0)

    hidden = layer(layer(inputs, 0), 1, stride=2, padding=2)
    hidden = hidden + layer(layer(hidden, 2), 3)
    hidden = max_pool2d(layer(hidden, 4), 2)
    hidden = hidden + layer(layer(hidden, 5), 6)
    hidden = layer(hidden, 7, padding=0)
    return 0.2 * hidden.flatten(2).max(dim=2).values @ weights["linear.weight"].T


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("side", [11, 16])
def test_against_the_description(side: int, training: bool) -> None:
    network = randomise(ResNet9((2, side, side), 3, width=0.05)).train(training)
    inputs = draw(4, 2, side, side, seed=9)
    expected = by_hand(network, inputs, training=training)
    assert torch.allclose(network(inputs), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(("width", "channels"), [(0.05, [3, 6, 13]), (1e-9, [1, 1, 1]), (2.0, [128, 256, 512])])
def test_width_multiplies_all_channels(width: float, channels: list[int]) -> None:
    with torch.device("meta"):
        state = ResNet9((1, 28, 28), 1, width=width).state_dict()
    assert [state[f"layers.{number}.1.bias"].numel() for number in (0, 1, 3)] == channels


@pytest.mark.parametrize("side", [1, 8, 10])
def test_images_that_are_too_small_are_refused(side: int) -> None:
    with pytest.raises(ConfigError, match=f"images of {side} x 20 pixels are too small for resnet9"):
        ResNet9((1, side, 20), 2)
