"""A page for the browser about a finished result."""

from __future__ import annotations

from pathlib import Path

from perturblearn.api.options import PathLike
from perturblearn.errors import StoreError
from perturblearn.results import PAGE_NAME, Audit, Finished, Reproduction, Result, SweepResult, TransferMatrix, load


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
    from perturblearn.pages import write_page

    place = Path(folder)
    found = load(place)
    try:
        text = _page_of(found, place)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"the {found.form.name} in {place} is damaged ({error!r}); {found.form.again}") from None
    path = place / PAGE_NAME if to is None else Path(to)
    write_page(text, path)
    return path


def _page_of(found: Finished, folder: Path) -> str:
    from perturblearn.pages import audit_page, reproduction_page, run_page, sweep_page, transfer_page

    match found:
        case Result():
            return run_page(found, folder)
        case Reproduction():
            return reproduction_page(found, folder)
        case SweepResult():
            return sweep_page(found)
        case Audit():
            return audit_page(found, folder)
        case TransferMatrix():
            return transfer_page(found, folder)
        case _:
            raise AssertionError(f"{type(found).__name__} has no page")
