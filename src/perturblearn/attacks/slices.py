"""How many samples go through a network at once."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from perturblearn.data import row_slices

IMAGES = 64
"""Images at a time on a CPU: the activations of a convolutional network, a hundred times its inputs, then stay small,
and a pass is no slower than one over more of them."""
IMAGES_ON_DEVICE = 256
"""The same on an accelerator, which needs more of them to be busy."""


def pass_slices(inputs: Tensor, block: int | None) -> Iterator[slice]:
    """Ranges of rows that cover inputs (n, ...), so many at a time, or as many as suit their shape and device."""
    if block is None and inputs.ndim == 4:
        block = IMAGES if inputs.device.type == "cpu" else IMAGES_ON_DEVICE
    return row_slices(inputs, block=block)
