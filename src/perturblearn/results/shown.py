"""What people read and see of a result is made by the room `report`, which this file alone asks for it.

Results are data, and a program that reads them needs neither words nor pictures; but whoever has a result wants to
print, plot and show it. So this is the one place that imports a later room, inside functions, when something is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, overload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from perturblearn.report import (
        AuditReport,
        ReproductionReport,
        RunReport,
        RunsReport,
        SweepReport,
        TheoryReport,
        TransferReport,
    )
    from perturblearn.results.audit import Audit
    from perturblearn.results.reproduction import Reproduction
    from perturblearn.results.result import Result
    from perturblearn.results.runs import Runs
    from perturblearn.results.sweep import SweepResult
    from perturblearn.results.theory import TheoryComparison
    from perturblearn.results.transfer import TransferMatrix


class Report(Protocol):
    """What there is to read and see of a result."""

    @property
    def text(self) -> str:
        """All there is to print."""
        ...

    @property
    def html(self) -> str:
        """The same for a notebook."""
        ...

    @property
    def latex(self) -> str:
        """Its tables in LaTeX."""
        ...


class Pictured(Report, Protocol):
    """With a picture."""

    def plot(self) -> Figure:
        """The picture."""
        ...


@overload
def report_on(result: Result) -> RunReport: ...
@overload
def report_on(result: Audit) -> AuditReport: ...
@overload
def report_on(result: TransferMatrix) -> TransferReport: ...
@overload
def report_on(result: SweepResult) -> SweepReport: ...
@overload
def report_on(result: Reproduction) -> ReproductionReport: ...
@overload
def report_on(result: TheoryComparison) -> TheoryReport: ...
@overload
def report_on(result: Runs) -> RunsReport: ...
@overload
def report_on(result: Shown) -> Report: ...
def report_on(result: Shown) -> Report:
    """The words and pictures of a result."""
    from perturblearn.report import REPORTS

    return REPORTS[type(result)](result)


class Shown:
    """A result that can be printed, and shown in a notebook."""

    def __str__(self) -> str:
        return report_on(self).text

    def to_latex(self) -> str:
        """Its tables in LaTeX, for the package booktabs."""
        return report_on(self).latex

    def _repr_html_(self) -> str:
        return report_on(self).html
