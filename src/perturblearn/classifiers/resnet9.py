"""A nine-layer residual network that learns small images fast."""

from __future__ import annotations

from torch import Tensor, nn

from perturblearn.errors import ConfigError

OUTPUT_SCALE = 0.2
"""Factor of the outputs, which keeps the first losses small at high learning rates."""
LEAST_SIDE = 11
"""Pixels a side: stride 2 leaves 6 of them, the pool 3, and the unpadded convolution one."""


class ResNet9(nn.Module):
    """The nine-layer residual network of fast training on CIFAR-10 [Page, How to train your ResNet; as in FFCV].

    A layer is relu(norm(conv(x))) without a bias. 3x3 to 64 channels; 5x5 of stride 2 to 128; x + two layers; 3x3 to
    256, max pool of 2x2; x + two layers; unpadded 3x3 to 128. The largest value of each channel over all pixels and a
    linear layer without bias follow, whose outputs are multiplied by 0.2. Initialisation is torch's default.

    Args:
        input_shape: shape of one image, (channels, height, width), at least 11 pixels a side.
        n_outputs: values per input.
        width: factor for all usual numbers of channels; rounded, at least one channel.

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, input_shape: tuple[int, int, int], n_outputs: int, *, width: float = 1.0) -> None:
        super().__init__()
        channels, height, width_of_image = input_shape
        if min(height, width_of_image) < LEAST_SIDE:
            raise ConfigError(
                f"images of {height} x {width_of_image} pixels are too small for resnet9, which needs at least "
                f"{LEAST_SIDE} x {LEAST_SIDE}; choose the model mlp, wide_resnet or resnet18"
            )
        narrow, middle, wide = (max(1, round(number * width)) for number in (64, 128, 256))
        self.layers = nn.Sequential(
            _layer(channels, narrow),
            _layer(narrow, middle, kernel=5, stride=2, padding=2),
            _Residual(middle),
            _layer(middle, wide),
            nn.MaxPool2d(2),
            _Residual(wide),
            _layer(wide, middle, padding=0),
        )
        self.linear = nn.Linear(middle, n_outputs, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, n_outputs) for images (n, channels, height, width)."""
        return OUTPUT_SCALE * self.linear(self.layers(inputs).amax(dim=(2, 3)))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_layer(channels, channels), _layer(channels, channels))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.layers(inputs)


def _layer(channels: int, wider: int, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, wider, kernel, stride=stride, padding=padding, bias=False), nn.BatchNorm2d(wider), nn.ReLU()
    )
