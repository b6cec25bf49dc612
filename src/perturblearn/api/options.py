"""How prepared work is run: where results go, what is repeated, who computes and who watches.

The public functions spell these options out as keyword arguments of their own, beside those of the experiment. They
have more than eight parameters for that reason alone: ``help()`` and every editor then show all that can be set.
Inside, the options are one value, and so are the objects that a user hands over (`UserObjects`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from perturblearn.api.executors import executor
from perturblearn.api.progress import NotebookProgress, is_in_notebook
from perturblearn.api.stores import artefact_store, cache_store
from perturblearn.api.tracking import tracker_names
from perturblearn.errors import ConfigError
from perturblearn.experiment import MakeExecutor
from perturblearn.graph import Watcher
from perturblearn.results import FigureOptions, Style
from perturblearn.store import ArtefactStore

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How prepared work is run. No option changes a number.

    Args:
        out: folder for results, for the records of runs and for the store of finished stages; None writes none of them.
        cache_dir: folder for finished stages instead of that store; None for the one named by ``PERTURBLEARN_CACHE``.
        cache_size: limit of the cache, in bytes or as text such as ``"20GB"``; None for ``PERTURBLEARN_CACHE_SIZE``.
        force: repeat what is finished.
        retry: repeat runs of a sweep or figure that failed before; otherwise they keep their error.
        report: write the page of a run into its folder, and figures where formats are left open.
        formats: what figures are written as: some of ``"png"``, ``"pdf"`` and ``"svg"``; none draws none. None for
            ``"png"``, or for none where neither a report nor a style is asked for.
        style: what figures look like: settings of matplotlib by name, a style file, or the name of a style.
        track: trackers that are handed the result; see `tracker_names`.
        executor: where stages run: ``"in_process"``, ``"ray"``, or what `perturblearn.executor` returns.
        watch: called with the progress of each stage; None for a bar in a notebook, and nothing elsewhere.

    Raises:
        ConfigError: the cache's size is not a size, no cache is named that it could limit, a tracker cannot be used, or
            there is no such format or style.
    """

    out: PathLike | None = None
    cache_dir: PathLike | None = None
    cache_size: int | str | None = None
    force: bool = False
    retry: bool = False
    report: bool = True
    formats: Sequence[str] | None = None
    style: Style | None = None
    track: str | Sequence[str] = ()
    executor: str | MakeExecutor = "in_process"
    watch: Watcher | None = None

    def __post_init__(self) -> None:
        # A wrong limit is refused at once, before data are read and networks are made.
        cache_store(self.cache_dir, self.cache_size)
        _ = self.figures
        if self.trackers and self.out is None:
            raise ConfigError(
                f"track names {', '.join(self.trackers)}, but nothing is written; name a folder of results with out"
            )

    @cached_property
    def trackers(self) -> tuple[str, ...]:
        """The trackers that are asked for, all of them installed."""
        return tracker_names(self.track)

    @cached_property
    def figures(self) -> FigureOptions:
        """Formats and style of figures.

        Raises:
            ConfigError: there is no such format or style.
        """
        open_formats = ("png",) if self.report or self.style is not None else ()
        return FigureOptions(open_formats if self.formats is None else tuple(self.formats), self.style)

    @cached_property
    def results(self) -> ArtefactStore | None:
        """The store beside the results, which are put together on its disk; None where nothing is written.

        Raises:
            StoreError: the folder cannot be written.
        """
        return None if self.out is None else artefact_store(Path(self.out))

    @cached_property
    def stages(self) -> ArtefactStore | None:
        """The store of finished stages: the cache where there is one, otherwise the store beside the results.

        Raises:
            StoreError: the folder cannot be written.
        """
        return cache_store(self.cache_dir, self.cache_size) or self.results

    @cached_property
    def watcher(self) -> Watcher | None:
        """What is called with the progress of each stage."""
        return NotebookProgress() if self.watch is None and is_in_notebook() else self.watch

    @cached_property
    def make_executor(self) -> MakeExecutor:
        """Makes the executor of a plan.

        Raises:
            ConfigError: there is no such executor, or it cannot be used here.
        """
        return executor(self.executor) if isinstance(self.executor, str) else self.executor
