"""Pages for a browser: each one file that holds all it shows."""

from perturblearn.report.pages.grid_page import audit_page, transfer_page
from perturblearn.report.pages.page import PAGE_NAME, as_data, render, visible, write_page
from perturblearn.report.pages.reproduction_page import reproduction_page
from perturblearn.report.pages.run_page import run_page
from perturblearn.report.pages.sweep_page import sweep_page

__all__ = [
    "PAGE_NAME",
    "as_data",
    "audit_page",
    "render",
    "reproduction_page",
    "run_page",
    "sweep_page",
    "transfer_page",
    "visible",
    "write_page",
]
