"""The data set type that everything downstream uses."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from perturblearn.config import JSON
from perturblearn.data.blocks import row_slices
from perturblearn.data.standardise import Standardisation
from perturblearn.errors import DataError
from perturblearn.store import Artefact, load_from


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled inputs with a held-out part and what is known about both.

    Two classes are labelled +1 (the first class name) and -1 (the second); more are 0 .. K-1.

    Args:
        inputs: training inputs, (N, d) flat or (N, channels, height, width), float32 or float64.
        labels: (N,) int64.
        heldout_inputs: (M, ...) inputs of the same shape that no classifier is trained on.
        heldout_labels: (M,) int64.
        value_range: smallest and largest value an input may take; infinite if there is no bound.
        class_names: one name per class, in the order of the labels.
        mean: the value that was subtracted from every input; 0 if features are standardised.
        image_shape: (channels, height, width) of one input, also if inputs are flattened; None if they are not images.
        given_targets: (N,) target labels that came with the data, for the target rule ``given``.
        groups: (N,) int64, each sample's group as an index into ``group_names``; None if the data have no groups.
        heldout_groups: (M,) int64 for the held-out part; both parts have groups or neither.
        group_names: one name per group.
        provenance: where the data came from: provider, options, content hash of the files.
        standardisation: what every feature was brought to mean 0 and deviation 1 by; None if they were not.
        model_classes: which outputs of the user's own network each class is; None if it has one output per class.
        foreign: another data set whose inputs may be perturbed instead, in the same shape and scale.

    Raises:
        DataError: a part is empty, shapes or labels do not match, or values are not finite.
    """

    inputs: Tensor
    labels: Tensor
    heldout_inputs: Tensor
    heldout_labels: Tensor
    value_range: tuple[float, float]
    class_names: tuple[str, ...]
    mean: float = 0.0
    image_shape: tuple[int, int, int] | None = None
    given_targets: Tensor | None = None
    groups: Tensor | None = None
    heldout_groups: Tensor | None = None
    group_names: tuple[str, ...] = ()
    provenance: Mapping[str, JSON] = field(default_factory=dict)
    standardisation: Standardisation | None = None
    model_classes: tuple[tuple[int, ...], ...] | None = None
    foreign: Dataset | None = None

    def __post_init__(self) -> None:
        if self.n_classes < 2:
            raise DataError(f"the data have {self.n_classes} class; at least two are needed")
        for part, inputs, labels in (
            ("training", self.inputs, self.labels),
            ("held-out", self.heldout_inputs, self.heldout_labels),
        ):
            self._check_part(part, inputs, labels)
        if self.inputs.shape[1:] != self.heldout_inputs.shape[1:]:
            raise DataError(
                f"training inputs have shape {tuple(self.inputs.shape[1:])} but held-out inputs "
                f"{tuple(self.heldout_inputs.shape[1:])}; both parts need the same shape"
            )
        if self.inputs.dtype != self.heldout_inputs.dtype:
            raise DataError(
                f"training inputs are {self.inputs.dtype} but held-out inputs {self.heldout_inputs.dtype}; "
                "give both in the same precision"
            )
        if self.given_targets is not None and self.given_targets.shape != self.labels.shape:
            raise DataError(
                f"{self.given_targets.numel()} targets for {self.n_samples} training samples; give one for each"
            )
        if (self.groups is None) != (self.heldout_groups is None):
            raise DataError("only one part of the data has groups; give the groups of the other part too")
        for part, groups, number in (
            ("training", self.groups, self.n_samples),
            ("held-out", self.heldout_groups, self.n_heldout),
        ):
            if groups is not None:
                self._check_groups(part, groups, number)

    def _check_part(self, part: str, inputs: Tensor, labels: Tensor) -> None:
        if inputs.ndim < 2 or inputs.shape[0] == 0 or inputs[0].numel() == 0:
            raise DataError(f"the {part} inputs have shape {tuple(inputs.shape)}; at least one sample is needed")
        if labels.shape != inputs.shape[:1]:
            raise DataError(
                f"{inputs.shape[0]} {part} inputs but labels of shape {tuple(labels.shape)}; give one label per input"
            )
        if not inputs.dtype.is_floating_point or labels.dtype != torch.int64:
            raise DataError(
                f"{part} inputs are {inputs.dtype} and labels {labels.dtype}; inputs must be floats and labels int64"
            )
        if not all(bool(torch.isfinite(inputs[part]).all()) for part in row_slices(inputs)):
            raise DataError(f"the {part} inputs contain NaN or infinite values; remove those samples")
        known = torch.tensor(self.label_values, device=labels.device)
        if not bool(torch.isin(labels, known).all()):
            raise DataError(
                f"{part} labels run from {int(labels.min())} to {int(labels.max())}; "
                f"{self.n_classes} classes need labels in {self.label_values}"
            )

    def _check_groups(self, part: str, groups: Tensor, number: int) -> None:
        if groups.shape != (number,):
            raise DataError(
                f"{number} {part} inputs but groups of shape {tuple(groups.shape)}; give one group per input"
            )
        if groups.dtype != torch.int64:
            raise DataError(f"the {part} groups are {groups.dtype}; give indices into group_names as int64")
        low, high = int(groups.min()), int(groups.max())
        if not 0 <= low <= high < len(self.group_names):
            raise DataError(
                f"{part} groups run from {low} to {high}, but there are {len(self.group_names)} group names; give "
                "indices into group_names, counted from 0"
            )

    @property
    def n_samples(self) -> int:
        """Training samples N."""
        return self.inputs.shape[0]

    @property
    def n_heldout(self) -> int:
        """Held-out samples."""
        return self.heldout_inputs.shape[0]

    @property
    def input_dim(self) -> int:
        """Coordinates d of one input."""
        return self.inputs[0].numel()

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes, labelled +1 and -1."""
        return self.n_classes == 2

    @property
    def label_values(self) -> list[int]:
        """The label of each class, in the order of ``class_names``."""
        return [1, -1] if self.is_binary else list(range(self.n_classes))

    def to(self, *, dtype: torch.dtype | None = None, device: str | torch.device | None = None) -> Dataset:
        """The same data on another device, or with floating-point tensors in another precision (dtype)."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype if tensor.dtype.is_floating_point else None)

        return replace(
            self,
            inputs=move(self.inputs),
            labels=move(self.labels),
            heldout_inputs=move(self.heldout_inputs),
            heldout_labels=move(self.heldout_labels),
            given_targets=None if self.given_targets is None else move(self.given_targets),
            groups=None if self.groups is None else move(self.groups),
            heldout_groups=None if self.heldout_groups is None else move(self.heldout_groups),
            foreign=None if self.foreign is None else self.foreign.to(dtype=dtype, device=device),
        )

    def with_foreign(self, other: Dataset, name: str) -> Dataset:
        """The same data, beside inputs of another data set that may be perturbed instead.

        Args:
            other: that data set; the values of its inputs are brought to what is subtracted here.
            name: what a message calls it.

        Raises:
            DataError: its inputs have another shape, or one of both has standardised features.
        """
        here, there = tuple(self.inputs.shape[1:]), tuple(other.inputs.shape[1:])
        if here != there:
            raise DataError(
                f"attack.source = 'data:{name}' has inputs of shape {there}, but f's have {here}; choose data of the "
                "same shape"
            )
        if self.standardisation is not None or other.standardisation is not None:
            raise DataError(
                f"attack.source = 'data:{name}' takes inputs of another data set, but features are standardised, each "
                "data set's by its own mean and deviation; leave out data.standardise"
            )
        shift = other.mean - self.mean
        inputs, heldout = other.inputs + shift, other.heldout_inputs + shift
        return replace(self, foreign=replace(other, inputs=inputs, heldout_inputs=heldout, mean=self.mean))

    def content_hash(self) -> str:
        """SHA-256 of all tensors, shapes and names: equal data have equal hashes, whatever their source."""
        digest = hashlib.sha256()

        def add(tensor: Tensor | None) -> None:
            if tensor is None:
                digest.update(b"none")
                return
            digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data.cast("B"))

        for tensor in (self.inputs, self.labels, self.heldout_inputs, self.heldout_labels, self.given_targets):
            add(tensor)
        digest.update(repr((self.value_range, self.class_names, self.mean, self.image_shape)).encode())
        if self.standardisation is not None:  # only then, so that other data keep the hash of earlier versions
            digest.update(repr(self.standardisation).encode())
        if self.groups is not None:  # as above
            add(self.groups)
            add(self.heldout_groups)
            digest.update(repr(self.group_names).encode())
        if self.model_classes is not None:  # as above
            digest.update(repr(self.model_classes).encode())
        return digest.hexdigest()

    def dump(self) -> Artefact:
        """The data as an artefact; infinite bounds become None, because JSON has no infinity."""
        tensors = {
            "inputs": self.inputs,
            "labels": self.labels,
            "heldout_inputs": self.heldout_inputs,
            "heldout_labels": self.heldout_labels,
        }
        optional = {
            "given_targets": self.given_targets,
            "groups": self.groups,
            "heldout_groups": self.heldout_groups,
        }
        tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
        content = {
            "value_range": [bound if math.isfinite(bound) else None for bound in self.value_range],
            "class_names": list(self.class_names),
            "group_names": list(self.group_names),
            "mean": self.mean,
            "standardisation": None if self.standardisation is None else self.standardisation.to_dict(),
            "image_shape": None if self.image_shape is None else list(self.image_shape),
            "model_classes": self.model_classes,
            "provenance": dict(self.provenance),
        }
        return Artefact(content, tensors)

    @classmethod
    def load(cls, source: Artefact | str | os.PathLike[str]) -> Dataset:
        """The data that `dump` wrote; `load_dataset` reads data of other programs.

        Args:
            source: the artefact, or the path of a file with one.

        Raises:
            StoreError: there is no such file, it is damaged, or it holds something else.
        """
        return load_from(source, "data set", cls._of)

    @classmethod
    def _of(cls, artefact: Artefact) -> Dataset:
        content: Mapping[str, Any] = artefact.content
        columns: Mapping[str, Any] = artefact.tensors
        low, high = content["value_range"]
        channels_height_width = content["image_shape"]
        standardisation, model_classes = content["standardisation"], content.get("model_classes")
        return cls(
            **columns,
            value_range=(-math.inf if low is None else low, math.inf if high is None else high),
            class_names=tuple(content["class_names"]),
            group_names=tuple(content["group_names"]),
            mean=content["mean"],
            standardisation=None if standardisation is None else Standardisation.from_dict(standardisation),
            image_shape=None if channels_height_width is None else tuple(channels_height_width),
            model_classes=None if model_classes is None else tuple(map(tuple, model_classes)),
            provenance=content["provenance"],
        )

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.inputs.shape[1:]))
        source = self.provenance.get("name", "unnamed")
        low, high = self.value_range
        groups = "" if self.groups is None else f", {len(self.group_names)} groups"
        centred = f"mean {self.mean:.4g} subtracted" if self.standardisation is None else "standardised"
        return (
            f"Dataset({source}: {self.n_samples} training + {self.n_heldout} held-out inputs of {shape}, "
            f"classes {', '.join(self.class_names)}{groups}, range [{low:.4g}, {high:.4g}], {centred})"
        )
