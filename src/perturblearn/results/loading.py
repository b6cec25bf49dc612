"""Whatever lies in a folder of results."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any

from perturblearn.errors import StoreError
from perturblearn.results.audit import Audit
from perturblearn.results.finished import Finished
from perturblearn.results.reproduction import Reproduction
from perturblearn.results.result import Result
from perturblearn.results.sweep import SweepResult
from perturblearn.results.transfer import TransferMatrix

_TYPES: tuple[type[Finished], ...] = (Result, Reproduction, SweepResult, Audit, TransferMatrix)
FILES = tuple(dict.fromkeys(each.form.file for each in _TYPES))
"""Files by which a folder of results is known."""
_ALL = "a finished run, sweep, figure, audit or transfer matrix"


def load(folder: str | os.PathLike[str]) -> Finished:
    """The result that lies in a folder: a `Result`, `SweepResult`, `Reproduction`, `Audit` or `TransferMatrix`.

    Raises:
        StoreError: there are no results in the folder, they are damaged, or another version wrote them.
    """
    place = Path(folder)
    file = next((place / name for name in FILES if (place / name).is_file()), None)
    if file is None:
        raise StoreError(f"{place} has no results; name the folder of {_ALL}{_advice(place)}")
    candidates = [each for each in _TYPES if each.form.file == file.name]
    if len(candidates) > 1:
        kind = _kind_of(file)
        candidates = [each for each in candidates if each.form.kind == kind]
    if not candidates:
        raise StoreError(f"{file} is not a result of perturblearn; name the folder of {_ALL}")
    return candidates[0].load(place)


def _kind_of(file: Path) -> Any:
    """What the file says that it is; a run and a figure share a file's name."""
    try:
        return json.loads(file.read_text(encoding="utf-8")).get("kind")
    except OSError as error:
        raise StoreError(f"cannot read {file} ({error.strerror}); make it readable") from None
    except (ValueError, RecursionError, AttributeError) as error:
        raise StoreError(f"{file} is damaged ({error!r}); make these results again with --force") from None


def _advice(folder: Path) -> str:
    """The folder that may have been meant."""
    try:
        names = [each.name for each in folder.parent.iterdir() if any((each / name).is_file() for name in FILES)]
    except OSError:
        return ""
    starting = [name for name in names if name.startswith(folder.name)]
    close = starting or difflib.get_close_matches(folder.name, names, n=1)
    return f"; did you mean {folder.parent / close[0]}?" if close else ""
