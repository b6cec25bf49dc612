"""Both papers' formulas as plain loops in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def kernel(x: Tensor, z: Tensor, slope: float, bias: bool = True) -> float:
    """Phi of one pair."""
    dim = len(x)
    offset = 1.0 if bias else 0.0
    product = float(x @ z) / dim + offset
    lengths = math.sqrt((float(x @ x) / dim + offset) * (float(z @ z) / dim + offset))
    angle = math.acos(max(-1.0, min(1.0, product / lengths)))
    return (1 + slope**2) / 2 - (1 - slope) ** 2 * angle / (2 * math.pi)


def fhat(x: Tensor, y: Tensor, z: Tensor, slope: float, added: float = 0.0) -> Tensor:
    """The standard prediction; `added` is the trained bias's +1."""
    return torch.tensor(
        [
            sum(
                float(y[n]) * kernel(x[n], point, slope) * (float(x[n] @ point) + added) for n in range(len(x))
            ) / len(x)
            for point in z
        ],
        dtype=torch.float64,
    )  # fmt: skip


def direction(x: Tensor, y: Tensor, at: Tensor, slope: float) -> Tensor:
    """t at some points."""
    rows = []
    for point in at:
        row = torch.zeros_like(point)
        for k in range(len(x)):
            row = row + float(y[k]) * kernel(point, x[k], slope) * x[k]
        rows.append(row / len(x))
    return torch.stack(rows)


def ghat(perturbed: Tensor, directions: Tensor, offsets: Tensor, z: Tensor, slope: float) -> Tensor:
    """(1/N) sum_n Phi(x'_n, z) (<v_n, z> + o_n)."""
    return torch.tensor(
        [
            sum(
                kernel(perturbed[n], point, slope) * (float(directions[n] @ point) + float(offsets[n]))
                for n in range(len(perturbed))
            ) / len(perturbed)
            for point in z
        ],
        dtype=torch.float64,
    )  # fmt: skip


def noise(count: int, dim: int, seed: int) -> tuple[Tensor, Tensor]:
    """Uniform noise in [-1, 1] with random labels of both classes, float64."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(count, dim, generator=generator, dtype=torch.float64) - 1
    y = 2 * torch.randint(2, (count,), generator=generator) - 1
    y[0], y[1] = 1, -1
    return x, y


def normal(*shape: int, seed: int) -> Tensor:
    """N(0, 1) draws in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
