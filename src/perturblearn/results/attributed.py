"""The held-out inputs that perturbations have taught g most about, as pages show them, and their way to disk."""

# Safetensors and lists of tensors are not typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from perturblearn.data import Dataset
from perturblearn.experiment import Attribution
from perturblearn.results.shown_samples import saved_samples
from perturblearn.store import write_tensors

ATTRIBUTED = "attributed.safetensors"
"""The file of a run's folder with these inputs."""


@dataclass(frozen=True, eq=False)
class AttributedInputs:
    """Held-out inputs with the parts of their class signals.

    Args:
        inputs: (n, ...), those with the largest perturbation's part first.
        true_labels: names of their classes.
        signals: by part, the class signal of each input, (n,).
        is_right: whether g classifies each correctly.
        is_right_without: whether it would without the perturbation's part.
        image_shape: (channels, height, width); None where inputs are no images.
        limits: least and largest value that a picture shows.
    """

    inputs: Tensor
    true_labels: tuple[str, ...]
    signals: Mapping[str, tuple[float, ...]]
    is_right: tuple[bool, ...]
    is_right_without: tuple[bool, ...]
    image_shape: tuple[int, int, int] | None
    limits: tuple[float, float]

    @classmethod
    def of(cls, attribution: Attribution, data: Dataset, *, count: int = 8) -> AttributedInputs:
        """Those of an attribution.

        Args:
            attribution: of g.
            data: has the held-out inputs and names the classes.
            count: inputs at most.
        """
        order = attribution.signals["perturbation"].argsort(descending=True)[:count]
        rows = attribution.rows[order]
        inputs = data.heldout_inputs[rows.to(data.heldout_inputs.device)].cpu()
        labels = data.heldout_labels[rows.to(data.heldout_labels.device)].tolist()
        names = dict(zip(data.label_values, data.class_names, strict=True))
        low, high = data.value_range
        return cls(
            inputs,
            tuple(names[label] for label in labels),
            {part: tuple(values[order].tolist()) for part, values in attribution.signals.items()},
            tuple(attribution.is_right[order].tolist()),
            tuple(attribution.is_right_without[order].tolist()),
            data.image_shape,
            (max(low, float(inputs.min())), min(high, float(inputs.max()))),
        )

    def save(self, path: Path) -> None:
        """Write them as safetensors, with what is not a tensor in the header."""
        about = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "inputs"}
        write_tensors({"inputs": self.inputs}, path, {"attributed": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> AttributedInputs:
        """What `save` has written.

        Raises:
            StoreError: the file is damaged.
        """
        with saved_samples(path, "attributed") as (about, file):
            shape, (low, high) = about["image_shape"], about["limits"]
            return cls(
                file.get_tensor("inputs"),
                tuple(about["true_labels"]),
                {part: tuple(values) for part, values in about["signals"].items()},
                tuple(about["is_right"]),
                tuple(about["is_right_without"]),
                None if shape is None else (shape[0], shape[1], shape[2]),
                (low, high),
            )
