"""Numbers, texts and byte arrays from a pickle, without executing any code in it."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perturblearn.errors import DataError


class _Dtype:
    """Stand-in for ``numpy.dtype``, which only stores the name of the type."""

    def __init__(self, code: object = None, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and the like, which do not apply to single bytes."""


class _Array:
    """Stand-in for ``numpy.ndarray``, which only stores the state."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def read_inert_pickle(pickled: bytes, *, name: str) -> Any:
    """Read a pickle of plain containers, numbers, texts and numpy arrays of bytes.

    Nothing that the file names is imported or called. The names that numpy uses to write an array are replaced by
    stand-ins; any other name is refused.

    Args:
        pickled: the file's content; texts of Python 2 are returned as bytes.
        name: the file's name in messages.

    Returns:
        The object, with arrays of unsigned bytes as numpy arrays.

    Raises:
        DataError: the pickle names anything else, is damaged, or contains an array of another type.
    """
    try:
        content = _InertUnpickler(pickled, name).load()
    except DataError:
        raise
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(f"{name} is not a readable pickle ({error}); replace it with an intact copy") from error
    return _with_arrays(content, name)


class _InertUnpickler(pickle.Unpickler):
    def __init__(self, pickled: bytes, name: str) -> None:
        super().__init__(io.BytesIO(pickled), encoding="bytes")
        self._name = name
        self._stand_ins = _make_stand_ins()

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        stand_in = self._stand_ins.get((module_name, global_name))
        if stand_in is None:
            raise DataError(
                f"{self._name} tries to run {module_name}.{global_name}, which no data need; this was refused and not "
                "executed; do not use this file, get the original"
            )
        return stand_in


def _make_stand_ins() -> dict[tuple[str, str], Callable[..., Any] | type]:
    # New subclasses and functions for every file: a pickle can set attributes on the objects it is given, and these
    # must not persist beyond it.
    array = type("_ThisArray", (_Array,), {})
    dtype = type("_ThisDtype", (_Dtype,), {})

    def reconstruct(*_: object) -> _Array:
        return array()

    def encode(text: object, encoding: object = "latin1") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise pickle.UnpicklingError("bytes in an unknown encoding")
        return text.encode("latin1")

    return {
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): reconstruct,
        ("numpy", "ndarray"): array,
        ("numpy", "dtype"): dtype,
        ("_codecs", "encode"): encode,
    }


def _with_arrays(content: object, name: str) -> Any:
    """The content with stand-ins turned into arrays, one level deep."""
    if isinstance(content, dict):
        return {key: _to_array(value, name) if isinstance(value, _Array) else value for key, value in content.items()}
    return _to_array(content, name) if isinstance(content, _Array) else content


def _to_array(stand_in: _Array, name: str) -> NDArray[np.uint8]:
    match stand_in.state:
        case (int(), tuple() as shape, _Dtype() as dtype, fortran, bytes() as content) if (
            dtype.code in ("u1", b"u1")
            and all(isinstance(size, int) and size >= 0 for size in shape)
            and math.prod(shape) == len(content)
        ):
            order = "F" if fortran else "C"
            return np.frombuffer(content, dtype=np.uint8).reshape(shape, order=order)
    raise DataError(f"{name} contains an array that is not one of unsigned bytes; replace it with an intact copy")
