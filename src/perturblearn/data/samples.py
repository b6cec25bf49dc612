"""Inputs and labels in whatever Python objects they come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from perturblearn.data.images import image_array
from perturblearn.data.labels import label_array
from perturblearn.data.layout import as_inputs
from perturblearn.data.scan import HELDOUT_FOLDERS, TRAINING_FOLDERS
from perturblearn.errors import DataError

_INPUTS = ("image", "img", "images", "pixel_values", "inputs", "input", "x", "X", "data")
_LABELS = ("label", "labels", "target", "targets", "y", "class")
"""Names under which samples and tables have their inputs and labels, in the order of preference."""


@dataclass(frozen=True, eq=False)
class Samples:
    """One part of the user's data.

    Args:
        inputs: as ``as_inputs`` makes them.
        labels: (N,), as ``label_array`` makes them.
        names: of the labels 0, 1, ..., if they came with the data.
    """

    inputs: Tensor
    labels: NDArray[Any]
    names: tuple[str, ...] = ()


def read_parts(data: Any, heldout: Any) -> tuple[Samples, Samples | None]:
    """The training part and the held-out part, in any form that ``dataset_from`` takes.

    Raises:
        DataError: the form is another, or inputs and labels do not fit together.
    """
    if isinstance(data, Mapping):
        parts = {str(name).lower(): part for name, part in data.items()}
        training = next((parts[name] for name in TRAINING_FOLDERS if name in parts), None)
        if training is not None:
            found = next((parts[name] for name in HELDOUT_FOLDERS if name in parts), None)
            data, heldout = training, found if heldout is None else heldout
    return _read(data, "training"), None if heldout is None else _read(called(heldout), "held-out")


def as_array(values: Any) -> NDArray[Any]:
    """Tensors, frames or nested lists as an array.

    Raises:
        DataError: they are not of one shape.
    """
    if isinstance(values, Tensor):
        tensor = values.detach().cpu()
        # numpy has no bfloat16.
        return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(
            f"the data cannot be converted to an array ({error}); give tensors or arrays of equal shape"
        ) from error


def called(data: Any) -> Any:
    """What a function of the user's returns; everything else as it is.

    Raises:
        DataError: the function fails.
    """
    if not callable(data) or hasattr(data, "__getitem__") or isinstance(data, DataLoader):
        return data
    function: Callable[[], Any] = data
    try:
        return function()
    except Exception as error:
        name = getattr(data, "__name__", type(data).__name__)
        raise DataError(
            f"the function {name}, which should return the data, fails when it is called without arguments "
            f"({type(error).__name__}: {error}); fix it"
        ) from error


def _read(data: Any, part: str) -> Samples:
    if isinstance(data, DataLoader):
        data = data.dataset  # samples in their own order, whatever the loader shuffles
    values, labels = _columns(data, part)
    if labels is None:
        raise DataError(f"the {part} data have inputs but no labels; give a pair (inputs, labels)")
    inputs = as_inputs(as_array(values), what=f"the {part} inputs")
    array = as_array(labels)
    # A frame with one column is a column.
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 and hasattr(labels, "columns") else array
    indices = label_array(flat, what=f"the {part} labels")
    if len(inputs) != len(indices):
        raise DataError(f"{len(inputs)} {part} inputs but {len(indices)} labels; give one label per input")
    return Samples(inputs, indices, _names_in(data))


def _columns(data: Any, part: str) -> tuple[Any, Any]:
    """All inputs and all labels."""
    if _is_pair(data):
        return data
    if isinstance(data, Mapping) or hasattr(data, "columns"):
        return _of_table(data, part)
    if _is_array(data):
        raise DataError(
            f"the {part} data are a single array of shape {tuple(data.shape)} without labels; give a pair "
            "(inputs, labels)"
        )
    return _collect(data, part)


def _is_array(value: Any) -> bool:
    """Tensors, arrays, and frames and series of pandas, which need not be imported for that."""
    return isinstance(value, (Tensor, np.ndarray)) or (hasattr(value, "__array__") and hasattr(value, "shape"))


def _is_pair(data: Any) -> bool:
    """Whether these are all inputs and all labels, rather than two samples."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        return False
    values, labels = data
    if _is_array(values):
        return True
    # Lists: one label for each of more than two inputs cannot be a pair (input, label).
    return isinstance(values, list) and isinstance(labels, list) and len(values) == len(labels) > 2


def _of_table(table: Any, part: str) -> tuple[Any, Any]:
    """Inputs and labels of a mapping of columns, such as a Bunch of scikit-learn, or of a frame."""
    names = [str(name) for name in (table.keys() if isinstance(table, Mapping) else table.columns)]
    label = next((name for name in _LABELS if name in names), None)
    if label is None:
        raise DataError(
            f"the {part} data have {_listed(names)}, none of which is called {' or '.join(_LABELS)}; give a pair "
            "(inputs, labels)"
        )
    if not isinstance(table, Mapping):  # every other column of a frame is a feature
        return table.drop(columns=label), table[label]
    # scikit-learn has images flat too, but here they come with their shape.
    values = next((name for name in _INPUTS if name in names), None)
    if values is None:
        raise DataError(
            f"the {part} data have {_listed(names)}, none of which is called {' or '.join(_INPUTS)}; give a pair "
            "(inputs, labels)"
        )
    return table[values], table[label]


def _collect(data: Any, part: str) -> tuple[NDArray[Any], NDArray[Any]]:
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise DataError(
            f"the {part} data are of type {type(data).__name__}; give a Dataset, a pair (inputs, labels) of tensors or "
            "arrays, or a sequence of (input, label) pairs"
        )
    inputs: list[NDArray[Any]] = []
    labels: list[Any] = []
    for index in range(len(data)):
        given, given_label = _pair(data[index], f"{part} sample {index}")
        value, label = _one_input(given, f"{part} sample {index}"), as_array(given_label)
        if inputs and value.shape != inputs[0].shape:
            raise DataError(
                f"{part} sample {index} has shape {value.shape} but sample 0 has {inputs[0].shape}; give one shape"
            )
        inputs.append(value)
        labels.append(label)
    if not inputs:
        raise DataError(f"there are no {part} samples; give samples of at least two classes")
    if any(label.size != 1 for label in labels):
        raise DataError(f"the {part} labels are not single values; give one integer or name per sample")
    return np.stack(inputs), np.array([label.item() for label in labels])


def _pair(sample: Any, what: str) -> tuple[Any, Any]:
    """Input and label of one sample."""
    if isinstance(sample, Mapping):
        names = [str(name) for name in sample]
        label = next((name for name in _LABELS if name in names), None)
        value = next((name for name in _INPUTS if name in names), None)
        if label is None or value is None:
            lacking = _LABELS if label is None else _INPUTS
            raise DataError(
                f"{what} has {_listed(names)}, none of which is called {' or '.join(lacking)}; rename one of them, or "
                "give pairs (input, label)"
            )
        return sample[value], sample[label]
    if not isinstance(sample, (tuple, list)) or len(sample) != 2:
        raise DataError(f"{what} is not a pair (input, label) but {type(sample).__name__}; give pairs")
    return sample[0], sample[1]


def _one_input(value: Any, what: str) -> NDArray[Any]:
    # A PIL image, recognised by its attributes, so that PIL is imported only by those who use it.
    if hasattr(value, "convert") and hasattr(value, "mode"):
        return image_array(value, name=what)
    return as_array(value)


def _names_in(data: Any) -> tuple[str, ...]:
    """Names of the labels 0, 1, ... that come with a Bunch of scikit-learn or a data set of Hugging Face."""
    names: Iterable[Any] | None = None
    if isinstance(data, Mapping):
        names = data.get("target_names")
    features = getattr(data, "features", None)
    if isinstance(features, Mapping):
        label = next((features[name] for name in _LABELS if name in features), None)
        names = getattr(label, "names", None)
    return () if names is None else tuple(str(name) for name in names)


def _listed(names: Collection[str]) -> str:
    return ", ".join(list(names)[:10]) + ", ..." * (len(names) > 10)
