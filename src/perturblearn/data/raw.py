"""Data as a provider returns them, before classes are chosen and values prepared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RawData:
    """Samples as read or drawn, labelled by class index.

    Args:
        inputs: (N, channels, height, width) or (N, d), uint8 or float32. uint8 means pixels 0..255. They are scaled to
            [0, 1] only after classes and limits are applied, so that a small part of a large set needs little memory.
        labels: (N,) int64, indices into ``class_names``.
        class_names: one name per class; a class need not occur among the labels.
        value_range: smallest and largest value an input may take, in scaled units; infinite if there is no bound.
        mean: the value that centring subtracts, in scaled units.
        heldout_inputs: (M, ...) inputs of the same kind; None if the data have no split.
        heldout_labels: (M,) int64; None as above.
        given_targets: (N,) int64 class indices that came with the data, or None.
        groups: (N,) int64, indices into ``group_names``; None if the data have no groups.
        heldout_groups: (M,) int64; None if there are no groups or no held-out part.
        group_names: one name per group, ascending.
        skipped: relative names of the skipped unreadable images, sorted.
    """

    inputs: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    value_range: tuple[float, float]
    mean: float
    heldout_inputs: Tensor | None = None
    heldout_labels: Tensor | None = None
    given_targets: Tensor | None = None
    groups: Tensor | None = None
    heldout_groups: Tensor | None = None
    group_names: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, Tensor))


def mean_value(inputs: Tensor) -> float:
    """Mean over all entries, in scaled units: uint8 pixels count as value / 255; 0 for an empty tensor."""
    if inputs.numel() == 0:
        return 0.0
    if inputs.dtype == torch.uint8:
        # An integer sum is exact in any order and needs no float copy of the images.
        return int(inputs.sum(dtype=torch.int64)) / inputs.numel() / 255
    return float(inputs.mean(dtype=torch.float64))


def observed_range(*parts: Tensor | None) -> tuple[float, float]:
    """Smallest and largest value over all parts in scaled units; always (0, 1) for uint8 pixels."""
    present = [part for part in parts if part is not None and part.numel() > 0]
    if not present or any(part.dtype == torch.uint8 for part in present):
        return 0.0, 1.0
    return min(float(part.min()) for part in present), max(float(part.max()) for part in present)
