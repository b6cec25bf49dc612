"""Features brought to mean 0 and deviation 1, and the warning where they are far from that."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perturblearn.data.blocks import row_slices

_LARGEST, _SMALLEST = 100.0, 0.01
"""Deviations beyond which no usual learning rate and no default epsilon fits."""
_SPREAD = 100.0
"""How many times the median deviation the largest may be: where one feature outweighs all others, few count."""


@dataclass(frozen=True)
class Standardisation:
    """What was subtracted from every feature and what it was divided by; of images all values are one feature.

    Args:
        means, stds: one per feature of a vector; one in all for images.
    """

    means: tuple[float, ...]
    stds: tuple[float, ...]

    @classmethod
    def of(cls, inputs: Tensor) -> Standardisation:
        """That of a training part, (N, d) or images (N, channels, height, width); a constant feature is not divided."""
        means, stds = _moments(inputs)
        known = [std if std > 0 else 1.0 for std in stds.tolist()]
        return cls(tuple(means.tolist()), tuple(known))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Standardisation:
        """What `to_dict` gave."""
        return cls(tuple(content["means"]), tuple(content["stds"]))

    def to_dict(self) -> dict[str, Any]:
        """It as JSON values."""
        return {"means": list(self.means), "stds": list(self.stds)}

    def apply(self, inputs: Tensor) -> Tensor:
        """Standardise inputs, (n, d) or (n, ...) for images, in place, and return them."""
        return inputs.sub_(inputs.new_tensor(self.means)).div_(inputs.new_tensor(self.stds))

    def undo(self, inputs: Tensor) -> Tensor:
        """Inputs in their original units, from standardised ones (n, d), or (n, ...) for images."""
        return inputs * inputs.new_tensor(self.stds) + inputs.new_tensor(self.means)


def warn_of_scale(inputs: Tensor, *, name: str, advice: str) -> None:
    """Warn if the scale of the features makes training or the usual sizes of perturbations fail.

    Args:
        inputs: (N, d) or images; bytes are never warned of, because they are scaled to [0, 1].
        name: of the data.
        advice: what to do.
    """
    if inputs.dtype == torch.uint8 or not inputs.numel():
        return
    _, stds = _moments(inputs)
    varying = stds[(stds > 0) & stds.isfinite()]
    if not len(varying):
        return
    low, middle, high = float(varying.min()), float(varying.median()), float(varying.max())
    if _SMALLEST <= high <= min(_LARGEST, _SPREAD * middle):
        return
    run = f"run from {low:.2g} to {high:.2g}" if len(varying) > 1 else f"are {high:.2g}"
    warnings.warn(
        f"the standard deviations of the features of {name} {run}, so far from 1 or from each other that training may "
        f"fail; {advice}",
        stacklevel=3,
    )


def _moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every feature, (d,) float64; of images those of all values, (1,)."""
    n_features = inputs.shape[1] if inputs.ndim == 2 else 1
    count = inputs.numel() // n_features
    # Block by block in float64, and in two passes: the variance of large numbers is lost in a sum of their squares.
    means = torch.zeros(n_features, dtype=torch.float64)
    for rows in row_slices(inputs):
        means += inputs[rows].double().reshape(-1, n_features).sum(dim=0) / count
    squares = torch.zeros_like(means)
    for rows in row_slices(inputs):
        squares += (inputs[rows].double().reshape(-1, n_features) - means).square().sum(dim=0)
    return means, (squares / count).sqrt()
