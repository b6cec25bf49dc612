"""Import of the user's own code by its name, ``package.module:name``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from perturblearn.errors import ModelError
from perturblearn.seeding import reproducible


def import_object(name: str) -> Any:
    """The object that ``package.module:name`` names.

    The current folder is searched too, as by ``python -m``.

    Raises:
        ModelError: the module does not exist, importing it fails, or it does not contain the name.
    """
    path, _, attribute = name.partition(":")
    # Seeded, so that a network created while the module is imported has the same weights in every session.
    with reproducible(0):
        module = _import_module(path, wanted_by=name)
    try:
        return getattr(module, attribute)
    except AttributeError:
        place = getattr(module, "__file__", None) or "a module without a file"
        raise ModelError(
            f"{name} names {attribute}, which the module {path} ({place}) does not have; correct the name"
        ) from None


@contextmanager
def importable(source: Any) -> Iterator[None]:
    """Inside, the user's code can import and unpickle what lies in the current folder and beside its own file.

    Args:
        source: a class or function of the user's.
    """
    module = sys.modules.get(getattr(source, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    first, last = [os.getcwd()], []
    if module is not None and file:
        path = Path(file).resolve()
        # The folder from which the module's dotted name leads to the file.
        first.append(str(path.parents[module.__name__.count(".") + (path.name == "__init__.py")]))
        # Behind everything else, because the modules of a package may have the names of standard ones.
        last.append(str(path.parent))
    first = [folder for folder in first if folder not in sys.path]
    sys.path[:] = [*first, *sys.path, *last]
    importlib.invalidate_caches()  # as for the module itself
    try:
        yield
    finally:
        for folder in (*first, *last):
            with suppress(ValueError):  # the user's code may have removed it
                sys.path.remove(folder)


def _import_module(path: str, *, wanted_by: str) -> ModuleType:
    """The module with that dotted name, from Python's usual paths or from the current folder."""
    importlib.invalidate_caches()  # the file may have been written a moment ago
    try:
        try:
            return importlib.import_module(path)
        except ModuleNotFoundError as error:
            if not _is_about(error, path):
                raise
            with _current_folder_first():
                return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if _is_about(error, path):
            raise ModelError(
                f"{wanted_by} names the module {path}, but there is no module {error.name}; correct the name, or run "
                "from the folder that contains it"
            ) from None
        raise _failed(path, wanted_by, error) from error
    except Exception as error:
        raise _failed(path, wanted_by, error) from error


def describe_error(error: BaseException) -> str:
    """An exception from foreign code in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _is_about(error: ModuleNotFoundError, path: str) -> bool:
    """Whether the module itself or a package that contains it is missing, rather than something that it imports."""
    return error.name is not None and f"{path}.".startswith(f"{error.name}.")


def _failed(path: str, wanted_by: str, error: Exception) -> ModelError:
    return ModelError(f"{wanted_by} cannot be used, because importing {path} fails ({describe_error(error)}); fix it")


@contextmanager
def _current_folder_first() -> Iterator[None]:
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # the module may have removed it
            sys.path.remove(folder)
