"""A finished run beside both papers' predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.api.comparing import compare_experiment, why_no_theory
from perturblearn.api.objects import UserObjects
from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.prepared import Prepared
from perturblearn.api.run import make_experiment, write_run_page
from perturblearn.config import PythonConfig
from perturblearn.errors import ConfigError, DataError
from perturblearn.experiment import Experiment
from perturblearn.graph import Plan, Watcher, make_plan
from perturblearn.results import PAGE_NAME, Result, Style, TheoryComparison


def compare_with_theory(
    run: Result | PathLike,
    *,
    data: Any = None,
    data_dir: PathLike | None = None,
    cache_dir: PathLike | None = None,
    cache_size: int | str | None = None,
    map_limits: tuple[float, float] | None = None,
    force: bool = False,
    formats: Sequence[str] = ("png",),
    style: Style | None = None,
    watch: Watcher | None = None,
) -> TheoryComparison:
    """Compare the trained classifiers of a finished run with what both papers predict for them.

    Cosine similarity of perturbations and their prediction, agreement of f and g with fhat and ghat, numbers of the
    lazy regime, the condition of nearly orthogonal samples, limits and boundary terms where they exist.

    Args:
        run: the folder of a finished run, or its result. A result without a folder is trained again.
        data: the data, if they were handed over as objects.
        data_dir: where named data are stored; by default ``PERTURBLEARN_DATA``.
        cache_dir, cache_size: the cache of the run, as in `learn_from_perturbations`; stages that are missing there
            run again.
        map_limits: least and largest coordinate of the decision map; by default it shows nearly all samples.
        force: repeat a finished comparison.
        formats, style: of figures, as in `learn_from_perturbations`.
        watch: called with the progress of each stage.

    Returns:
        The comparison: prints as a table with sentences, plots, converts to a dict. If the run has a folder, the
        comparison is also written into its subfolder ``theory``.

    Raises:
        StoreError: there is no finished run, it is damaged, or the folder cannot be written.
        DataError: the data cannot be found or are not those of the run.
        ConfigError: the papers predict nothing for this run, the limits are not in order, or the cache's size is not a
            size.

    Example:
        >>> result = learn_from_perturbations(overrides={"seeds": 1, "standard.loss": "identity", "controls.draws": 0})
        >>> compare_with_theory(result).summary["cosine_similarity"]["mean"] > 0.9
        True
    """
    folder = run.folder if isinstance(run, Result) else Path(run)
    out = None if folder is None else folder.parent
    options = RunOptions(
        out=out, cache_dir=cache_dir, cache_size=cache_size, force=force, formats=formats, style=style, watch=watch
    )
    return prepare_comparison(run, data=data, data_dir=data_dir, map_limits=map_limits).run(options)


def prepare_comparison(
    run: Result | PathLike,
    *,
    data: Any = None,
    data_dir: PathLike | None = None,
    map_limits: tuple[float, float] | None = None,
) -> PreparedComparison:
    """What `compare_with_theory` does with these arguments, validated and not yet done."""
    result = run if isinstance(run, Result) else Result.load(run)
    if isinstance(result.config.data, PythonConfig) and data is None:
        raise DataError(
            f"the data of {result.config.name} were handed over in Python; "
            "call perturblearn.compare_with_theory(run, data=...) with the same data"
        )
    reason = why_no_theory(result.config)
    if reason is not None:
        raise ConfigError(reason)
    # What the command that made it did unasked belongs to the run too.
    attributed = {"measures.attribution": any(seed.attribution is not None for seed in result.seeds)}
    experiment = make_experiment(result.config, UserObjects(data=data), overrides=attributed, data_dir=data_dir)
    if experiment.key != result.key:
        raise DataError(
            f"the data or perturblearn have changed since {result.config.name} was run, or its perturbed set came from "
            f"disk; run it again, for example with 'perturblearn run {(result.folder or Path('RUN')) / 'config.toml'}'"
        )
    return PreparedComparison(result, experiment, map_limits)


@dataclass(frozen=True)
class PreparedComparison(Prepared[TheoryComparison]):
    """A comparison with theory that is ready to be made.

    Args:
        result: the finished run.
        experiment: the run's experiment.
        map_limits: least and largest coordinate of the decision map; None for limits that show nearly all samples.
    """

    result: Result
    experiment: Experiment
    map_limits: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """What the configuration calls the run."""
        return self.experiment.config.name

    def _computed_key(self) -> str:
        return self.experiment.key

    def plan(self, options: RunOptions) -> Plan:
        """What would run, and what is finished; a forced comparison also repeats its own finished stages."""
        experiment = self.experiment
        wanted = [*experiment.theory_stages.values(), experiment.map_stage(self.map_limits)]
        return make_plan(wanted, options.stages)

    def run(self, options: RunOptions) -> TheoryComparison:
        """Compare the run with theory, and write the comparison and the run's page if the run has a folder."""
        folder = self.result.folder
        comparison = compare_experiment(
            self.experiment,
            options.stages,
            map_limits=self.map_limits,
            force=options.force,
            watch=options.watcher,
        )
        if options.results is not None and folder is not None:
            comparison = comparison.write(options.results, folder / "theory", figures=options.figures)
            if (folder / PAGE_NAME).is_file():
                write_run_page(self.result, folder)
        return comparison
