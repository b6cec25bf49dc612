"""A paper's figure made again, beside the published one."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perturblearn.api.commands import command
from perturblearn.api.executors import executor as named_executor
from perturblearn.api.many import RunningMany
from perturblearn.api.stores import artefact_store, cache_store
from perturblearn.config import TwoLayerConfig
from perturblearn.errors import ConfigError
from perturblearn.experiment import Experiment, MakeExecutor, Outcome, Point, plan_together, run_together, summarise
from perturblearn.graph import AnyStage, Executor, Plan, Watcher
from perturblearn.papers import ALL, SCALES, Analysis, Figure, FigurePoint, Study
from perturblearn.report import FailedRun, Reproduction, ShownPanel, draw_map_of, point_rows
from perturblearn.report.examples import Examples
from perturblearn.report.figures import draw_examples
from perturblearn.report.result import numbers_of
from perturblearn.store import ArtefactStore

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

_OWN_OPTIONS = {
    "seeds": "the option seeds says how many there are",
    "name": "its folder is named by the figure",
    "controls.draws": "controls are those of the default setting",
}
"""Keys of a configuration that a figure has something else for."""
CONTROLLED = ("perturbation_accuracy", "unperturbed_control", "permuted_control")
"""What is said of the default setting."""


def reproduce(
    name: str,
    *,
    seeds: int | Sequence[int] = 3,
    scale: str = "quick",
    panels: Sequence[int] | None = None,
    curves: str | None = None,
    most: Mapping[str, float] | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    retry: bool = False,
    executor: str | MakeExecutor = "in_process",
    watch: Watcher | None = None,
) -> Reproduction:
    """Run a figure's experiments and put every point beside the published one.

    Args:
        name: the figure's, such as ``neurips2024/shifted_gauss_a``; `perturblearn.papers.ALL` has all.
        seeds: of every point.
        scale: ``full``, the paper's problem, or ``quick``, a smaller one of the same kind, whose points are shown
            beside the published ones but not judged by them.
        panels: numbers of panels, counted from 1; None for all.
        curves: one of the figure's ways to compute it, such as ``limit``; None for all.
        most: largest values of varied settings, ``{"n_adv": 2500}``; points beyond are left out.
        overrides: keys of a configuration that are to differ from the paper's, ``{"attack.products": "bfloat16"}``;
            points of another problem are shown and not judged.
        data_dir: where named data lie or are downloaded to; by default ``PERTURBLEARN_DATA``.
        out: folder for the figure's own folder, the records of its runs and the store of finished stages; None writes
            none of them.
        cache_dir, cache_size: of a cache in place of that store, and its limit; see `learn_from_perturbations`.
        force: repeat runs and stages that are finished.
        retry: repeat runs that have failed before; otherwise they keep their error.
        executor: where stages run: ``"in_process"``, ``"ray"``, or what `perturblearn.executor` gives. The numbers
            are the same.
        watch: called with the progress of each stage.

    Returns:
        The reproduction: prints a line per panel, plots, converts to a dict.

    Raises:
        ConfigError: there is no such figure, panel, curve, scale or setting.
        DataError: the data's files cannot be found or read.
        StoreError: a folder or the records cannot be written.

    Example:
        >>> found = reproduce("neurips2024/shifted_gauss_a", panels=[5], seeds=1)
        >>> [row.x for row in found.rows if row.measure == "agreement"]
        [0.0, 0.25, 0.75, 0.99]
    """
    cache = cache_store(cache_dir, cache_size)
    prepared = prepare_reproduction(
        name, seeds=seeds, scale=scale, panels=panels, curves=curves, most=most, overrides=overrides, data_dir=data_dir
    )
    make_executor = named_executor(executor) if isinstance(executor, str) else executor
    return prepared.run(out, cache, force=force, retry=retry, watch=watch, make_executor=make_executor)


def prepare_reproduction(
    name: str,
    *,
    seeds: int | Sequence[int] = 3,
    scale: str = "quick",
    panels: Sequence[int] | None = None,
    curves: str | None = None,
    most: Mapping[str, float] | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> RunningReproduction:
    """What `reproduce` does with these arguments, validated and not yet done."""
    if scale not in SCALES:
        raise ConfigError(f"scale = {scale!r}, but it must be one of {', '.join(SCALES)}")
    figure = _figure(name).at(scale)
    for panel in panels or ():
        if not 1 <= panel <= len(figure.panels):
            raise ConfigError(f"panel = {panel}, but {name} has panels from 1 to {len(figure.panels)}; choose one")
    if panels is not None and not panels:
        raise ConfigError("panels is empty; name at least one, or leave it out for all")
    if curves is not None and curves not in figure.ways:
        known = ", ".join(filter(None, figure.ways))
        advice = f"{name} has {known}; choose one of these" if known else f"{name} is computed in one way; leave it out"
        raise ConfigError(f"curves = {curves!r}, but {advice}")
    varied = {setting for panel in figure.panels for setting in panel.varied}
    for setting in most or {}:
        if setting not in varied:
            raise ConfigError(
                f"{setting} is not varied in {name}, so nothing can be left out by it; choose one of "
                f"{', '.join(sorted(varied)) or 'none'}"
            )
    for key in overrides or {}:
        if key in _OWN_OPTIONS:
            raise ConfigError(f"{key} is no setting of a figure; {_OWN_OPTIONS[key]}")
        if figure.is_varied(key):
            raise ConfigError(f"{key} is what panels of {name} vary, so it cannot be set for all points; leave it out")
    figure = figure.up_to(most or {}).with_keys(overrides or {})
    shown = sorted(set(panels or range(1, len(figure.panels) + 1)))
    ways = tuple(figure.ways) if curves is None else (curves,)
    points = tuple(point for way in ways for point in figure.points(seeds=seeds, way=way, panels=shown))
    if not points:
        raise ConfigError(f"nothing of {name} is left below these limits; raise one of them")
    options = {"scale": scale, "seeds": seeds, "curves": curves, "data-dir": data_dir}
    words = [word for panel in panels or () for word in ("--panel", panel)]
    keys = {**{f"most.{name}": value for name, value in (most or {}).items()}, **(overrides or {})}
    again = command("reproduce", name, *words, options=options, keys=keys)
    return RunningReproduction(figure, scale, points, _controls(figure, ways, shown[0], seeds), data_dir, again)


@dataclass(frozen=True)
class RunningReproduction:
    """A figure that is to be made again.

    Args:
        figure: as it is run.
        scale: its scale.
        points: its points.
        controls: the default setting with controls, way by way.
        data_dir: where named data lie.
        command: makes it again.
    """

    figure: Figure
    scale: str
    points: tuple[FigurePoint, ...]
    controls: tuple[FigurePoint, ...]
    data_dir: str | os.PathLike[str] | None = None
    command: str = ""

    @cached_property
    def many(self) -> RunningMany:
        """All runs, those of the points before those of the controls."""
        points = [
            Point({"panel": point.panel, **({"way": point.way} if point.way else {}), **point.values}, point.config)
            for point in (*self.points, *self.controls)
        ]
        asked = {"figure": self.figure.name, "scale": self.scale, "changed": dict(self.figure.changed)}
        # A map is drawn of trained networks.
        keep = "measures" if self.figure.draws == "curves" else "weights"
        return RunningMany(self.name, points, keep, self.data_dir, asked)

    @property
    def name(self) -> str:
        """Of the folder and of the records."""
        return f"{self.figure.name.replace('/', '-')}-{self.scale}"

    def folder_in(self, out: str | os.PathLike[str]) -> Path:
        """Where its result lies once it is finished."""
        return Path(out) / f"{self.name}-{self.many.key[:10]}"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of every point."""
        return self.points[0].config.seeds

    @cached_property
    def pictured(self) -> tuple[tuple[FigurePoint, Experiment, tuple[AnyStage, ...]], ...]:
        """What pictures are drawn of: a point, its experiment with the first seed, and stages; none for curves."""
        if self.figure.draws == "curves":
            return ()
        found: list[tuple[FigurePoint, Experiment, tuple[AnyStage, ...]]] = []
        data_dir = None if self.data_dir is None else Path(self.data_dir)
        for point in self.points:
            config = point.config.model_copy(update={"seeds": self.seeds[:1]})
            experiment = Experiment(config, data_dir=data_dir)
            (of_seed,) = experiment.seeds.values()
            if self.figure.draws == "decision maps":
                stages: tuple[AnyStage, ...] = (experiment.map_stage(self.figure.panels[point.panel - 1].limits),)
            else:
                stages = (of_seed.data, of_seed.branches[0].heldout_perturbed)
            found.append((point, experiment, stages))
        return tuple(found)

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run."""
        experiments = () if self._is_of_sets else self.many.experiments.values()
        return plan_together(experiments, store, beside=self._beside, keep=self.many.keep, force=force)

    def describe(self, plan: Plan) -> str:
        """The plan in short: how many points and runs, and the stages' totals."""
        counts = self.counts(plan)
        scale = f"{self.scale}: {self.figure.smaller}" if self.figure.smaller else self.scale
        scale += "".join(f", {name} = {value}" for name, value in self.figure.changed.items())
        runs = f"{counts['n_points']:,} points, {counts['n_runs']:,} runs"
        return f"{self.figure.name}, {scale}\n{runs}\n\n{plan.describe(in_short=True)}"

    def counts(self, plan: Plan) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "name": self.figure.name,
            "scale": self.scale,
            "key": self.many.key,
            "n_points": len(self.points),
            "n_runs": len(self.many.experiments),
            "stages": plan.counts(),
        }

    def run(
        self,
        out: str | os.PathLike[str] | None,
        cache: ArtefactStore | None = None,
        *,
        force: bool = False,
        retry: bool = False,
        watch: Watcher | None = None,
        make_executor: MakeExecutor = Executor,
    ) -> Reproduction:
        """Run what is not finished, in memory or into a folder named by the figure, its scale and digits of its key.

        Raises:
            StoreError: a folder or the records cannot be written.
        """
        started = time.perf_counter()
        store = None if out is None else artefact_store(Path(out))
        outcomes: list[Outcome] = []
        if not self._is_of_sets:
            outcomes = self.many.run(out, cache, force=force, retry=retry, watch=watch, make_executor=make_executor)
        pictures: dict[str, Picture] | None = None
        measured = self._measured(outcomes)
        if self.pictured:
            kept = store if cache is None else cache
            executor = run_together(
                (), kept, beside=self._beside, keep="weights", watch=watch, make_executor=make_executor
            )
            pictures = {
                f"figure-{point.panel}": self._draw(point, experiment, stages, executor)
                for point, experiment, stages in self.pictured
            }
            if self._is_of_sets:
                measured = [
                    [{"attack_success": executor.result(stages[1]).success_rate}] for _, _, stages in self.pictured
                ]
        found = self._reproduction(outcomes, measured, time.perf_counter() - started)
        if out is None or store is None:
            return found
        return found.write(store, self.folder_in(out), pictures)

    @property
    def _is_of_sets(self) -> bool:
        """Whether nothing is measured of g."""
        return self.figure.draws == "perturbations"

    @property
    def _beside(self) -> list[AnyStage]:
        return [stage for _, _, stages in self.pictured for stage in stages]

    def _measured(self, outcomes: Sequence[Outcome]) -> list[list[dict[str, float | None]]]:
        """For every point and control, what its finished runs have measured."""
        found: list[list[dict[str, float | None]]] = [[] for _ in (*self.points, *self.controls)]
        for outcome in outcomes:
            if outcome.measured is not None:
                found[outcome.point].append(numbers_of(outcome.measured))
        return found

    def _reproduction(
        self, outcomes: Sequence[Outcome], measured: Sequence[Sequence[Mapping[str, float | None]]], seconds: float
    ) -> Reproduction:
        figure, points = self.figure, (*self.points, *self.controls)
        shown = sorted({point.panel for point in self.points})
        failed = [
            FailedRun(
                panel=0 if outcome.point >= len(self.points) else point.panel,
                x=point.values.get(figure.panels[point.panel - 1].x or "", ""),
                way=point.way,
                seed=outcome.seed,
                error=outcome.error,
            )
            for outcome in outcomes
            if outcome.error is not None
            for point in (points[outcome.point],)
        ]
        panels = [(number, figure.panels[number - 1]) for number in shown]
        return Reproduction(
            name=figure.name,
            caption=figure.caption,
            scale=self.scale,
            smaller=figure.smaller,
            changed=dict(figure.changed),
            command=self.command,
            key=self.many.key,
            seeds=self.seeds,
            panels=[ShownPanel(number, panel.name, panel.x, panel.log_x) for number, panel in panels],
            rows=point_rows(figure, self.points, measured[: len(self.points)]),
            controls=[
                {"way": point.way, "measures": {name: _summed_up(runs, name) for name in CONTROLLED}}
                for point, runs in zip(self.controls, measured[len(self.points) :], strict=True)
            ],
            failed=failed,
            analysis=self._analysis(outcomes),
            seconds=seconds,
        )

    def _analysis(self, outcomes: Sequence[Outcome]) -> Analysis | None:
        """What the finished runs of a study say together."""
        study = self.figure
        if not isinstance(study, Study):
            return None
        finished = [
            (self.points[outcome.point], outcome.seed, numbers_of(outcome.measured))
            for outcome in outcomes
            if outcome.measured is not None and outcome.point < len(self.points)
        ]
        return study.analysis(
            [study.run(point.panel, point.way, point.values, seed, measured) for point, seed, measured in finished]
        )

    def _draw(
        self, point: FigurePoint, experiment: Experiment, stages: Sequence[AnyStage], executor: Executor
    ) -> Picture:
        title = f"{self.figure.name}, {self.figure.panels[point.panel - 1].name}"
        if self.figure.smaller:
            title += f"\n{self.scale}: {self.figure.smaller}"
        if self.figure.draws == "decision maps":
            has_bias = isinstance(experiment.config.standard.model, TwoLayerConfig)
            return draw_map_of(executor.result(stages[0]), has_bias=has_bias, title=title)
        data, perturbed = (executor.result(stage) for stage in stages)
        picture = draw_examples(Examples.of(perturbed, data), experiment.config)
        picture.suptitle(title, fontsize=9, wrap=True)
        return picture


def _figure(name: str) -> Figure:
    if name in ALL:
        return ALL[name]
    short = {known.partition("/")[2]: known for known in ALL}
    close = difflib.get_close_matches(name, ALL, n=1, cutoff=0.6)
    close += [short[key] for key in difflib.get_close_matches(name.rpartition("/")[2], short, n=1, cutoff=0.75)]
    advice = f"did you mean {close[0]}?" if close else "'perturblearn list' names all there are"
    raise ConfigError(f"there is no figure {name}; {advice}")


def _controls(figure: Figure, ways: Sequence[str], panel: int, seeds: int | Sequence[int]) -> tuple[FigurePoint, ...]:
    """The default setting of the first panel that is shown, with controls."""
    draws = figure.control_draws
    keys: dict[str, Any] = {"controls.draws": draws}
    return tuple(
        FigurePoint(panel, 0, way, {}, figure.default(panel=panel, seeds=seeds, way=way, overrides=keys))
        for way in (ways if draws else ())
    )


def _summed_up(runs: Sequence[Mapping[str, float | None]], name: str) -> dict[str, Any]:
    found = summarise([run.get(name) for run in runs])
    return {key: found[key] for key in ("mean", "std", "values")}
