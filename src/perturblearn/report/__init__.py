"""Tables, sentences, pictures and the exported folder of a run; knows not how numbers came about."""

from perturblearn.report.decision_maps import draw_decision_map
from perturblearn.report.export import export_run
from perturblearn.report.result import SCHEMA, Result
from perturblearn.report.table import HEADS, Row, title
from perturblearn.report.theory import TheoryComparison

__all__ = ["HEADS", "SCHEMA", "Result", "Row", "TheoryComparison", "draw_decision_map", "export_run", "title"]
