"""A few samples of a perturbed set, as pictures show them, and their way to disk and back."""

# Safetensors and lists of tensors are not typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from perturblearn.data import Dataset
from perturblearn.perturbed import PerturbedSet
from perturblearn.results.shown_samples import saved_samples
from perturblearn.store import write_tensors

_TENSORS = ("sources", "inputs", "originals")
EXAMPLES = "examples.safetensors"
"""The file of a run's folder from which pictures are drawn."""
_MOST_NUMBERS = 2**19
"""Of all sources together: more examples of large images would make a page that opens slowly."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Samples with what was done to them.

    Args:
        sources: what was perturbed, (n, ...); zeros where g sees bare perturbations.
        inputs: what g sees, of the same shape.
        true_labels: names of the sources' classes; None for noise.
        target_labels: names of the labels that g is given; "f's outputs" where it is given these instead.
        success: whether f says the target of what g sees.
        image_shape: (channels, height, width); None where samples are no images.
        limits: least and largest value that a picture shows.
        is_bare: whether g sees perturbations alone.
        n_classes: of the data.
        name: what was done to them, where examples of several attacks or networks are shown.
        originals: the inputs that were rebuilt from the sources, of the same shape; None where none were.
    """

    sources: Tensor
    inputs: Tensor
    true_labels: tuple[str, ...] | None
    target_labels: tuple[str, ...]
    success: tuple[bool, ...]
    image_shape: tuple[int, int, int] | None
    limits: tuple[float, float]
    is_bare: bool
    n_classes: int
    name: str = ""
    originals: Tensor | None = None

    @property
    def perturbations(self) -> Tensor:
        """What was added, (n, ...)."""
        return self.inputs - self.sources

    @classmethod
    def of(cls, perturbed: PerturbedSet, data: Dataset, *, count: int = 8) -> Examples:
        """Examples of different classes.

        Args:
            perturbed: a set with its sources.
            data: names the classes and gives the shape of an image.
            count: examples at most; fewer of large inputs.
        """
        assert perturbed.sources is not None, "a set read from disk does not know its sources"
        count = max(2, min(count, _MOST_NUMBERS // max(1, perturbed.inputs[0].numel())))
        index = _choose(perturbed, data.label_values, count)
        sources, inputs = perturbed.sources[index].cpu(), perturbed.inputs[index].cpu()
        names = dict(zip(data.label_values, data.class_names, strict=True))
        truths = perturbed.true_labels
        targets = tuple(names[label] for label in perturbed.target_labels[index].tolist())
        return cls(
            sources=sources,
            inputs=inputs,
            true_labels=None if truths is None else tuple(names[label] for label in truths[index].tolist()),
            target_labels=targets if perturbed.outputs is None else ("f's outputs",) * len(targets),
            success=tuple(bool(reached) for reached in perturbed.success[index].tolist()),
            image_shape=data.image_shape,
            limits=_limits(sources, inputs, data, bare=perturbed.is_bare),
            is_bare=perturbed.is_bare,
            n_classes=len(names),
            # A set of rebuilt inputs has one for each sample, in their order.
            originals=data.inputs[index.to(data.inputs.device)].cpu() if perturbed.is_rebuilt else None,
        )

    def save(self, path: Path, *, name: str = "") -> None:
        """Write them as safetensors with what is not a tensor in the header, under a name."""
        about = {field: getattr(self, field) for field in self.__dataclass_fields__ if field not in _TENSORS}
        tensors = {field: value for field in _TENSORS if (value := getattr(self, field)) is not None}
        write_tensors(tensors, path, {"examples": json.dumps({**about, "name": name})})

    @classmethod
    def load(cls, path: Path) -> Examples:
        """What `save` has written.

        Raises:
            StoreError: the file is damaged.
        """
        with saved_samples(path, "examples") as (about, file):
            true_labels, shape, (low, high) = about["true_labels"], about["image_shape"], about["limits"]
            return cls(
                **{name: file.get_tensor(name) for name in _TENSORS if name in file.keys()},  # noqa: SIM118 - no mapping
                true_labels=None if true_labels is None else tuple(true_labels),
                target_labels=tuple(about["target_labels"]),
                success=tuple(about["success"]),
                is_bare=about["is_bare"],
                n_classes=about["n_classes"],
                name=about["name"],
                image_shape=None if shape is None else (shape[0], shape[1], shape[2]),
                limits=(low, high),
            )


def _choose(perturbed: PerturbedSet, label_values: Sequence[int], count: int) -> Tensor:
    """Positions of examples.

    Of two classes there are as many of each pair of target and true label, of more as many of each true class, and of
    noise as many of each target.
    """
    targets = perturbed.target_labels.cpu()
    truths = torch.zeros_like(targets) if perturbed.true_labels is None else perturbed.true_labels.cpu()
    if len(label_values) == 2:
        # Descending, so that the first class comes first.
        pairs = [(target, truth) for target in label_values for truth in truths.unique(sorted=True).flip(0)]
        groups = [((targets == target) & (truths == truth)).nonzero()[:, 0] for target, truth in pairs]
        return torch.cat([group[: max(1, count // len(groups))] for group in groups])[:count]
    # True classes in their order where there are any, so that the pictures differ.
    shown = targets if perturbed.true_labels is None else truths
    groups = [group for value in label_values if len(group := (shown == value).nonzero()[:, 0])]
    return torch.cat([group[: max(1, count // len(groups))] for group in groups])[:count]


def _limits(sources: Tensor, inputs: Tensor, data: Dataset, *, bare: bool) -> tuple[float, float]:
    # A bare perturbation is far smaller than the data: shown on its own scale, or it would be a grey square.
    if bare:
        size = float(inputs.abs().max()) or 1.0
        return -size, size
    low, high = data.value_range
    both = torch.cat((sources, inputs))
    return max(low, float(both.min())), min(high, float(both.max()))
