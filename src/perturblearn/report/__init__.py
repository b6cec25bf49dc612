"""Words, tables and pictures of results; knows not how numbers came about."""

from collections.abc import Callable, Mapping
from typing import Any

from perturblearn.report.audit import AuditReport
from perturblearn.report.charts import draw_decision_map
from perturblearn.report.comparison import Comparison
from perturblearn.report.entries import Entries
from perturblearn.report.reproduction import ReproductionReport
from perturblearn.report.run import RunReport
from perturblearn.report.runs import RunsReport
from perturblearn.report.sweep import SweepReport
from perturblearn.report.theory import TheoryReport
from perturblearn.report.transfer import TransferReport
from perturblearn.report.words import title
from perturblearn.results import Audit, Reproduction, Result, Runs, SweepResult, TheoryComparison, TransferMatrix

REPORTS: Mapping[type, Callable[[Any], Any]] = {
    Audit: AuditReport,
    Reproduction: ReproductionReport,
    Result: RunReport,
    Runs: RunsReport,
    SweepResult: SweepReport,
    TheoryComparison: TheoryReport,
    TransferMatrix: TransferReport,
}
"""What there is to read and see of each kind of result; see `perturblearn.results.shown`."""

__all__ = [
    "REPORTS",
    "AuditReport",
    "Comparison",
    "Entries",
    "ReproductionReport",
    "RunReport",
    "RunsReport",
    "SweepReport",
    "TheoryReport",
    "TransferReport",
    "draw_decision_map",
    "title",
]
