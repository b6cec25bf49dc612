"""Both papers' predictions beside a finished run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from perturblearn.api.comparing import compare_experiment, why_no_theory
from perturblearn.api.run import make_experiment
from perturblearn.api.stores import artefact_store, cache_store
from perturblearn.config import PythonConfig
from perturblearn.errors import ConfigError, DataError
from perturblearn.graph import Watcher
from perturblearn.report import Result, TheoryComparison
from perturblearn.report.pages import PAGE_NAME, run_page, write_page


def compare_with_theory(
    run: Result | str | os.PathLike[str],
    *,
    data: Any = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    map_limits: tuple[float, float] | None = None,
    force: bool = False,
    watch: Watcher | None = None,
) -> TheoryComparison:
    """What both papers predict of a finished run, beside the trained classifiers.

    Cosine similarity of perturbations and their prediction, agreement of f and g with fhat and ghat, numbers of the
    lazy regime, the condition of nearly orthogonal samples, limits and boundary terms where they exist.

    Args:
        run: the folder of a finished run, or its result. A run that was kept nowhere is trained again.
        data: the data, if they were handed over as objects.
        data_dir: where named data lie; by default ``PERTURBLEARN_DATA``.
        cache_dir, cache_size: the cache that the run was given, as in `learn_from_perturbations`; stages that it does
            not hold are run again.
        map_limits: least and largest coordinate of the decision map; by default it shows nearly all samples.
        force: repeat a comparison that is finished.
        watch: called with the progress of each stage.

    Returns:
        The comparison: prints as a table with sentences, plots, converts to a dict. For a run with a folder it is also
        written to the folder's ``theory``.

    Raises:
        StoreError: there is no finished run, it is damaged, or the folder cannot be written.
        DataError: the data cannot be found or are not those of the run.
        ConfigError: limits that are not in order, or a cache's size that is no size.

    Example:
        >>> result = learn_from_perturbations(overrides={"seeds": 1, "standard.loss": "identity", "controls.draws": 0})
        >>> compare_with_theory(result).summary["cosine_similarity"]["mean"] > 0.9
        True
    """
    cache = cache_store(cache_dir, cache_size)
    result = run if isinstance(run, Result) else Result.load(run)
    if isinstance(result.config.data, PythonConfig) and data is None:
        raise DataError(
            f"the data of {result.config.name} were handed over in Python; "
            "call perturblearn.compare_with_theory(run, data=...) with them"
        )
    reason = why_no_theory(result.config)
    if reason is not None:
        raise ConfigError(reason)
    experiment = make_experiment(result.config, data=data, data_dir=data_dir)
    if experiment.key != result.key:
        raise DataError(
            f"the data or the software have changed since {result.config.name} was run, or it was learned from a set "
            "on disk; run it again, for example with "
            f"'perturblearn run {(result.folder or Path('RUN')) / 'config.toml'}'"
        )
    store = None if result.folder is None else artefact_store(result.folder.parent)
    folder = None if result.folder is None else result.folder / "theory"
    where = store if cache is None else cache
    comparison = compare_experiment(experiment, where, folder=folder, map_limits=map_limits, force=force, watch=watch)
    if store is not None and result.folder is not None:
        comparison.write(store)
        if (result.folder / PAGE_NAME).is_file():
            write_page(run_page(result, result.folder), result.folder / PAGE_NAME)
    return comparison
