"""Random weights for any network, and layers written out, for networks to be compared with."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from perturblearn.data import Signature

SomeModule = TypeVar("SomeModule", bound=nn.Module)

ROUNDING = 1e-9
"""An output gathers fewer than 1e5 roundings of 2^-53 of numbers below 100: 1e-9 in float64."""


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def randomise(module: SomeModule, *, seed: int = 0) -> SomeModule:
    """In float64, every parameter and running statistic random, so that none can be left out unnoticed."""
    module.double()
    with torch.no_grad():
        for number, (name, tensor) in enumerate(sorted(module.state_dict().items())):
            if not tensor.is_floating_point():
                continue
            values = draw(*tensor.shape, seed=1000 * seed + number)
            if tensor.ndim > 1:
                values /= math.sqrt(tensor[0].numel())
            # Variances are positive.
            tensor.copy_(0.5 + values.square() if name.endswith("running_var") else values)
    return module


def normalised(inputs: Tensor, norm: nn.BatchNorm2d, *, training: bool) -> Tensor:
    """(x - mean) / sqrt(variance + 1e-5) times weight plus bias, per channel; in training of the batch itself."""
    mean, variance = norm.running_mean, norm.running_var
    if training:
        mean = inputs.mean(dim=(0, 2, 3))
        variance = (inputs - mean[:, None, None]).square().mean(dim=(0, 2, 3))
    assert mean is not None
    assert variance is not None
    scaled = (inputs - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]


def signature(
    *shape: int, n_classes: int = 2, offset: float = 0.0, means: tuple[float, ...] | None = None
) -> Signature:
    channels = shape[0] if len(shape) == 3 else 1
    means = means or tuple(0.1 * (channel + 1) for channel in range(channels))
    return Signature(shape, n_classes, offset, means, tuple(0.5 + channel for channel in range(channels)))
