"""The convolutional network of ICLR24 for MNIST and Fashion-MNIST."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perturblearn.errors import ConfigError


class ConvNet(nn.Module):
    """A 3x3 convolution of stride 2, then stages that double the channels [ICLR24, section 5].

    A stage is h = relu(conv(x)), unpadded, then h + relu(conv(h)), padded. The remaining pixels (9 x 9 for MNIST's
    28 x 28) are averaged, and a linear layer follows. The published network has two stages, 16-128 and 128-256.
    Initialisation is torch's default.

    Args:
        input_shape: shape of one image, (channels, height, width).
        n_outputs: values per input.
        depth: number of stages, at least 1.
        width: factor for all published numbers of channels; rounded, at least one channel.

    Raises:
        ConfigError: the images are too small for that many unpadded convolutions.
    """

    def __init__(
        self, input_shape: tuple[int, int, int], n_outputs: int, *, depth: int = 2, width: float = 1.0
    ) -> None:
        super().__init__()
        _require_size(input_shape, depth)
        channels = max(1, round(16 * width))
        self.stem = nn.Conv2d(input_shape[0], channels, 3, stride=2)
        stages = []
        for number in range(depth):
            wider = max(1, round(128 * 2**number * width))
            stages.append(_Stage(channels, wider))
            channels = wider
        self.stages = nn.Sequential(*stages)
        self.linear = nn.Linear(channels, n_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, n_outputs) for images (n, channels, height, width)."""
        return self.linear(self.stages(torch.relu(self.stem(inputs))).mean(dim=(2, 3)))


class _Stage(nn.Module):
    def __init__(self, channels: int, wider: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(channels, wider, 3)
        self.refine = nn.Conv2d(wider, wider, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.widen(inputs))
        return hidden + torch.relu(self.refine(hidden))


def _require_size(input_shape: tuple[int, int, int], depth: int) -> None:
    height, width = input_shape[1:]
    # The first convolution leaves (side - 3) // 2 + 1 pixels per side, every stage removes two, and one must remain.
    deepest = (min(height, width) - 3) // 4
    if deepest < 1:
        raise ConfigError(
            f"images of {height} x {width} pixels are too small for convnet, which needs at least 7 x 7; choose the "
            "model mlp, wide_resnet or resnet18"
        )
    if depth > deepest:
        raise ConfigError(
            f"a convnet of depth {depth} is too deep for images of {height} x {width} pixels; set model.depth to "
            f"{deepest}{' or less' if deepest > 1 else ''}"
        )
