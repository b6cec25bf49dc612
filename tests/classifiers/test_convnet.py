"""The ConvNet of ICLR24 against its table, written out."""

from __future__ import annotations

import re

import pytest
import torch
from tests.classifiers.reference import ROUNDING, draw, randomise
from torch.nn.functional import conv2d

from perturblearn.classifiers import ConvNet
from perturblearn.errors import ConfigError


def conv(before: int, after: int) -> int:
    return before * after * 9 + after


def test_the_published_network_on_mnist() -> None:
    """1-16 (stride 2), 16-128, x + relu(128-128), 128-256, x + relu(256-256), 9x9 average, linear."""
    with torch.device("meta"):
        network = ConvNet((1, 28, 28), 10)
        left = network.stages(torch.relu(network.stem(torch.empty(2, 1, 28, 28))))
        assert network(torch.empty(2, 1, 28, 28)).shape == (2, 10)
    assert left.shape == (2, 256, 9, 9)
    expected = conv(1, 16) + conv(16, 128) + conv(128, 128) + conv(128, 256) + conv(256, 256) + 256 * 10 + 10
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize(
    ("shape", "depth"), [((1, 28, 28), 2), ((3, 15, 11), 2), ((2, 7, 7), 1), ((1, 19, 16), 3)], ids=str
)
def test_against_the_formulas(shape: tuple[int, int, int], depth: int) -> None:
    network = randomise(ConvNet(shape, 3, depth=depth, width=0.03))
    weights = network.state_dict()
    inputs = draw(4, *shape, seed=9)
    hidden = torch.relu(conv2d(inputs, weights["stem.weight"], weights["stem.bias"], stride=2))
    for stage in range(depth):
        name = f"stages.{stage}"
        hidden = torch.relu(conv2d(hidden, weights[f"{name}.widen.weight"], weights[f"{name}.widen.bias"]))
        refined = conv2d(hidden, weights[f"{name}.refine.weight"], weights[f"{name}.refine.bias"], padding=1)
        hidden = hidden + torch.relu(refined)
    expected = hidden.mean(dim=(2, 3)) @ weights["linear.weight"].T + weights["linear.bias"]
    outputs = network(inputs)
    assert outputs.shape == (4, 3)
    assert torch.allclose(outputs, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(("width", "channels"), [(0.5, [8, 64, 128]), (0.03, [1, 4, 8]), (1e-9, [1, 1, 1])])
def test_width_multiplies_all_channels(width: float, channels: list[int]) -> None:
    network = ConvNet((1, 12, 12), 1, width=width)
    found = [network.stem.out_channels, *(network.state_dict()[f"stages.{i}.refine.bias"].numel() for i in (0, 1))]
    assert found == channels


@pytest.mark.parametrize(
    ("side", "depth", "message"),
    [
        (6, 1, "images of 6 x 20 pixels are too small for convnet, which needs at least 7 x 7; choose the model mlp"),
        (8, 2, "a convnet of depth 2 is too deep for images of 8 x 20 pixels; set model.depth to 1"),
        (18, 10**9, "is too deep for images of 18 x 20 pixels; set model.depth to 3 or less"),
    ],
)
def test_images_too_small(side: int, depth: int, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        ConvNet((1, side, 20), 1, depth=depth, width=0.05)


@pytest.mark.parametrize(("side", "deepest"), [(7, 1), (10, 1), (11, 2), (18, 3), (19, 4)])
def test_the_deepest_that_is_allowed_works(side: int, deepest: int) -> None:
    network = ConvNet((1, side, side), 1, depth=deepest, width=0.01)
    assert bool(network(torch.randn(2, 1, side, side)).isfinite().all())
