"""Conversion of labels to class indices, and the selection of classes by name or index."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perturblearn.config.data import OutputsOfClasses
from perturblearn.errors import DataError

SIGN_NAMES = ("+1", "-1")


def label_array(values: Any, *, what: str) -> NDArray[Any]:
    """Labels as a flat array of int64 or of strings.

    Args:
        values: integers, whole floats, booleans or strings, in one dimension; also as an array of objects.
        what: what the labels are called in messages: ``"labels of FILE"``.

    Raises:
        DataError: the shape or type differs, or floats are not whole.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(f"{what} have shape {array.shape}; give one per sample, in one dimension")
    if array.dtype.kind == "O":
        array = _typed(array.tolist(), array, what)
    if array.dtype.kind in "UST":
        return array.astype(np.str_)
    if array.dtype.kind in "biu":
        return array.astype(np.int64)
    if array.dtype.kind == "f":
        if not bool(np.all(np.isfinite(array)) and np.all(array == np.round(array))):
            raise DataError(f"{what} are floats that are not whole numbers; give integers or names")
        return array.astype(np.int64)
    raise DataError(f"{what} are of type {array.dtype}; give integers or names")


def _typed(values: list[Any], array: NDArray[Any], what: str) -> NDArray[Any]:
    """Labels of an array of objects, as data frames have them, in an array of their own type."""
    if any(map(_is_missing, values)):
        raise DataError(f"{what} have missing values; remove those samples")
    n_names = sum(isinstance(value, (str, bytes)) for value in values)
    if 0 < n_names < len(values):
        raise DataError(f"{what} are partly names and partly numbers; give integers or names")
    is_plain = all(isinstance(value, (str, bytes, int, float, np.generic)) for value in values)
    return np.array(values) if is_plain else array


def _is_missing(value: Any) -> bool:
    # Those of pandas are known by their names, so that it need not be imported.
    is_nan = isinstance(value, float) and math.isnan(value)
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def class_values(labels: NDArray[Any]) -> list[Any]:
    """The distinct labels in the order of the classes: ascending, but +1 before -1 if there are no others."""
    values = np.unique(labels).tolist()
    return [1, -1] if values == [-1, 1] else values


def names_of(values: Sequence[Any]) -> tuple[str, ...]:
    """Class names for distinct labels: the labels as text, signed for +1 and -1."""
    return SIGN_NAMES if list(values) == [1, -1] else tuple(str(value) for value in values)


def as_indices(labels: NDArray[Any], values: Sequence[Any], *, what: str) -> NDArray[np.int64]:
    """The index of each label in ``values``.

    Raises:
        DataError: a label is not among the values.
    """
    position = {value: index for index, value in enumerate(values)}
    unknown = next((label for label in np.unique(labels).tolist() if label not in position), None)
    if unknown is not None:
        listed = ", ".join(names_of(values))
        raise DataError(
            f"{what} contain {unknown!r}, which is not a class of the training data; the classes are {listed}"
        )
    return np.array([position[label] for label in labels.tolist()], dtype=np.int64)


def choose_classes(names: Sequence[str], wanted: Sequence[str] | None) -> list[int]:
    """The indices of the chosen classes, in the given order.

    Args:
        names: all class names.
        wanted: names, or indices as text if no name is equal to it; None means all classes.

    Raises:
        DataError: an entry is neither, or two entries mean the same class.
    """
    if wanted is None:
        return list(range(len(names)))
    chosen: list[int] = []
    for entry in wanted:
        index = _find_class(names, entry)
        if index in chosen:
            raise DataError(f"classes = {list(wanted)} names the class {names[index]!r} twice; name each once")
        chosen.append(index)
    return chosen


def choose_outputs(
    names: Sequence[str], chosen: Sequence[str], wanted: OutputsOfClasses | None
) -> tuple[tuple[int, ...], ...] | None:
    """The outputs of each chosen class, in their order.

    Args:
        names: all class names.
        chosen: those that are kept.
        wanted: outputs by the name of a class; None if nothing is said of them.

    Raises:
        DataError: a name is none of a class, or a chosen class has no outputs.
    """
    if wanted is None:
        return None
    outputs = dict(wanted)
    for name in outputs:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"the classes are {', '.join(names)}"
            raise DataError(f"model_classes names the class {name!r}, which these data do not have; {advice}")
    missing = next((name for name in chosen if name not in outputs), None)
    if missing is not None:
        raise DataError(f"model_classes has no outputs for the class {missing!r}; add them, or choose other classes")
    return tuple(outputs[name] for name in chosen)


def _find_class(names: Sequence[str], entry: str) -> int:
    if entry in names:
        return list(names).index(entry)
    try:
        index = int(entry)
    except ValueError:
        index = -1
    if not 0 <= index < len(names):
        listed = ", ".join(
            name if name == str(position) else f"{name} ({position})" for position, name in enumerate(names)
        )
        raise DataError(f"there is no class {entry!r} in these data; choose among {listed}")
    return index
