"""Perturbation learning from Python: one function for the whole experiment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from perturblearn.attacks import hand_over_attack
from perturblearn.classifiers import hand_over
from perturblearn.config import TWO_LAYER, ExperimentConfig, config_tree, resolve_config
from perturblearn.data import Dataset, dataset_from
from perturblearn.errors import ConfigError, DataError, StoreError
from perturblearn.experiment import Experiment
from perturblearn.graph import Plan, Watcher
from perturblearn.report import Result, TheoryComparison, export_run
from perturblearn.store import ArtefactStore, Record, RecordStore, parse_size

CACHE_VARIABLE = "PERTURBLEARN_CACHE"
CACHE_SIZE_VARIABLE = "PERTURBLEARN_CACHE_SIZE"

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
    if out is None:
        executor = experiment.run(cache, force=force, watch=watch)
        seconds = sum(executor.seconds.values())
        return Result.of(experiment.config, experiment.key, experiment.measures(executor), seconds)
    return _run_in_folder(experiment, Path(out), cache, force=force, watch=watch)


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
    data_dir: str | os.PathLike[str] | None = None,
) -> Experiment:
    """The experiment that these arguments describe, validated and not yet run."""
    keys = dict(overrides or {})
    dataset: Dataset | None = None
    if isinstance(data, str):
        keys["data.name"] = data
    elif data is not None:
        dataset = dataset_from(data)
        keys["data.name"] = "python"
    for key, handed in (("standard.model.name", standard), ("perturbation.model.name", perturbation)):
        if handed is not None:
            keys[key] = hand_over(handed)
    if attack is not None:
        keys["attack.name"] = hand_over_attack(attack)
    resolved = resolve_config(config, keys)
    _check_device(resolved.device)
    return Experiment(resolved, dataset=dataset, data_dir=None if data_dir is None else Path(data_dir))


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
    if result.config.data.provider == "python" and data is None:
        raise DataError(
            f"the data of {result.config.name} were handed over in Python; "
            "call perturblearn.compare_with_theory(run, data=...) with them"
        )
    networks = {result.config.standard.model.name, result.config.perturbation.model.name} - set(TWO_LAYER)
    if networks:
        raise ConfigError(
            f"{result.config.name} has a {networks.pop()}, but both papers' predictions are for two-layer networks; "
            "name a run of two_layer, one_hidden or limit"
        )
    experiment = make_experiment(result.config, data=data, data_dir=data_dir)
    if experiment.key != result.key:
        raise DataError(
            f"the data or the software have changed since {result.config.name} was run; run it again, for example with "
            f"'perturblearn run {(result.folder or Path('RUN')) / 'config.toml'}'"
        )
    store = None if result.folder is None else artefact_store(result.folder.parent)
    executor, of_seeds, drawn = experiment.compare(
        store if cache is None else cache, map_limits=map_limits, force=force, watch=watch
    )
    comparison = TheoryComparison(
        result.config,
        result.key,
        {seed: executor.result(stage) for seed, stage in of_seeds.items()},
        executor.result(drawn),
        None if result.folder is None else result.folder / "theory",
    )
    if store is not None:
        comparison.write(store)
    return comparison


def artefact_store(out: Path) -> ArtefactStore:
    """The store of finished stages that belongs to an output folder."""
    return ArtefactStore(out / ".store")


def cache_store(
    cache_dir: str | os.PathLike[str] | None = None, cache_size: int | str | None = None
) -> ArtefactStore | None:
    """The store of finished stages that all runs share, if one is wanted.

    Args:
        cache_dir: its folder; None for what ``PERTURBLEARN_CACHE`` names.
        cache_size: how large it may grow, in bytes or as text; None for what ``PERTURBLEARN_CACHE_SIZE`` says.

    Returns:
        The store, or None where neither the argument nor the variable names a folder.

    Raises:
        ConfigError: a size that is no size or not above 0, or one without a folder.
    """
    folder = cache_dir or os.environ.get(CACHE_VARIABLE)
    name, size = "cache_size", cache_size
    if size is None:
        name, size = CACHE_SIZE_VARIABLE, os.environ.get(CACHE_SIZE_VARIABLE) or None
    limit = None if size is None else parse_size(size, name=name)
    if folder:
        return ArtefactStore(Path(folder).expanduser(), limit=limit, option="--cache-dir")
    if size is not None:
        raise ConfigError(
            f"{name} = {size!r}, but there is no cache that it could limit; name a folder with --cache-dir or "
            f"{CACHE_VARIABLE}, or leave the size out"
        )
    return None


def run_folder(experiment: Experiment, out: Path) -> Path:
    """Where a run is exported to: its name, then the first digits of its key."""
    return out / f"{experiment.config.name}-{experiment.key[:10]}"


def _run_in_folder(
    experiment: Experiment, out: Path, cache: ArtefactStore | None, *, force: bool, watch: Watcher | None
) -> Result:
    folder = run_folder(experiment, out)
    if not force and (folder / "result.json").is_file():
        finished = Result.load(folder)
        if finished.key == experiment.key:
            return finished
    # The run's folder is made here and moved into place, so it needs a store on its own disk, wherever stages go.
    store = artefact_store(out)
    records = RecordStore(store.folder / "records.sqlite3")
    key, name, tree = experiment.key, experiment.config.name, config_tree(experiment.config)
    records.write(Record(key, name, "running", tree))
    try:
        executor = experiment.run(store if cache is None else cache, force=force, watch=watch)
        seconds = sum(executor.seconds.values())
        result = Result.of(experiment.config, key, experiment.measures(executor), seconds)
        result = export_run(experiment, executor, result, store, folder)
    except KeyboardInterrupt:
        records.write(Record(key, name, "interrupted", tree))
        raise
    except Exception as error:
        try:
            records.write(Record(key, name, "failed", tree, error=str(error)))
        except StoreError as second:
            error.add_note(str(second))
        raise
    records.write(
        Record(key, name, "finished", tree, result=result.to_dict(), folder=folder.name, seconds=executor.seconds)
    )
    return result


def _check_device(device: str) -> None:
    kind, _, number = device.partition(":")
    count = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= count:
        raise ConfigError(f"device = {device!r}, but torch finds {count} CUDA devices on this machine; choose cpu")
