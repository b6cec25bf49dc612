"""Room for a tensor that is larger than memory."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from perturblearn.errors import StoreError
from perturblearn.graph import available_memory

_CHUNK = 2**24


def room_for(
    shape: Sequence[int], dtype: torch.dtype, *, memory: int | None = None, scratch: Path | None = None
) -> Tensor:
    """Room for a tensor on the CPU: in memory, or on the disk if it is large.

    Args:
        shape: at least one element.
        dtype: of the elements.
        memory: bytes up to which it is kept in memory; None for half of what is available.
        scratch: as ``folder`` of `disk_tensor`.

    Returns:
        A tensor of any values.

    Raises:
        StoreError: there is no room.
    """
    if memory is None:
        available = available_memory()
        memory = None if available is None else available // 2
    is_large = memory is not None and math.prod(shape) * dtype.itemsize > memory
    return disk_tensor(shape, dtype, scratch) if is_large else torch.empty(tuple(shape), dtype=dtype)


def disk_tensor(shape: Sequence[int], dtype: torch.dtype, folder: Path | None) -> Tensor:
    """An ordinary tensor on the CPU whose values lie in a file without a name.

    The system keeps in memory what is used and writes the rest to the disk. The file's space is taken at once and given
    back when the tensor is gone, also if the process is killed.

    Args:
        shape: at least one element.
        dtype: of the elements.
        folder: on a disk with room for it; None for the system's folder of temporary files.

    Returns:
        Zeros.

    Raises:
        StoreError: there is no room.
    """
    size = math.prod(shape) * dtype.itemsize
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Without its space a file could grow only until the disk is full, and then writing to it would kill us.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                for start in range(0, size, _CHUNK):
                    file.write(bytes(min(_CHUNK, size - start)))
                file.flush()
            room = mmap.mmap(file.fileno(), size)
    except OSError as error:
        place = tempfile.gettempdir() if folder is None else folder
        raise StoreError(
            f"cannot store {size} bytes of perturbed inputs, which do not fit into memory, in a file in {place} "
            f"({error.strerror}); free some space there, or name another folder"
        ) from error
    return torch.frombuffer(room, dtype=dtype).reshape(tuple(shape))
