"""The whole experiment in one function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from perturblearn.api.comparing import quick_theory
from perturblearn.api.objects import UserObjects
from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.prepared import PreparedResult
from perturblearn.config import ConfigLike, Keys, resolve_config
from perturblearn.errors import ConfigError
from perturblearn.experiment import Experiment
from perturblearn.graph import Executor, Plan, Watcher
from perturblearn.perturbed import StoredSet
from perturblearn.results import PAGE_NAME, DataSize, Result, Style, drawn_or_warned, export_run


def learn_from_perturbations(
    config: ConfigLike | None = None,
    *,
    data: Any = None,
    standard: Any = None,
    perturbation: Any = None,
    attack: Any = None,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
    out: PathLike | None = None,
    cache_dir: PathLike | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    report: bool = True,
    track: str | Sequence[str] = (),
    formats: Sequence[str] | None = None,
    style: Style | None = None,
    watch: Watcher | None = None,
) -> Result:
    """Train f, perturb its inputs, train g on nothing but those, and measure g on clean data, for every seed.

    The five steps of perturbation learning [Ilyas19; ICLR24; NeurIPS24]: a standard classifier f, target labels,
    perturbed sources, a perturbation classifier g that never sees a true label, and measures on clean data beside two
    controls.

    Args:
        config: path of a TOML file, a nested mapping, a configuration, or None for the digits default.
        data: the data in place of the configuration's: a `Dataset`, a pair (inputs, labels), a torch data set, or a
            name such as ``"mnist"`` or ``"folder:PATH"``.
        standard, perturbation: the network of f and of g in place of the configuration's: a ``torch.nn.Module``, or a
            function without arguments that makes one. With ``{"standard.training": "none"}`` f keeps its weights;
            otherwise networks are trained from fresh weights.
        attack: an attack in place of the configuration's, ``attack(model, inputs, targets) -> perturbed``; what it
            returns must keep to the configuration's norm and epsilon.
        overrides: keys by dotted name, ``{"attack.epsilon": 0.5, "seeds": 5}``.
        data_dir: where named data are stored or downloaded to; by default ``PERTURBLEARN_DATA``.
        out: folder for the run's own folder and the store of finished stages; None writes neither.
        cache_dir: folder for finished stages instead of the one in ``out``, shared by runs with different ``out``; by
            default ``PERTURBLEARN_CACHE``.
        cache_size: limit of the cache, in bytes or as text such as ``"20GB"``: the least recently used stages are
            removed first; by default ``PERTURBLEARN_CACHE_SIZE``, and without that no limit.
        force: repeat stages that are finished.
        report: write the run's page, ``report.html``, and its figures into its folder.
        formats: what figures are written as: some of ``"png"``, ``"pdf"`` and ``"svg"``. None for ``"png"``; with
            ``report=False`` and no style for no figures.
        style: what figures look like: settings of matplotlib, ``{"font.family": "serif"}``, a style file, or the name
            of a style; colours of f, g and controls stay.
        track: trackers that are handed the result: ``"tensorboard"``, ``"mlflow"`` and ``"wandb"``.
        watch: called with the progress of each stage; None for a bar in a notebook, and nothing elsewhere.

    Returns:
        The result: prints as a table and a conclusion, plots, converts to a dict or a pandas frame.

    Raises:
        ConfigError: a key is unknown, of the wrong type or out of range, the cache's size is not a size, or there is
            no such format or style.
        DataError: the data cannot be found, read or used.
        DivergenceError: training produced numbers that are not finite.
        ModelError: a network or an attack cannot be used, or does not do what it has to.
        StoreError: a folder cannot be written.

    Example:
        >>> result = learn_from_perturbations(overrides={"seeds": 1, "attack.source": "none", "attack.epsilon": 0.5})
        >>> result.summary["perturbation_accuracy_heldout"]["mean"] > 0.9
        True
    """
    options = RunOptions(
        out=out,
        cache_dir=cache_dir,
        cache_size=cache_size,
        force=force,
        report=report,
        formats=formats,
        style=style,
        track=track,
        watch=watch,
    )
    objects = UserObjects(data=data, standard=standard, perturbation=perturbation, attack=attack)
    prepared = prepare_run(config, objects, overrides=overrides, data_dir=data_dir)
    return prepared.run(options)


def plan(
    config: ConfigLike | None = None,
    *,
    data: Any = None,
    standard: Any = None,
    perturbation: Any = None,
    attack: Any = None,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
    out: PathLike | None = None,
    cache_dir: PathLike | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
) -> Plan:
    """What `learn_from_perturbations` with the same arguments would run, share and find finished."""
    objects = UserObjects(data=data, standard=standard, perturbation=perturbation, attack=attack)
    prepared = prepare_run(config, objects, overrides=overrides, data_dir=data_dir)
    return prepared.plan(RunOptions(out=out, cache_dir=cache_dir, cache_size=cache_size, force=force))


def prepare_run(
    config: ConfigLike | None = None,
    objects: UserObjects | None = None,
    *,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
) -> PreparedRun:
    """What `learn_from_perturbations` does with these arguments, validated and not yet done."""
    experiment = make_experiment(config, objects, overrides=overrides, data_dir=data_dir, attributes=True)
    return PreparedRun(experiments=(experiment,))


def make_experiment(
    config: ConfigLike | None = None,
    objects: UserObjects | None = None,
    *,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
    stored: StoredSet | None = None,
    attributes: bool = False,
) -> Experiment:
    """The experiment that these arguments describe, validated and not yet run.

    Args:
        config, overrides, data_dir: as in `learn_from_perturbations`.
        objects: what was handed over as objects.
        stored: a perturbed set on disk, on which g is to be trained.
        attributes: whether ``measures.attribution`` is done unasked where that takes seconds.
    """
    keys, dataset = (objects or UserObjects()).register(overrides)
    resolved = resolve_config(config, keys)
    check_device(resolved.device)
    folder = None if data_dir is None else Path(data_dir)
    return Experiment(resolved, dataset=dataset, data_dir=folder, stored=stored, attributes=attributes)


@dataclass(frozen=True, kw_only=True)
class PreparedRun(PreparedResult[Result]):
    """One experiment, ready to run. Its command is empty where ``config.toml`` alone makes it again."""

    @property
    def experiment(self) -> Experiment:
        """The one that is run."""
        return self.experiments[0]

    def _computed_key(self) -> str:
        return self.experiment.key

    def _finished_in(self, folder: Path) -> Result | None:
        return Result.load(folder) if (folder / "result.json").is_file() else None

    def _measured(self, executor: Executor) -> Result:
        seconds = sum(executor.seconds.values())
        measured = self.experiment.measures(executor)
        size = DataSize.of(self.experiment.outline)
        result = Result.of(self.experiment.config, self.key, measured, seconds, size)
        return replace(result, command=self.command or None)

    def _written(self, executor: Executor, folder: Path, options: RunOptions) -> Result:
        assert options.results is not None
        result = self._measured(executor)
        theory = quick_theory(self.experiment, options.stages, force=options.force) if options.report else None
        if isinstance(theory, str):
            result, theory = replace(result, no_theory=theory), None
        page = None
        if options.report:
            from perturblearn.pages import run_page

            page = (PAGE_NAME, run_page)
        return export_run(
            self.experiment,
            executor,
            result,
            options.results,
            folder,
            page=page,
            theory=theory,
            figures=options.figures,
        )

    def _complete(self, finished: Result, folder: Path, options: RunOptions) -> None:
        """Draw missing figures, and write the page if the run was made without one, with the theory of such a run."""
        super()._complete(finished, folder, options)
        if not options.report or (folder / PAGE_NAME).is_file():
            return
        assert options.results is not None
        if not (folder / "theory").exists():
            theory = quick_theory(self.experiment, options.stages)
            if isinstance(theory, str):
                finished = replace(finished, no_theory=theory)
            elif theory is not None:
                theory.write(options.results, folder / "theory")
        write_run_page(finished, folder)


def write_run_page(result: Result, folder: Path) -> None:
    """Write the page of a finished run; a warning says so if it cannot be made.

    Raises:
        StoreError: the page cannot be written.
    """
    from perturblearn.pages import run_page, write_page

    path = folder / PAGE_NAME
    text = drawn_or_warned(lambda: run_page(result, folder), path)
    if text is not None:
        write_page(text, path)


def check_device(device: str) -> None:
    """Raise a ConfigError for a device that this machine does not have."""
    kind, _, number = device.partition(":")
    count = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= count:
        raise ConfigError(f"device = {device!r}, but torch finds {count} CUDA devices on this machine; choose cpu")
