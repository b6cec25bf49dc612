"""Pages for a browser: each one file that holds all it shows."""

from perturblearn.pages.grid_page import audit_page, transfer_page
from perturblearn.pages.index_page import INDEX_NAME, index_page
from perturblearn.pages.page import as_data, visible, write_page
from perturblearn.pages.reproduction_page import reproduction_page
from perturblearn.pages.run_page import run_page
from perturblearn.pages.sweep_page import sweep_page

__all__ = [
    "INDEX_NAME",
    "as_data",
    "audit_page",
    "index_page",
    "reproduction_page",
    "run_page",
    "sweep_page",
    "transfer_page",
    "visible",
    "write_page",
]
