"""The whole experiment in one function."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from perturblearn.api.comparing import quick_theory
from perturblearn.api.stores import artefact_store, cache_store, recorded
from perturblearn.attacks import hand_over_attack
from perturblearn.classifiers import hand_over
from perturblearn.config import ExperimentConfig, config_tree, resolve_config
from perturblearn.data import Dataset, dataset_from
from perturblearn.errors import ConfigError
from perturblearn.experiment import Experiment
from perturblearn.graph import Executor, Plan, Watcher
from perturblearn.pages import PAGE_NAME, run_page, write_page
from perturblearn.perturbed import StoredSet
from perturblearn.results import Result, export_run
from perturblearn.store import ArtefactStore

ConfigLike = ExperimentConfig | Mapping[str, Any] | str | os.PathLike[str]


def learn_from_perturbations(
    config: ConfigLike | None = None,
    *,
    data: Any = None,
    standard: Any = None,
    perturbation: Any = None,
    attack: Any = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    report: bool = True,
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
            function without arguments that makes one. With ``{"standard.training": "none"}`` f is taken with its
            weights as they stand; otherwise networks start afresh.
        attack: an attack in place of the configuration's, ``attack(model, inputs, targets) -> perturbed``; what it
            returns is held to the configuration's norm and epsilon.
        overrides: keys by dotted name, ``{"attack.epsilon": 0.5, "seeds": 5}``.
        data_dir: where named data lie or are downloaded to; by default ``PERTURBLEARN_DATA``.
        out: folder for the run's own folder and the store of finished stages; None writes neither.
        cache_dir: folder for finished stages in place of the one in ``out``, to be shared by runs of many folders; by
            default ``PERTURBLEARN_CACHE``.
        cache_size: how large the cache may grow, in bytes or as text such as ``"20GB"``: what was not used for longest
            is removed; by default ``PERTURBLEARN_CACHE_SIZE``, and without that any size.
        force: repeat stages that are finished.
        report: write the run's page, ``report.html``, into its folder.
        watch: called with the progress of each stage.

    Returns:
        The result: prints as a table with a sentence, plots, converts to a dict or a pandas frame.

    Raises:
        ConfigError: a key is unknown, of the wrong type or out of range, or the cache's size is no size.
        DataError: the data cannot be found, read or used.
        DivergenceError: training left the finite numbers.
        ModelError: a network or an attack cannot be used, or does not do what is asked of it.
        StoreError: a folder cannot be written.

    Example:
        >>> result = learn_from_perturbations(overrides={"seeds": 1, "attack.source": "none", "attack.epsilon": 0.5})
        >>> result.summary["perturbation_accuracy_heldout"]["mean"] > 0.9
        True
    """
    cache = cache_store(cache_dir, cache_size)
    experiment = make_experiment(
        config,
        data=data,
        standard=standard,
        perturbation=perturbation,
        attack=attack,
        overrides=overrides,
        data_dir=data_dir,
    )
    return Running(experiment, report=report).run(out, cache, force=force, watch=watch)


def prepare_run(
    config: ConfigLike | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    report: bool = True,
) -> Running:
    """What `learn_from_perturbations` does with these arguments, validated and not yet done."""
    return Running(make_experiment(config, overrides=overrides, data_dir=data_dir), report=report)


def plan(
    config: ConfigLike | None = None,
    *,
    data: Any = None,
    standard: Any = None,
    perturbation: Any = None,
    attack: Any = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
) -> Plan:
    """What `learn_from_perturbations` with the same arguments would run, share and find finished."""
    store = cache_store(cache_dir, cache_size)
    if store is None and out is not None:
        store = artefact_store(Path(out))
    experiment = make_experiment(
        config,
        data=data,
        standard=standard,
        perturbation=perturbation,
        attack=attack,
        overrides=overrides,
        data_dir=data_dir,
    )
    return experiment.plan(store, force=force)


def make_experiment(
    config: ConfigLike | None = None,
    *,
    data: Any = None,
    standard: Any = None,
    perturbation: Any = None,
    attack: Any = None,
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    stored: StoredSet | None = None,
) -> Experiment:
    """The experiment that these arguments describe, validated and not yet run."""
    keys, dataset = handed_over(overrides, data, standard=standard, perturbation=perturbation, attack=attack)
    resolved = resolve_config(config, keys, defaults=defaults)
    check_device(resolved.device)
    return Experiment(resolved, dataset=dataset, data_dir=None if data_dir is None else Path(data_dir), stored=stored)


def handed_over(
    overrides: Mapping[str, Any] | None,
    data: Any = None,
    *,
    standard: Any = None,
    perturbation: Any = None,
    attack: Any = None,
) -> tuple[dict[str, Any], Dataset | None]:
    """The configuration's keys with what was given as objects, and the data if they were."""
    keys = dict(overrides or {})
    dataset: Dataset | None = None
    if isinstance(data, str):
        keys["data.name"] = data
    elif data is not None:
        dataset = dataset_from(data)
        keys["data.name"] = "python"
    for key, handed in (("standard.model.name", standard), ("perturbation.model.name", perturbation)):
        if handed is not None:
            keys[key] = handed if isinstance(handed, str) else hand_over(handed)
    if attack is not None:
        keys["attack.name"] = hand_over_attack(attack)
    return keys, dataset


@dataclass(frozen=True)
class Running:
    """An experiment that is to be run.

    Args:
        experiment: which.
        report: whether its page is written into its folder.
        command: makes it again where ``config.toml`` alone does not.
    """

    experiment: Experiment
    report: bool = True
    command: str | None = None

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run."""
        return self.experiment.plan(store, force=force)

    def run(
        self,
        out: str | os.PathLike[str] | None,
        cache: ArtefactStore | None = None,
        *,
        force: bool = False,
        watch: Watcher | None = None,
    ) -> Result:
        """Run what is not finished, in memory or into a folder named by the run's name and the digits of its key."""
        experiment = self.experiment
        if out is None:
            return self._measured(experiment.run(cache, force=force, watch=watch))
        folder = Path(out) / f"{experiment.config.name}-{experiment.key[:10]}"
        if not force and (folder / "result.json").is_file():
            finished = Result.load(folder)
            if finished.key == experiment.key:
                if self.report and not (folder / PAGE_NAME).is_file():
                    self._add_page(finished, folder, artefact_store(Path(out)), cache)
                return finished
        # The run's folder is made here and moved into place, so it needs a store on its own disk, wherever stages go.
        store = artefact_store(Path(out))

        def work() -> tuple[Result, Mapping[str, float]]:
            stages = store if cache is None else cache
            executor = experiment.run(stages, force=force, watch=watch)
            result = self._measured(executor)
            theory = quick_theory(experiment, stages, force=force) if self.report else None
            if isinstance(theory, str):
                result, theory = replace(result, no_theory=theory), None
            exported = export_run(
                experiment,
                executor,
                result,
                store,
                folder,
                page=(PAGE_NAME, run_page) if self.report else None,
                theory=theory,
            )
            return exported, executor.seconds

        return recorded(store, experiment.key, experiment.config.name, config_tree(experiment.config), work)

    def _add_page(self, finished: Result, folder: Path, store: ArtefactStore, cache: ArtefactStore | None) -> None:
        """Write the page of a run that has finished before, with the theory that it would have had then."""
        if not (folder / "theory").exists():
            theory = quick_theory(self.experiment, store if cache is None else cache)
            if isinstance(theory, str):
                finished = replace(finished, no_theory=theory)
            elif theory is not None:
                theory.write(store, folder / "theory")
        write_page(run_page(finished, folder), folder / PAGE_NAME)

    def _measured(self, executor: Executor) -> Result:
        experiment = self.experiment
        seconds = sum(executor.seconds.values())
        result = Result.of(experiment.config, experiment.key, experiment.measures(executor), seconds)
        return replace(result, command=self.command)


def check_device(device: str) -> None:
    """Raise a ConfigError for a device that this machine has not."""
    kind, _, number = device.partition(":")
    count = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= count:
        raise ConfigError(f"device = {device!r}, but torch finds {count} CUDA devices on this machine; choose cpu")
