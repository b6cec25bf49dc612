"""Progress for people: a live bar on a terminal, and a line now and then where output goes to a file."""

from __future__ import annotations

import math
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from perturblearn.api import PlanProgress, ProgressLines
from perturblearn.graph import Progress as StageProgress


class ProgressBar:
    """A bar for all the work of a plan, with the time left, the running stage, its epoch and its loss.

    Args:
        enabled: whether to show it; where standard error is not a terminal, lines are written instead.
        verbose: write a line for every finished stage besides.
    """

    def __init__(self, *, enabled: bool = True, verbose: bool = False) -> None:
        is_terminal = sys.stderr.isatty()
        self._stages = 0
        self._plan = PlanProgress()
        self._lines: ProgressLines | None = None
        if enabled and (verbose or not is_terminal):
            # On a terminal rich puts what is written to standard error above the bar.
            self._lines = ProgressLines(every=math.inf if is_terminal else 10.0, verbose=verbose)
        self._bar = Progress(
            BarColumn(bar_width=12),
            TaskProgressColumn(),
            _Times(self._plan),
            # The last column gives way on a narrow terminal.
            TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
            console=Console(stderr=True),
            transient=True,
            expand=True,
            disable=not (enabled and is_terminal),
        )
        self._task = self._bar.add_task("loading", total=1.0)

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, progress: StageProgress) -> None:
        """Show how far the executor is."""
        if not progress.number:
            return
        self._stages = max(self._stages, progress.number)
        if self._lines is not None:
            self._lines(progress)
        plan = self._plan
        plan.update(progress)
        self._bar.update(
            self._task, completed=plan.share, description=f"{plan.ended}/{plan.total} {plan.stage} {plan.note}"
        )

    def summary(self, seconds: float) -> str:
        """How much ran, in one line."""
        if not self._stages:
            return "All stages were already finished; nothing had to run."
        return f"{self._stages} stages ran in {seconds:.1f} s."


class _Times(ProgressColumn):
    """Time since the start, and the time left."""

    def __init__(self, plan: PlanProgress) -> None:
        super().__init__(Column(no_wrap=True))
        self._plan = plan

    def render(self, task: Task) -> Text:
        """The times of this moment."""
        return Text(self._plan.times)
