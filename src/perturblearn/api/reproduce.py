"""A figure of one of the papers made again, beside the published one."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from perturblearn.api.commands import command
from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.prepared import Prepared
from perturblearn.api.runs import PreparedRuns
from perturblearn.config import JSON, Keys, TwoLayerConfig
from perturblearn.errors import ConfigError
from perturblearn.experiment import (
    Experiment,
    MakeExecutor,
    Outcome,
    Point,
    numbers_of,
    plan_together,
    run_together,
    summarise,
)
from perturblearn.graph import AnyStage, Executor, Plan, Watcher
from perturblearn.results import (
    ControlsOfWay,
    Examples,
    FailedRun,
    File,
    Reproduction,
    ShownPanel,
    Style,
    figure_files,
    point_rows,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

    from perturblearn.papers import Analysis, Figure, FigurePoint

_OWN_OPTIONS = {
    "seeds": "the option seeds sets their number",
    "name": "the figure's name is used",
    "controls.draws": "the controls are those of the figure's default setting",
    "draws": "the option draws sets them",
}
"""Keys of a configuration that a figure settles in another way."""
CONTROLLED = ("perturbation_accuracy", "unperturbed_control", "permuted_control")
"""Measures that are shown of the default setting."""
DRAWS = ("both", "own", "published")
"""Whose draws a figure is made with: our own seeds, the published one, or both."""
AT_SEED = "published seed"
"""What a run at the published seed is called."""


def reproduce(
    name: str,
    *,
    seeds: int | Sequence[int] = 3,
    scale: str = "quick",
    panels: Sequence[int] | None = None,
    curves: str | None = None,
    most: Mapping[str, float] | None = None,
    draws: str = "both",
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
    out: PathLike | None = None,
    cache_dir: PathLike | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    retry: bool = False,
    executor: str | MakeExecutor = "in_process",
    formats: Sequence[str] = ("png",),
    style: Style | None = None,
    watch: Watcher | None = None,
) -> Reproduction:
    """Run a figure's experiments, and compare every point with the published one.

    Args:
        name: the figure's name, such as ``neurips2024/shifted_gauss_a``; `perturblearn.papers.ALL` lists all.
        seeds: number of seeds of every point, or the seeds.
        scale: ``full`` for the paper's problem, ``modern`` (deep networks) for all data by a network and
            a recipe that learn fast, or ``quick`` for a smaller one of the same kind, whose points are
            shown beside the published ones but not judged by them.
        panels: numbers of panels, counted from 1; None for all.
        curves: one of the ways to compute the figure, such as ``limit``; None for all.
        most: largest values of varied settings, ``{"n_adv": 2500}``; points beyond are left out.
        draws: ``own`` for our own seeds, ``published`` for the paper's seed with the draws of its script, where these
            can be made again and the problem is the paper's, or ``both``.
        overrides: keys that differ from the paper's, ``{"attack.products": "bfloat16"}``; if they change the problem,
            the points are shown but not judged. ``draws_card`` is for the published seed alone.
        data_dir: where named data are stored or downloaded to; by default ``PERTURBLEARN_DATA``.
        out: folder for the figure's own folder, the records of its runs and the store of finished stages; None writes
            none of them.
        cache_dir, cache_size: a cache instead of that store, and its limit; see `learn_from_perturbations`.
        force: repeat runs and stages that are finished.
        retry: repeat runs that failed before; otherwise they keep their error.
        executor: where stages run: ``"in_process"``, ``"ray"``, or what `perturblearn.executor` returns. The numbers
            are the same.
        formats, style: of figures, as in `learn_from_perturbations`.
        watch: called with the progress of each stage.

    Returns:
        The reproduction: prints as one line per panel, plots, converts to a dict.

    Raises:
        ConfigError: there is no such figure, panel, curve, scale or setting.
        DataError: the data's files cannot be found or read.
        StoreError: a folder or the records cannot be written.

    Example:
        >>> result = reproduce("neurips2024/shifted_gauss_a", panels=[5], seeds=1)
        >>> [row.x for row in result.rows if row.measure == "agreement"]
        [0.0, 0.25, 0.75, 0.99]
    """
    options = RunOptions(
        out=out,
        cache_dir=cache_dir,
        cache_size=cache_size,
        force=force,
        retry=retry,
        executor=executor,
        formats=formats,
        style=style,
        watch=watch,
    )
    prepared = prepare_reproduction(
        name,
        seeds=seeds,
        scale=scale,
        panels=panels,
        curves=curves,
        most=most,
        draws=draws,
        overrides=overrides,
        data_dir=data_dir,
    )
    return prepared.run(options)


def prepare_reproduction(
    name: str,
    *,
    seeds: int | Sequence[int] = 3,
    scale: str = "quick",
    panels: Sequence[int] | None = None,
    curves: str | None = None,
    most: Mapping[str, float] | None = None,
    draws: str = "both",
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
) -> PreparedReproduction:
    """What `reproduce` does with these arguments, validated and not yet done."""
    from perturblearn.papers import SCALES

    if scale not in SCALES:
        raise ConfigError(f"scale = {scale!r}, but it must be one of {', '.join(SCALES)}")
    if draws not in DRAWS:
        raise ConfigError(f"draws = {draws!r}, but it must be one of {', '.join(DRAWS)}")
    figure = _figure(name)
    if scale not in figure.scales:
        raise ConfigError(f"scale = {scale!r}, but {name} has the scales {' and '.join(figure.scales)}; choose one")
    figure = figure.at(scale)
    for panel in panels or ():
        if not 1 <= panel <= len(figure.panels):
            raise ConfigError(f"panel = {panel}, but {name} has panels from 1 to {len(figure.panels)}; choose one")
    if panels is not None and not panels:
        raise ConfigError("panels is empty; name at least one panel, or leave panels out for all")
    if curves is not None and curves not in figure.ways:
        known = ", ".join(filter(None, figure.ways))
        advice = f"{name} has {known}; choose one of these" if known else f"{name} is computed in one way; leave it out"
        raise ConfigError(f"curves = {curves!r}, but {advice}")
    varied = {setting for panel in figure.panels for setting in panel.varied}
    for setting in most or {}:
        if setting not in varied:
            raise ConfigError(
                f"{setting} does not vary in {name}, so no points can be left out by it; choose one of "
                f"{', '.join(sorted(varied)) or 'none'}"
            )
    for key in overrides or {}:
        if key in _OWN_OPTIONS:
            raise ConfigError(f"{key} cannot be set for a figure: {_OWN_OPTIONS[key]}; leave it out")
        if figure.is_varied(key):
            raise ConfigError(f"{key} varies in {name}, so it cannot be set for all points; leave it out")
    of_script = {key: value for key, value in (overrides or {}).items() if key == "draws_card"}
    figure = figure.up_to(most or {}).with_keys(
        {key: value for key, value in (overrides or {}).items() if key not in of_script}
    )
    shown = sorted(set(panels or range(1, len(figure.panels) + 1)))
    ways = tuple(figure.ways) if curves is None else (curves,)
    points = tuple(point for way in ways for point in figure.points(seeds=seeds, way=way, panels=shown))
    if not points:
        raise ConfigError(f"no point of {name} is within these limits; raise one of them")
    # The published points were computed in the first of the ways.
    first = next(iter(figure.ways))
    at_seed = () if draws == "own" or first not in ways else tuple(_at_seed(figure, shown, of_script))
    if not at_seed and (draws == "published" or of_script):
        if figure.seed is None:
            raise ConfigError(f"the draws of {name} cannot be made again; choose draws own")
        if first not in ways:
            raise ConfigError(f"the published points of {name} are of the {first}; choose curves {first}, or draws own")
        raise ConfigError(
            f"this is another problem than that of {name}, of which the published seed says nothing; choose scale full "
            "and the paper's keys, or draws own"
        )
    has_own = draws != "published"
    options = {
        "scale": scale,
        "seeds": seeds if has_own else None,
        "draws": None if draws == "both" else draws,
        "curves": curves,
        "data-dir": data_dir,
    }
    words = [word for panel in panels or () for word in ("--panel", panel)]
    keys = {**{f"most.{name}": value for name, value in (most or {}).items()}, **(overrides or {})}
    again = command("reproduce", name, *words, options=options, keys=keys)
    controls = _controls(figure, ways, shown[0], seeds) if has_own else ()
    return PreparedReproduction(figure, scale, points, controls, at_seed, has_own, data_dir, again)


@dataclass(frozen=True)
class PreparedReproduction(Prepared[Reproduction]):
    """A figure that is ready to be made again.

    Args:
        figure: as it is run.
        scale: its scale.
        points: its points.
        controls: the default setting with controls, way by way.
        at_seed: its points at the published seed.
        has_own: whether our own seeds are run too.
        data_dir: where named data are stored.
        command: makes it again.
    """

    figure: Figure
    scale: str
    points: tuple[FigurePoint, ...]
    controls: tuple[FigurePoint, ...]
    at_seed: tuple[FigurePoint, ...] = ()
    has_own: bool = True
    data_dir: PathLike | None = None
    command: str = ""

    @property
    def name(self) -> str:
        """The figure and its scale, as its folder and its records are called."""
        return f"{self.figure.name.replace('/', '-')}-{self.scale}"

    def _computed_key(self) -> str:
        return self.runs.key

    @cached_property
    def runs(self) -> PreparedRuns:
        """All runs, those of the points before those of the controls."""
        points = [
            Point({"panel": point.panel, **({"way": point.way} if point.way else {}), **point.values}, point.config)
            for point in self._all_points
        ]
        request = {"figure": self.figure.name, "scale": self.scale, "changed": dict(self.figure.changed)}
        # A map is drawn of trained networks.
        keep = "measures" if self.figure.draws == "curves" else "weights"
        return PreparedRuns(self.name, points, keep, self.data_dir, request)

    @property
    def _own_points(self) -> tuple[FigurePoint, ...]:
        return self.points if self.has_own else ()

    @property
    def _all_points(self) -> tuple[FigurePoint, ...]:
        return (*self._own_points, *self.controls, *self.at_seed)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Our own, of every point."""
        return self.points[0].config.seeds if self.has_own else ()

    @cached_property
    def pictured(self) -> tuple[tuple[FigurePoint, Experiment, tuple[AnyStage, ...]], ...]:
        """What pictures are drawn from: a point, its experiment with the first seed, and stages; none for curves."""
        if self.figure.draws == "curves":
            return ()
        pictured: list[tuple[FigurePoint, Experiment, tuple[AnyStage, ...]]] = []
        data_dir = None if self.data_dir is None else Path(self.data_dir)
        for point in self.points:
            config = point.config.model_copy(update={"seeds": self.seeds[:1]})
            experiment = Experiment(config, data_dir=data_dir)
            (of_seed,) = experiment.seeds.values()
            if self.figure.draws == "decision maps":
                stages: tuple[AnyStage, ...] = (experiment.map_stage(self.figure.panels[point.panel - 1].limits),)
            else:
                stages = (of_seed.data, of_seed.branches[0].heldout_perturbed)
            pictured.append((point, experiment, stages))
        return tuple(pictured)

    def plan(self, options: RunOptions) -> Plan:
        """What would run, and what is finished."""
        experiments = () if self._is_of_sets else self.runs.experiments.values()
        return plan_together(experiments, options.stages, beside=self._beside, keep=self.runs.keep, force=options.force)

    def describe(self, plan: Plan) -> str:
        """A plan in short: how many points and runs, and the totals of the stages."""
        scale = f"{self.scale}: {self.figure.smaller}" if self.figure.smaller else self.scale
        scale += "".join(f", {name} = {value}" for name, value in self.figure.changed.items())
        runs = f"{len(self.points):,} points, {len(self.runs.experiments):,} runs"
        return f"{self.figure.name}, {scale}\n{runs}\n\n{plan.describe(in_short=True)}"

    def counts(self, plan: Plan) -> dict[str, JSON]:
        """The same as JSON values."""
        return {
            "name": self.figure.name,
            "scale": self.scale,
            "key": self.runs.key,
            "n_points": len(self.points),
            "n_runs": len(self.runs.experiments),
            "stages": plan.counts(),
        }

    def run(self, options: RunOptions) -> Reproduction:
        """Run what is not finished, in memory or into a folder."""
        started = time.perf_counter()
        outcomes: list[Outcome] = [] if self._is_of_sets else self.runs.run(options)
        measured = self._measured(outcomes)
        pictures: dict[str, Callable[[Style | None], Picture]] = {}
        if self.pictured:
            executor = run_together(
                (),
                options.stages,
                beside=self._beside,
                keep="weights",
                watch=options.watcher,
                make_executor=options.make_executor,
                # A panel that cannot be drawn does not stop the others.
                finished=None if self._is_of_sets else _ignore,
            )
            pictures = {
                f"figure-{point.panel}": partial(self._draw, point, experiment, stages, executor)
                for point, experiment, stages in self.pictured
            }
            if self._is_of_sets:
                measured = [
                    [{"attack_success": executor.result(stages[1]).success_rate}] for _, _, stages in self.pictured
                ]
        result = self._reproduction(outcomes, measured, time.perf_counter() - started)
        if options.out is None or options.results is None:
            return result
        files: list[File] = []
        for name, draw in pictures.items():
            files += figure_files(name, lambda _, style, draw=draw: draw(style), options.figures)
        return result.write(options.results, self.folder_in(options.out), files, options.figures)

    @property
    def _is_of_sets(self) -> bool:
        """Whether nothing is measured of g."""
        return self.figure.draws == "perturbations"

    @property
    def _beside(self) -> list[AnyStage]:
        return [stage for _, _, stages in self.pictured for stage in stages]

    def _measured(self, outcomes: Sequence[Outcome]) -> list[list[dict[str, float | None]]]:
        """For every point and control, and every point at the published seed, what its runs have measured."""
        measured: list[list[dict[str, float | None]]] = [[] for _ in self._all_points]
        for outcome in outcomes:
            if outcome.measured is not None:
                measured[outcome.point].append(numbers_of(outcome.measured))
        return measured

    def _reproduction(
        self, outcomes: Sequence[Outcome], measured: Sequence[Sequence[Mapping[str, float | None]]], seconds: float
    ) -> Reproduction:
        figure, points = self.figure, self._all_points
        n_own, n_with_controls = len(self._own_points), len(self._own_points) + len(self.controls)
        shown = sorted({point.panel for point in self.points})
        failed = [
            FailedRun(
                panel=0 if n_own <= outcome.point < n_with_controls else point.panel,
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
            key=self.runs.key,
            seeds=self.seeds,
            panels=[
                ShownPanel(
                    number, panel.name, panel.x, panel.log_x, figure.published_seed(number) if self.at_seed else None
                )
                for number, panel in panels
            ],
            rows=point_rows(
                figure,
                self.points,
                measured[:n_own] if self.has_own else [()] * len(self.points),
                {
                    (point.panel, point.place): next(iter(runs), None)
                    for point, runs in zip(self.at_seed, measured[n_with_controls:], strict=True)
                },
                sizes={
                    (points[number].panel, points[number].place): size
                    for number, size in self.runs.sizes(outcomes).items()
                    if number not in range(n_own, n_with_controls)
                },
                has_own=self.has_own,
            ),
            controls=[
                ControlsOfWay(point.way, {name: summarise([run.get(name) for run in runs]) for name in CONTROLLED})
                for point, runs in zip(self.controls, measured[n_own:n_with_controls], strict=True)
            ],
            failed=failed,
            analysis=self._analysis(outcomes),
            seconds=seconds,
        )

    def _analysis(self, outcomes: Sequence[Outcome]) -> Analysis | None:
        """What the finished runs of a study say together."""
        from perturblearn.papers import Study

        study = self.figure
        if not isinstance(study, Study):
            return None
        finished = [
            (self.points[outcome.point], outcome.seed, numbers_of(outcome.measured))
            for outcome in outcomes
            if outcome.measured is not None and outcome.point < len(self._own_points)
        ]
        return study.analysis(
            [study.run(point.panel, point.way, point.values, seed, measured) for point, seed, measured in finished]
        )

    def _draw(
        self,
        point: FigurePoint,
        experiment: Experiment,
        stages: Sequence[AnyStage],
        executor: Executor,
        style: Style | None,
    ) -> Picture:
        from perturblearn.report.charts import draw_examples, draw_map_of

        title = f"{self.figure.name}, {self.figure.panels[point.panel - 1].name}"
        if self.figure.smaller:
            title += f"; {self.scale}: {self.figure.smaller}"
        if self.figure.draws == "decision maps":
            has_bias = isinstance(experiment.config.standard.model, TwoLayerConfig)
            return draw_map_of(executor.result(stages[0]), has_bias=has_bias, title=title, style=style)
        data, perturbed = (executor.result(stage) for stage in stages)
        return draw_examples(Examples.of(perturbed, data), title, style)


def _ignore(*_: object) -> None:
    """A run's end is known already."""


def _figure(name: str) -> Figure:
    from perturblearn.papers import ALL

    if name in ALL:
        return ALL[name]
    short = {known.partition("/")[2]: known for known in ALL}
    close = difflib.get_close_matches(name, ALL, n=1, cutoff=0.6)
    close += [short[key] for key in difflib.get_close_matches(name.rpartition("/")[2], short, n=1, cutoff=0.75)]
    advice = f"did you mean {close[0]}?" if close else "'perturblearn list' shows all figures"
    raise ConfigError(f"there is no figure {name}; {advice}")


def _at_seed(figure: Figure, panels: Sequence[int], keys: Keys) -> Iterator[FigurePoint]:
    """The points of some panels at the published seed, with the draws of the paper's script."""
    if figure.draws != "curves":
        return
    for panel in panels:
        seed = figure.published_seed(panel)
        if seed is not None:
            usual = {key: value for key, value in figure.at_seed.items() if key not in figure.changed}
            overrides = {"draws": figure.script, **usual, **keys}
            for point in figure.points(seeds=[seed], panels=[panel], overrides=overrides):
                yield replace(point, way=AT_SEED)


def _controls(figure: Figure, ways: Sequence[str], panel: int, seeds: int | Sequence[int]) -> tuple[FigurePoint, ...]:
    """The default setting of the first panel that is shown, with controls."""
    from perturblearn.papers import FigurePoint

    draws = figure.control_draws
    keys: dict[str, JSON] = {"controls.draws": draws}
    return tuple(
        FigurePoint(panel, 0, way, {}, figure.default(panel=panel, seeds=seeds, way=way, overrides=keys))
        for way in (ways if draws else ())
    )
