"""Perturbed sets on disk, as their users find them: opened, with the data that they were made from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perturblearn.config import DataConfig, PythonConfig
from perturblearn.errors import DataError
from perturblearn.perturbed import StoredSet

SetLike = StoredSet | str | os.PathLike[str]


def open_set(perturbed: SetLike) -> StoredSet:
    """The set, or the one in a folder."""
    return perturbed if isinstance(perturbed, StoredSet) else StoredSet(perturbed)


def require_data(stored: StoredSet, data: Any, call: str) -> None:
    """Raise a DataError where only the user has the data.

    Args:
        stored: the set.
        data: the data that were given.
        call: what to call with them.
    """
    if isinstance(stored.config.data, PythonConfig) and data is None:
        raise DataError(f"the data of {stored.folder} were handed over in Python; call {call} with the same data")


def require_same_data(stored: StoredSet, fingerprint: str | None, config: DataConfig) -> None:
    """Raise a DataError for data other than those that the set was made from.

    Args:
        stored: the set.
        fingerprint: hash of the data; None for synthetic data.
        config: what describes them.
    """
    # Synthetic data have no files that could be compared: they are what their configuration says.
    is_same = config == stored.config.data if fingerprint is None else True
    if fingerprint != stored.data_fingerprint or not is_same:
        raise DataError(
            f"these are not the data that {stored.folder} was made from ({stored.config.data.name}); give the path "
            "of the same data with --data"
        )


@contextmanager
def data_may_have_moved(stored: StoredSet, *, is_named: bool) -> Iterator[None]:
    """Tell users who named no data what to do if the set's data cannot be found or read."""
    try:
        yield
    except DataError as error:
        if is_named:
            raise
        raise DataError(f"{error}, or give the path of the data of {stored.folder} with --data") from error
