"""A page over all results of a folder."""

from __future__ import annotations

import os
from dataclasses import replace

from perturblearn.pages import INDEX_NAME, PAGE_NAME, index_page, write_page
from perturblearn.report.entries import Entries


def index(folder: str | os.PathLike[str] = "runs") -> Entries:
    """Write a page over the runs, sweeps, figures, studies, audits, matrices and perturbed sets of a folder.

    It is one file, ``index.html`` in that folder, that asks no network: their headline numbers and conclusions, links
    to their reports, a search, and the ticked ones side by side. What cannot be read is listed with the reason.

    Args:
        folder: where results were written to.

    Returns:
        What lies there, with the page's path; an older page is replaced.

    Raises:
        StoreError: there is no such folder, it is the folder of a single result, or it cannot be written.
    """
    found = Entries.of(folder, page=PAGE_NAME)
    path = found.folder / INDEX_NAME
    write_page(index_page(found), path)
    return replace(found, page=path)
