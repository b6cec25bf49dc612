"""How far a plan is, in words: lines for logs, and a bar for notebooks."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from perturblearn.graph import Progress

_UPDATE = 0.2
"""Seconds between two updates of a bar."""
_TELLING_SHARE = 0.01
"""Share of the work from which the time left can be estimated."""


class PlanProgress:
    """How far a plan is, gathered from the progress of its stages.

    Args:
        clock: the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._number = 0
        self.ended = self.total = 0
        self.share = 0.0
        self.stage = self.note = ""

    def update(self, progress: Progress) -> bool:
        """Take in what a stage reports.

        Returns:
            Whether a plan begins with it: some commands run several, one after the other.
        """
        begins = self._number == 0 or progress.number < self._number or self.is_finished
        if begins:
            self._started, self.ended, self.share = self._clock(), 0, 0.0
        self._number, self.total = progress.number, progress.total
        self.ended += progress.together if progress.finished else 0
        self.share = max(self.share, progress.share)
        self.stage = stage_text(progress)
        self.note = f"{progress.done}/{progress.steps} {progress.note}".rstrip() if progress.steps > 1 else ""
        return begins

    @property
    def is_finished(self) -> bool:
        """Whether every stage has ended well."""
        return 0 < self.total <= self.ended

    @property
    def elapsed(self) -> float:
        """Seconds since the first stage began."""
        return self._clock() - self._started

    @property
    def times(self) -> str:
        """Time since the start, and the time left once there is something to estimate it from."""
        elapsed = self.elapsed
        if not _TELLING_SHARE <= self.share < 1:
            return clock_text(elapsed)
        return f"{clock_text(elapsed)}, about {clock_text(elapsed * (1 / self.share - 1))} left"

    def __str__(self) -> str:
        running = " ".join(part for part in (self.stage, self.note) if part)
        return f"{self.ended} of {self.total} stages, {100 * self.share:.0f} %, {self.times}; {running}"


class ProgressLines:
    """A watcher that writes a line now and then, for logs and for scripts without a terminal.

    Lines begin with ``progress:``. The first says how many stages there are, the last how long they took. Between them
    there is one every few seconds, and fewer the longer the work takes.

    Args:
        stream: where to write; None for standard error.
        every: seconds between two lines at first.
        verbose: write a line for every finished stage besides.

    Example:
        >>> import sys
        >>> result = learn_from_perturbations(overrides={"seeds": 1}, watch=ProgressLines(sys.stdout))  # doctest: +SKIP
        progress: started, 7 stages to run
        progress: finished, 7 stages in 0:01
    """

    def __init__(self, stream: TextIO | None = None, *, every: float = 10.0, verbose: bool = False) -> None:
        self._stream = stream
        self._every = every
        self._verbose = verbose
        self._plan = PlanProgress()
        self._due = 0.0

    def __call__(self, progress: Progress) -> None:
        """Take in what a stage reports, and write a line if one is due."""
        if not progress.number:
            return
        plan = self._plan
        if plan.update(progress):
            self._write(f"started, {_stages(plan.total)} to run")
            self._due = self._every
        if self._verbose and progress.finished:
            self._write(f"{finished_text(progress)}; {plan.ended} of {plan.total}")
        if plan.is_finished:
            self._write(f"finished, {_stages(plan.total)} in {clock_text(plan.elapsed)}")
        elif plan.elapsed >= self._due:
            self._write(str(plan))
            self._due = plan.elapsed + max(self._every, plan.elapsed / 20)

    def _write(self, line: str) -> None:
        with suppress(OSError):  # a full disk or a closed log must not end the work
            print(f"progress: {line}", file=self._stream or sys.stderr, flush=True)


class NotebookProgress:
    """A watcher that shows a bar below a notebook's cell. It takes no widgets, and stays in the saved notebook."""

    def __init__(self) -> None:
        self._plan = PlanProgress()
        self._handle: Any = None
        self._shown = 0.0

    def __call__(self, progress: Progress) -> None:
        """Take in what a stage reports, and bring the bar up to date."""
        if not progress.number:
            return
        begins = self._plan.update(progress)
        now = time.monotonic()
        if begins or self._plan.is_finished or now > self._shown + _UPDATE:
            self._shown = now
            self._show()

    def _show(self) -> None:
        from IPython.display import display

        shown = _Bar(self._plan)
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)


class _Bar:
    """One state of a plan, as a notebook shows it."""

    def __init__(self, plan: PlanProgress) -> None:
        self._share = plan.share
        ended = f"{_stages(plan.total)} finished in {clock_text(plan.elapsed)}"
        self._text = ended if plan.is_finished else str(plan)

    def _repr_html_(self) -> str:
        return f'<progress max="1" value="{self._share:.3f}"></progress> {html.escape(self._text)}'

    def __repr__(self) -> str:
        return self._text


def is_in_notebook() -> bool:
    """Whether this process runs the cells of a notebook."""
    ipython = sys.modules.get("IPython")  # a notebook's kernel has imported it
    return hasattr(ipython and ipython.get_ipython(), "kernel")


def stage_text(progress: Progress) -> str:
    """The stage that reports, in words."""
    stage = progress.stage
    return stage.label if stage.drawn_with is None else f"{stage.label}, seed {stage.drawn_with}"


def finished_text(progress: Progress) -> str:
    """A finished stage and how long it took, or the first of several that ran together."""
    more = f" and {progress.together - 1} more" if progress.together > 1 else ""
    each = " each" if more else ""
    return f"{stage_text(progress)}{more}: {progress.seconds:.1f} s{each}"


def clock_text(seconds: float) -> str:
    """A time as on a clock: 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _stages(count: int) -> str:
    return f"{count:,} stage{'s' * (count != 1)}"
