"""A page for the browser about a finished result."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from pathlib import Path

from perturblearn.api.options import PathLike
from perturblearn.errors import StoreError
from perturblearn.pages import (
    PAGE_NAME,
    audit_page,
    reproduction_page,
    run_page,
    sweep_page,
    transfer_page,
    write_page,
)
from perturblearn.report import Audit, Reproduction, Result, TransferMatrix
from perturblearn.report.sweep import load_sweep

KINDS: dict[str, Callable[[Path], str]] = {
    "run": lambda folder: run_page(Result.load(folder), folder),
    "reproduction": lambda folder: reproduction_page(Reproduction.load(folder), folder),
    "sweep": lambda folder: sweep_page(load_sweep(folder)),
    "audit": lambda folder: audit_page(Audit.load(folder), folder),
    "transfer matrix": lambda folder: transfer_page(TransferMatrix.load(folder), folder),
}
"""Makes the page of a folder, by the kind that its JSON file names."""
_ALL_KINDS = "a finished run, sweep, figure, audit or transfer matrix"
_FILES = ("result.json", "sweep.json", "audit.json", "transfer.json")


def write_report(folder: PathLike, *, to: PathLike | None = None) -> Path:
    """Write a page for the browser about a finished run, sweep, figure, study, audit or transfer matrix.

    The page is one file and works offline.

    Args:
        folder: the result's folder.
        to: the file to write; None for ``report.html`` in that folder.

    Returns:
        Where the page is.

    Raises:
        StoreError: there are no results in the folder, they are damaged, or the page cannot be written.

    Example:
        >>> result = learn_from_perturbations(overrides={"seeds": 1}, out="runs", report=False)
        >>> write_report(result.folder).name
        'report.html'
    """
    place = Path(folder)
    kind = _kind_of(place)
    try:
        text = KINDS[kind](place)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"the {kind} in {place} is damaged ({error!r}); make it again with --force") from None
    path = place / PAGE_NAME if to is None else Path(to)
    write_page(text, path)
    return path


def _kind_of(folder: Path) -> str:
    for name in _FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            kind = json.loads(path.read_text(encoding="utf-8"))["kind"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged ({error!r}); make these results again with --force") from None
        if not isinstance(kind, str) or kind not in KINDS:
            raise StoreError(f"{path} is of kind {kind!r}, which has no page; name the folder of {_ALL_KINDS}")
        return kind
    raise StoreError(f"{folder} has no results; name the folder of {_ALL_KINDS}{_advice(folder)}")


def _advice(folder: Path) -> str:
    """A folder that the user may have meant."""
    try:
        names = [each.name for each in folder.parent.iterdir() if any((each / name).is_file() for name in _FILES)]
    except OSError:
        return ""
    starting = [name for name in names if name.startswith(folder.name)]
    close = starting or difflib.get_close_matches(folder.name, names, n=1)
    return f"; did you mean {folder.parent / close[0]}?" if close else ""
