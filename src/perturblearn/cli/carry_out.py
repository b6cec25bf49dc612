"""What commands have in common: a plan, or the work with its progress, and what is printed in the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from perturblearn import api
from perturblearn.cli.options import Cache, Doing, Telling
from perturblearn.cli.progress import ProgressBar
from perturblearn.graph import Plan, Watcher
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
        return f"{found}\n\n{bar.summary(found.seconds)}\nResults: {found.folder}"

    carry_out(prepared, out, cache, doing, telling, show, lambda found: found.to_dict())


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(content, allow_nan=False))
