"""Progress for people: a live bar on a terminal, and nothing where output goes to a file."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from perturblearn.graph import Progress as StageProgress


class ProgressBar:
    """A bar for all the work of a plan, with the running stage, its epoch and loss, and the remaining time.

    Args:
        enabled: whether to show it; it is never shown where standard error is not a terminal.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        console = Console(stderr=True)
        self._stages = 0
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
            disable=not (enabled and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task("loading", total=1.0, note="")

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
        stage = progress.stage
        seed = "" if stage.drawn_with is None else f" seed {stage.drawn_with}"
        epoch = f"{progress.done}/{progress.steps} {progress.note}" if progress.steps > 1 else ""
        self._bar.update(
            self._task,
            completed=progress.share,
            description=Text(f"{progress.number}/{progress.total} {stage.label}{seed}").plain,
            note=epoch,
        )

    def summary(self, seconds: float) -> str:
        """How much ran, in one line."""
        if not self._stages:
            return "All stages were already finished; nothing had to run."
        return f"{self._stages} stages ran in {seconds:.1f} s."
