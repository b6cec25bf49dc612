"""What commands have in common: they print a plan, or do the work with its progress and print what came out."""

from __future__ import annotations

import gc
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from perturblearn.api import Prepared
from perturblearn.cli.options import ExecutionOptions, ProgressOptions
from perturblearn.cli.progress import ProgressBar
from perturblearn.results import PAGE_NAME

R = TypeVar("R")
SOME_FAILED = 1
"""Exit code of a sweep or figure of which some runs failed, although everything else is done."""


def execute(
    prepared: Prepared[R],
    out: Path,
    execution: ExecutionOptions,
    output: ProgressOptions,
    *,
    show: Callable[[R, ProgressBar], str],
    as_json: Callable[[R], Mapping[str, Any]],
    track: str | None = None,
) -> R | None:
    """Print the plan, or do the work and print what came out.

    Args:
        prepared: the work.
        out: where results go.
        execution, output: the command's options.
        show: the result for people.
        as_json: the result for programs.
        track: trackers that are handed the result.

    Returns:
        The result; None for a plan.
    """
    options = replace(execution.run_options(out), track=track or ())
    if execution.plan:
        plan = prepared.plan(options)
        print_json(prepared.counts(plan)) if output.json else print(prepared.describe(plan))
        return None
    if not gc.isenabled():  # perturblearn.__main__ turned it off while code was loaded, which no search need look at
        gc.freeze()
        gc.enable()
    with ProgressBar(enabled=output.shows_progress, verbose=output.verbose) as bar:
        result = prepared.run(replace(options, watch=bar.update))
    if output.json:
        print_json(as_json(result))
    elif not output.quiet:
        print(show(result, bar))
    return result


class SavedResult(Protocol):
    """A result in a folder of its own."""

    @property
    def folder(self) -> Path | None:
        """Where it lies."""
        ...

    @property
    def seconds(self) -> float:
        """Time spent."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """It as JSON values."""
        ...


def execute_one(
    prepared: Prepared[SavedResult],
    out: Path,
    execution: ExecutionOptions,
    output: ProgressOptions,
    *,
    track: str | None = None,
) -> None:
    """The same for one result: printed are its table, how much ran, its folder and its report."""

    def show(result: SavedResult, bar: ProgressBar) -> str:
        lines = [str(result), "", bar.summary(result.seconds), f"Results: {result.folder}"]
        return "\n".join((*lines, *report_line(result.folder)))

    execute(prepared, out, execution, output, show=show, as_json=lambda result: result.to_dict(), track=track)


class ManyResults(SavedResult, Protocol):
    """The result of many runs."""

    @property
    def failed(self) -> Sequence[Any]:
        """The runs that failed."""
        ...


ManyR = TypeVar("ManyR", bound=ManyResults)


def execute_many(
    prepared: Prepared[ManyR],
    out: Path,
    execution: ExecutionOptions,
    output: ProgressOptions,
    *,
    summary: Callable[[ManyR], str],
    as_json: Callable[[ManyR], Mapping[str, Any]],
    track: str | None = None,
) -> int:
    """The same for many runs, of which some may fail.

    Args:
        prepared, out, execution, output, as_json, track: as in `execute`.
        summary: the lines below the result's table.

    Returns:
        The exit code: 0, or `SOME_FAILED`.
    """

    def show(result: ManyR, _: ProgressBar) -> str:
        return "\n".join((f"{result}\n\n{summary(result)}", *report_line(result.folder)))

    result = execute(prepared, out, execution, output, show=show, as_json=as_json, track=track)
    return SOME_FAILED if result is not None and result.failed else 0


def report_line(folder: Path | None) -> list[str]:
    """Where the page of a result is, or the command that writes it."""
    if folder is None:
        return []
    page = folder / PAGE_NAME
    return [f"Report: {page}" if page.is_file() else f"Report: {shlex.join(('perturblearn', 'report', str(folder)))}"]


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(content, allow_nan=False))
