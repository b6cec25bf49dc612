"""What a provider returns, before classes are chosen and values prepared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RawData:
    """Samples as they came, labelled by class index.

    Args:
        inputs: (N, channels, height, width) or (N, d). uint8 means pixels 0..255, which preparation scales to [0, 1]
            after classes and limits are applied, so that a small part of a large set stays small; else float32.
        labels: (N,) int64, positions in ``class_names``.
        class_names: one name per class; a class need not occur among the labels.
        value_range: least and largest value an input may take, in scaled units; infinite where there is no bound.
        mean: what centring subtracts, in scaled units.
        heldout_inputs: (M, ...) inputs of the same kind; None where the data have no split of their own.
        heldout_labels: (M,) int64; None as above.
        given_targets: (N,) int64 class indices that came with the data, or None.
        groups: (N,) int64, positions in ``group_names``; None where the data name no groups.
        heldout_groups: (M,) int64; None where there are no groups or no held-out part.
        group_names: one name per group, ascending.
        skipped: relative names of the unreadable images that were left out, sorted.
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
        # An integer sum is exact and needs no float copy of the images.
        return int(inputs.sum(dtype=torch.int64)) / inputs.numel() / 255
    return float(inputs.mean(dtype=torch.float64))


def observed_range(*parts: Tensor | None) -> tuple[float, float]:
    """Least and largest value over all parts in scaled units: (0, 1) for uint8 pixels, whatever values occur."""
    present = [part for part in parts if part is not None and part.numel() > 0]
    if not present or any(part.dtype == torch.uint8 for part in present):
        return 0.0, 1.0
    return min(float(part.min()) for part in present), max(float(part.max()) for part in present)
