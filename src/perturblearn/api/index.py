"""Results in a folder on a page, and some of them side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from perturblearn.api.options import PathLike
from perturblearn.results import PAGE_NAME

if TYPE_CHECKING:
    from perturblearn.report import Comparison, Entries


def index(folder: PathLike = "runs") -> Entries:
    """Write a page of all runs, sweeps, figures, studies, audits, matrices and perturbed sets in a folder.

    The page is one file, ``index.html`` in that folder, and works offline. It shows headline numbers and conclusions,
    links to the reports, a search, and selected results side by side. What cannot be read is listed with the reason.

    Args:
        folder: where results were written to.

    Returns:
        The results in the folder, with the page's path; an older page is replaced.

    Raises:
        StoreError: there is no such folder, it is the folder of a single result, or it cannot be written.
    """
    from perturblearn.pages import INDEX_NAME, index_page, write_page
    from perturblearn.report import Entries

    entries = Entries.of(folder, page=PAGE_NAME)
    path = entries.folder / INDEX_NAME
    write_page(index_page(entries), path)
    return replace(entries, page=path)


def compare(*folders: PathLike) -> Comparison:
    """Put finished results side by side: the settings in which they differ, and their measures.

    Args:
        folders: of runs, sweeps, figures, audits, transfer matrices or perturbed sets; at least two.

    Returns:
        The comparison: prints as a table, shows as one in a notebook, converts to a dict.

    Raises:
        ConfigError: there are fewer than two folders.
        StoreError: one of them holds no result, or cannot be read.
    """
    from perturblearn.report import Comparison

    return Comparison.of(folders, page=PAGE_NAME)
