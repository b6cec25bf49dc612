"""What a network needs to know about its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from perturblearn.data.blocks import row_slices
from perturblearn.data.dataset import Dataset
from perturblearn.data.standardise import Standardisation


@dataclass(frozen=True)
class Signature:
    """Shape and scale of inputs, and the number of classes: all that a network depends on besides its configuration.

    Args:
        input_shape: shape of one input, (channels, height, width) for images, otherwise (d,).
        n_classes: number of classes K.
        offset: the value that was subtracted from the original data.
        means, stds: of the inputs after that subtraction, per channel (over all values for inputs that are not images).
        standardisation: what the original data's features were standardised by; None if they were not.
        model_classes: which outputs of the user's own network each class is; None if it has one output per class.
    """

    input_shape: tuple[int, ...]
    n_classes: int
    offset: float
    means: tuple[float, ...]
    stds: tuple[float, ...]
    standardisation: Standardisation | None = None
    model_classes: tuple[tuple[int, ...], ...] | None = None

    @property
    def black(self) -> float:
        """The value of a black pixel of images, 0 in the original data."""
        if self.standardisation is None or not self.is_image:
            return -self.offset
        return float(self.standardisation.apply(torch.zeros(1)))

    @property
    def input_dim(self) -> int:
        """Coordinates d of one input."""
        size = 1
        for length in self.input_shape:
            size *= length
        return size

    @property
    def is_image(self) -> bool:
        """Whether an input has channels, height and width."""
        return len(self.input_shape) == 3

    @classmethod
    def of(cls, data: Dataset) -> Signature:
        """The signature of a data set, its means and deviations over the training part."""
        shape = data.image_shape or tuple(data.inputs.shape[1:])
        channels = shape[0] if len(shape) == 3 else 1
        # Block by block in float64: a sum of squares in float32 loses the digits that the variance needs.
        total = data.inputs.new_zeros(channels, dtype=torch.float64)
        squares = total.clone()
        for part in row_slices(data.inputs):
            values = data.inputs[part].double().reshape(-1, channels, data.input_dim // channels)
            total += values.sum(dim=(0, 2))
            squares += values.square().sum(dim=(0, 2))
        count = data.n_samples * data.input_dim // channels
        means = total / count
        stds = (squares / count - means.square()).clamp_min(0).sqrt()
        # Dividing by 1 leaves a constant channel at its scale instead of dividing by 0.
        known = [std if std > 0 else 1.0 for std in stds.tolist()]
        scale = (data.mean, tuple(means.tolist()), tuple(known), data.standardisation)
        return cls(shape, data.n_classes, *scale, data.model_classes)

    def to_dict(self) -> dict[str, Any]:
        """The signature as JSON values."""
        content: dict[str, Any] = {
            "input_shape": list(self.input_shape),
            "n_classes": self.n_classes,
            "offset": self.offset,
            "means": list(self.means),
            "stds": list(self.stds),
        }
        # Only then, so that networks for other data keep the hash of earlier versions.
        if self.standardisation is not None:
            content["standardisation"] = self.standardisation.to_dict()
        if self.model_classes is not None:
            content["model_classes"] = [list(indices) for indices in self.model_classes]
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Signature:
        """The signature that `to_dict` wrote."""
        return cls(
            tuple(content["input_shape"]),
            content["n_classes"],
            content["offset"],
            tuple(content["means"]),
            tuple(content["stds"]),
            Standardisation.from_dict(content["standardisation"]) if "standardisation" in content else None,
            tuple(map(tuple, content["model_classes"])) if "model_classes" in content else None,
        )
