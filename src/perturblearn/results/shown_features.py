"""Features as figures and pages show them, and their way to disk."""

# Safetensors and lists of tensors are not typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from perturblearn.data import Dataset
from perturblearn.experiment import PicturedFeatures
from perturblearn.results.shown_samples import saved_samples
from perturblearn.store import write_tensors

FEATURES: Mapping[str, str] = {"linear-features": "Linear features", "kernel-features": "Features of f by eigenvalue"}
"""Files of a run's folder with features, without their ending, and what they are called."""


@dataclass(frozen=True, eq=False)
class ShownFeatures:
    """Features of a run's first seed.

    Args:
        patterns: direction in which each rises fastest, (p, d).
        names: of each, in a few words.
        shares: of the squared length of f's gradient, of the perturbations and of g's gradient along each.
        image_shape: (channels, height, width); None where inputs are no images.
    """

    patterns: Tensor
    names: tuple[str, ...]
    shares: Mapping[str, tuple[float, ...]]
    image_shape: tuple[int, int, int] | None

    @classmethod
    def of(cls, pictured: PicturedFeatures, data: Dataset) -> ShownFeatures:
        """Those of a stage, with the shape of an image."""
        return cls(pictured.patterns, pictured.names, pictured.shares, data.image_shape)

    @property
    def size(self) -> float:
        """The largest value of a pattern, either way; never 0."""
        return float(self.patterns.abs().max()) or 1.0

    def save(self, path: Path) -> None:
        """Write them as safetensors, with what is not a tensor in the header."""
        about = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "patterns"}
        write_tensors({"patterns": self.patterns}, path, {"features": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> ShownFeatures:
        """What `save` has written.

        Raises:
            StoreError: the file is damaged.
        """
        with saved_samples(path, "features") as (about, file):
            shape = about["image_shape"]
            return cls(
                file.get_tensor("patterns"),
                tuple(about["names"]),
                {party: tuple(values) for party, values in about["shares"].items()},
                None if shape is None else (shape[0], shape[1], shape[2]),
            )
