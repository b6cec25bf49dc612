"""The wide residual network of ICLR24 for CIFAR-10."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WideResNet(nn.Module):
    """A residual network of 6 n + 4 layers in three groups of n blocks [ICLR24, section 5: WideResNet-28-10].

    A block is pre-activated: x + conv(relu(norm(dropout(conv(relu(norm(x))))))). The first block of the second and
    third groups has its stride on the *second* convolution. If the shape changes, a 1x1 convolution of the *raw* input
    takes the place of x. All convolutions have biases. The last normalisation has momentum 0.9 in torch's sense: the
    last batch contributes 0.9 to its running statistics. Initialisation is torch's default.

    Args:
        in_channels: channels of the images.
        n_outputs: values per input.
        depth: number of layers, 6 n + 4.
        width: widening factor; the groups have 16, 32 and 64 times as many channels.
        dropout: share of activations dropped between the convolutions in training.

    Raises:
        ValueError: the depth is not 6 n + 4.
    """

    def __init__(
        self, in_channels: int, n_outputs: int, *, depth: int = 28, width: int = 10, dropout: float = 0.3
    ) -> None:
        super().__init__()
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth = {depth}, but it must be 6 n + 4: 10, 16, 22, 28, ...")
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1)
        channels, blocks = 16, []
        for group in range(3):
            for number in range((depth - 4) // 6):
                stride = 2 if group and not number else 1
                blocks.append(_Block(channels, 16 * 2**group * width, stride, dropout))
                channels = 16 * 2**group * width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels, momentum=0.9)
        self.linear = nn.Linear(channels, n_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, n_outputs) for images (n, channels, height, width)."""
        return self.linear(torch.relu(self.norm(self.blocks(self.stem(inputs)))).mean(dim=(2, 3)))


class _Block(nn.Module):
    def __init__(self, channels: int, wider: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, wider, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.norm2 = nn.BatchNorm2d(wider)
        self.conv2 = nn.Conv2d(wider, wider, 3, stride=stride, padding=1)
        same = stride == 1 and channels == wider
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, wider, 1, stride=stride)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.dropout(self.conv1(torch.relu(self.norm1(inputs))))
        return self.conv2(torch.relu(self.norm2(hidden))) + self.shortcut(inputs)
