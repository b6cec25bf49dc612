"""Tables, sentences, pictures and the exported folder of a run; knows not how numbers came about."""

from perturblearn.report.export import export_run
from perturblearn.report.result import SCHEMA, Result
from perturblearn.report.table import HEADS, Row, title

__all__ = ["HEADS", "SCHEMA", "Result", "Row", "export_run", "title"]
