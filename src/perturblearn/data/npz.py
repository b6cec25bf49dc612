"""Data in a numpy .npz file."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perturblearn.data.groups import group_positions
from perturblearn.data.labels import as_indices, class_values, label_array, names_of
from perturblearn.data.layout import as_inputs
from perturblearn.data.raw import RawData, mean_value, observed_range
from perturblearn.errors import DataError

INPUTS = ("inputs", "x", "images")
LABELS = ("labels", "y")
HELDOUT_INPUTS = ("inputs_heldout", "x_test")
HELDOUT_LABELS = ("labels_heldout", "y_test")
TARGETS = ("targets",)
GROUPS = ("groups",)
HELDOUT_GROUPS = ("groups_heldout", "groups_test")


def read_npz(path: Path) -> RawData:
    """Read inputs and labels and, if present, a held-out part, targets and groups.

    Args:
        path: a file with the arrays ``inputs`` (or ``x``, ``images``) and ``labels`` (or ``y``), optionally
            ``inputs_heldout`` and ``labels_heldout`` (or ``x_test``, ``y_test``), ``targets``, and each sample's
            group: ``groups``, with a held-out part also ``groups_heldout`` (or ``groups_test``). Labels and groups are
            integers or texts. Nothing in the file is unpickled.

    Returns:
        Inputs as returned by ``as_inputs``; value range [0, 1] for bytes, otherwise the smallest and largest value that
        occur; classes in ascending order, but +1 before -1 if these are the labels.

    Raises:
        DataError: the file is not an .npz file, or arrays are missing, of different lengths, or of an unsupported type.
    """
    with _opened(path) as arrays:
        values = _pick(arrays, path, INPUTS, needed=True)
        inputs = as_inputs(values, what=f"the inputs in {path}")
        labels = label_array(_pick(arrays, path, LABELS, needed=True), what=f"the labels in {path}")
        _check_lengths(path, inputs, labels, "labels")
        classes = class_values(labels)
        heldout_inputs, heldout_labels = _heldout(arrays, path, classes, inputs)
        targets = _pick(arrays, path, TARGETS)
        given = None
        if targets is not None:
            given = label_array(targets, what=f"the targets in {path}")
            _check_lengths(path, inputs, given, "targets")
            given = torch.from_numpy(as_indices(given, classes, what=f"the targets in {path}"))
        groups, heldout_groups, group_names = _groups(arrays, path, inputs, heldout_inputs)
    return RawData(
        inputs=inputs,
        labels=torch.from_numpy(as_indices(labels, classes, what=f"the labels in {path}")),
        class_names=names_of(classes),
        value_range=observed_range(inputs, heldout_inputs),
        mean=mean_value(inputs),
        heldout_inputs=heldout_inputs,
        heldout_labels=heldout_labels,
        given_targets=given,
        groups=groups,
        heldout_groups=heldout_groups,
        group_names=group_names,
    )


def npz_has_split(path: Path) -> bool:
    """Whether the file has a held-out part, judged by the names of its arrays."""
    with _opened(path) as arrays:
        return any(name in arrays.files for name in (*HELDOUT_INPUTS, *HELDOUT_LABELS))


def npz_hash(path: Path) -> str:
    """SHA-256 of the file.

    Raises:
        DataError: the file does not exist or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the path") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        # numpy refuses to unpickle: an array of objects raises ValueError.
        with path.open("rb") as file:
            arrays: Any = np.load(file, allow_pickle=False)
            if not hasattr(arrays, "files"):
                raise DataError(f"{path} contains a single array; save inputs and labels together with numpy.savez")
            yield arrays
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a readable .npz file of plain arrays ({error}); write it with numpy.savez, without objects"
        ) from error


def _pick(arrays: Any, path: Path, names: tuple[str, ...], *, needed: bool = False) -> Any:
    present = [name for name in names if name in arrays.files]
    if len(present) > 1:
        raise DataError(f"{path} has both {present[0]} and {present[1]}; keep one of them")
    if present:
        return arrays[present[0]]
    if needed:
        present_names = ", ".join(arrays.files) or "nothing"
        raise DataError(f"{path} has no array {' or '.join(names)} but {present_names}; rename the array or add it")
    return None


def _check_lengths(path: Path, inputs: Tensor, labels: NDArray[Any], what: str) -> None:
    if len(inputs) != len(labels):
        raise DataError(f"{path} has {len(inputs)} inputs but {len(labels)} {what}; give one per input")


def _heldout(
    arrays: Any, path: Path, classes: list[Any], training: Tensor
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    values, labels = _pick(arrays, path, HELDOUT_INPUTS), _pick(arrays, path, HELDOUT_LABELS)
    if values is None and labels is None:
        return None, None
    if values is None or labels is None:
        lacking = HELDOUT_INPUTS if values is None else HELDOUT_LABELS
        raise DataError(
            f"{path} has only one half of a held-out part; add {' or '.join(lacking)}, or remove the other half"
        )
    inputs = as_inputs(values, what=f"the held-out inputs in {path}")
    if inputs.dtype != training.dtype:
        raise DataError(
            f"{path} has training inputs of {training.dtype} but held-out inputs of {inputs.dtype} (bytes are scaled "
            "to [0, 1], other numbers are not); give both in one type"
        )
    indices = label_array(labels, what=f"the held-out labels in {path}")
    _check_lengths(path, inputs, indices, "held-out labels")
    return inputs, torch.from_numpy(as_indices(indices, classes, what=f"the held-out labels in {path}"))


def _groups(
    arrays: Any, path: Path, inputs: Tensor, heldout_inputs: Tensor | None
) -> tuple[Tensor | None, Tensor | None, tuple[str, ...]]:
    values, heldout_values = _pick(arrays, path, GROUPS), _pick(arrays, path, HELDOUT_GROUPS)
    if values is None and heldout_values is None:
        return None, None, ()
    if heldout_inputs is None and heldout_values is not None:
        raise DataError(
            f"{path} has groups for a held-out part but no held-out part; add {' or '.join(HELDOUT_INPUTS)}, or "
            "remove them"
        )
    if values is None or (heldout_inputs is not None and heldout_values is None):
        lacking = GROUPS if values is None else HELDOUT_GROUPS
        raise DataError(f"{path} has groups for only one part; add {' or '.join(lacking)}, or remove the others")
    what = f"the groups in {path}"
    groups, heldout_groups = label_array(values, what=what), None
    _check_lengths(path, inputs, groups, "groups")
    if heldout_inputs is not None:
        heldout_groups = label_array(heldout_values, what=f"the held-out groups in {path}")
        _check_lengths(path, heldout_inputs, heldout_groups, "held-out groups")
    return group_positions(groups, heldout_groups, what=what)
