"""Tables, sentences, pictures and the exported folders; knows not how numbers came about."""

from perturblearn.report.audit import Audit
from perturblearn.report.charts import draw_decision_map
from perturblearn.report.entries import Entries, Entry, Unread
from perturblearn.report.export import export_run, first_examples
from perturblearn.report.points import PointRow, ShownPanel, point_rows
from perturblearn.report.reproduction import FailedRun, Reproduction
from perturblearn.report.result import SCHEMA, Result
from perturblearn.report.rows import check_column, select
from perturblearn.report.runs import Runs, known_columns, rows_of
from perturblearn.report.sweep import FinishedSweep, SweepResult, load_sweep
from perturblearn.report.table import HEADS, Row, title
from perturblearn.report.theory import TheoryComparison
from perturblearn.report.transfer import TransferMatrix

__all__ = [
    "HEADS",
    "SCHEMA",
    "Audit",
    "Entries",
    "Entry",
    "FailedRun",
    "FinishedSweep",
    "PointRow",
    "Reproduction",
    "Result",
    "Row",
    "Runs",
    "ShownPanel",
    "SweepResult",
    "TheoryComparison",
    "TransferMatrix",
    "Unread",
    "check_column",
    "draw_decision_map",
    "export_run",
    "first_examples",
    "known_columns",
    "load_sweep",
    "point_rows",
    "rows_of",
    "select",
    "title",
]
