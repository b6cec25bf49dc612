"""ResNet-18 for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResNet18(nn.Module):
    """ResNet-18 [He et al., CVPR 2016] with the usual first layer for CIFAR: 3x3, stride 1, no max pool.

    Four groups of two blocks relu(x + norm(conv(relu(norm(conv(x)))))) with 64, 128, 256 and 512 channels; the first
    block of the last three groups has stride 2 on its first convolution. If the shape changes, a normalised 1x1
    convolution takes the place of x. Convolutions have no biases. An average over all pixels and a linear layer follow.
    Initialisation is torch's default.

    Args:
        in_channels: channels of the images.
        n_outputs: values per input.
        width: factor for all usual numbers of channels; rounded, at least one channel.
    """

    def __init__(self, in_channels: int, n_outputs: int, *, width: float = 1.0) -> None:
        super().__init__()
        channels = max(1, round(64 * width))
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        blocks = []
        for group in range(4):
            for number in range(2):
                wider = max(1, round(64 * 2**group * width))
                blocks.append(_Block(channels, wider, 2 if group and not number else 1))
                channels = wider
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(channels, n_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, n_outputs) for images (n, channels, height, width)."""
        return self.linear(self.blocks(torch.relu(self.norm(self.stem(inputs)))).mean(dim=(2, 3)))


class _Block(nn.Module):
    def __init__(self, channels: int, wider: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, wider, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(wider)
        self.conv2 = nn.Conv2d(wider, wider, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(wider)
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != wider:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, wider, 1, stride=stride, bias=False), nn.BatchNorm2d(wider)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.norm1(self.conv1(inputs)))
        return torch.relu(self.norm2(self.conv2(hidden)) + self.shortcut(inputs))
