"""Groups of samples, such as the place where an image was taken, named by integers or texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perturblearn.data.labels import as_indices
from perturblearn.errors import DataError


def group_positions(
    training: NDArray[Any], heldout: NDArray[Any] | None, *, what: str
) -> tuple[Tensor, Tensor | None, tuple[str, ...]]:
    """The groups of both parts as indices into one list of names.

    Args:
        training: (N,) integers or texts, as ``label_array`` makes them.
        heldout: (M,) of the same kind; None if there is no held-out part.
        what: what the groups are called in messages: ``"the groups in FILE"``.

    Returns:
        (N,) and (M,) int64 indices, and the names of the groups of both parts in ascending order.

    Raises:
        DataError: integers in one part and texts in the other.
    """
    parts = [training] if heldout is None else [training, heldout]
    if len({array.dtype.kind for array in parts}) > 1:
        raise DataError(f"{what} are numbers in one part and texts in the other; use the same kind in both")
    values = np.unique(np.concatenate(parts)).tolist()
    positions = [torch.from_numpy(as_indices(array, values, what=what)) for array in parts]
    return positions[0], None if heldout is None else positions[1], tuple(str(value) for value in values)
