"""Tables, sentences, pictures and the exported folders; knows not how numbers came about."""

from perturblearn.report.audit import Audit
from perturblearn.report.decision_maps import draw_decision_map
from perturblearn.report.export import export_run
from perturblearn.report.result import SCHEMA, Result
from perturblearn.report.table import HEADS, Row, title
from perturblearn.report.theory import TheoryComparison
from perturblearn.report.transfer import TransferMatrix

__all__ = [
    "HEADS",
    "SCHEMA",
    "Audit",
    "Result",
    "Row",
    "TheoryComparison",
    "TransferMatrix",
    "draw_decision_map",
    "export_run",
    "title",
]
