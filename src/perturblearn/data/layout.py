"""Conversion of arrays to inputs: position of the channels and type of the values."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perturblearn.errors import DataError

CHANNELS = (1, 3)


def as_inputs(array: NDArray[Any], *, what: str) -> Tensor:
    """An array of samples as inputs.

    Args:
        array: (N, d), (N, height, width), or four dimensions with 1 or 3 channels second or last. Channels are
            assumed to be second if both or neither fit.
        what: what the array is called in messages: ``"inputs in FILE"``.

    Returns:
        (N, d) or (N, channels, height, width); uint8 stays uint8, everything else becomes float32.

    Raises:
        DataError: the number of dimensions differs, or entries are not numbers.
    """
    if array.dtype.kind == "O":
        # Columns of different types, as data frames have them.
        with suppress(ValueError, TypeError):
            array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} are of type {array.dtype}; give numbers")
    if array.ndim not in (2, 3, 4):
        raise DataError(
            f"{what} have shape {array.shape}; give (samples, dimension), (samples, height, width) or "
            "(samples, channels, height, width)"
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in CHANNELS and array.shape[3] in CHANNELS:
        array = array.transpose(0, 3, 1, 2)
    kind = np.uint8 if array.dtype == np.uint8 else np.float32
    # Values beyond float32 become infinite, which `Dataset` refuses with its own message.
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.array(array, dtype=kind, order="C"))
