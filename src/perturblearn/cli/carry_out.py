"""What commands have in common: a plan, or the work with its progress, and what is printed in the end."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from perturblearn import api
from perturblearn.cli.options import Cache, Doing, Placing, Telling
from perturblearn.cli.progress import ProgressBar
from perturblearn.experiment import MakeExecutor
from perturblearn.graph import Executor, Plan, Watcher
from perturblearn.pages import PAGE_NAME
from perturblearn.store import ArtefactStore

Found_co = TypeVar("Found_co", covariant=True)


class Prepared(Protocol[Found_co]):
    """Work that the API has validated."""

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run."""
        ...

    def run(
        self, out: Path, cache: ArtefactStore | None = None, *, force: bool = False, watch: Watcher | None = None
    ) -> Found_co:
        """Run what is not finished."""
        ...


class Result(Protocol):
    """What most commands end with."""

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


Found = TypeVar("Found")


class ManyResults(Protocol):
    """What many runs end with."""

    @property
    def failed(self) -> Sequence[Any]:
        """Those that failed."""
        ...


FoundMany = TypeVar("FoundMany", bound=ManyResults)
FoundMany_co = TypeVar("FoundMany_co", bound=ManyResults, covariant=True)
SOME_FAILED = 1
"""How a command ends of whose runs some failed, though all else is done."""


def carry_out(
    prepared: Prepared[Found],
    out: Path,
    cache: Cache,
    doing: Doing,
    telling: Telling,
    show: Callable[[Found, ProgressBar], str],
    as_json: Callable[[Found], Mapping[str, Any]],
) -> None:
    """Print the plan, or do the work and print what came out.

    Args:
        prepared: the work.
        out: where results go.
        cache, doing, telling: the command's options.
        show: the result for people.
        as_json: the result for programs.
    """
    store = api.cache_store(cache.cache_dir, cache.cache_size)
    if doing.plan:
        planned = prepared.plan(store or api.artefact_store(out), force=doing.force)
        print_json(planned.to_dict()) if telling.json else print(planned.describe())
        return
    with ProgressBar(enabled=telling.shows_progress) as bar:
        found = prepared.run(out, store, force=doing.force, watch=bar.update)
    if telling.json:
        print_json(as_json(found))
    elif not telling.quiet:
        print(show(found, bar))


def carry_out_result(prepared: Prepared[Result], out: Path, cache: Cache, doing: Doing, telling: Telling) -> None:
    """The same for work that ends with one result and its folder."""

    def show(found: Result, bar: ProgressBar) -> str:
        lines = [str(found), "", bar.summary(found.seconds), f"Results: {found.folder}"]
        return "\n".join((*lines, *report_line(found.folder)))

    carry_out(prepared, out, cache, doing, telling, show, lambda found: found.to_dict())


class ManyPrepared(Protocol[FoundMany_co]):
    """Many runs that the API has validated."""

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run."""
        ...

    def describe(self, plan: Plan) -> str:
        """The plan in short."""
        ...

    def counts(self, plan: Plan) -> Mapping[str, Any]:
        """The same as JSON values."""
        ...

    def run(
        self,
        out: Path,
        cache: ArtefactStore | None = None,
        *,
        force: bool = False,
        retry: bool = False,
        watch: Watcher | None = None,
        make_executor: MakeExecutor = Executor,
    ) -> FoundMany_co:
        """Run what is not finished."""
        ...


def carry_out_many(
    prepared: ManyPrepared[FoundMany],
    out: Path,
    cache: Cache,
    doing: Doing,
    placing: Placing,
    telling: Telling,
    *,
    retry: bool,
    show: Callable[[FoundMany], str],
    as_json: Callable[[FoundMany], Mapping[str, Any]],
) -> int:
    """The same for many runs, of which some may fail.

    Args:
        prepared: the runs.
        out: where results go.
        cache, doing, placing, telling: the command's options.
        retry: repeat runs that have failed before.
        show: the result for people.
        as_json: the result for programs.

    Returns:
        The exit code: `SOME_FAILED` if some did, though all else is done.
    """
    store = api.cache_store(cache.cache_dir, cache.cache_size)
    if doing.plan:
        plan = prepared.plan(store or api.artefact_store(out), force=doing.force)
        print_json(prepared.counts(plan)) if telling.json else print(prepared.describe(plan))
        return 0
    make_executor = placing.make_executor()
    with ProgressBar(enabled=telling.shows_progress) as bar:
        found = prepared.run(out, store, force=doing.force, retry=retry, watch=bar.update, make_executor=make_executor)
    if telling.json:
        print_json(as_json(found))
    elif not telling.quiet:
        print(show(found))
    return SOME_FAILED if found.failed else 0


def report_line(folder: Path | None) -> list[str]:
    """Where the page of a result is, or how it is had."""
    if folder is None:
        return []
    page = folder / PAGE_NAME
    return [f"Report: {page}" if page.is_file() else f"Report: {shlex.join(('perturblearn', 'report', str(folder)))}"]


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(content, allow_nan=False))
