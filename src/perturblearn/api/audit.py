"""What a model's perturbations teach another network, and how much of it is class features."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.api.commands import command
from perturblearn.api.grids import Learners, learner_keys, refuse_settled, refuse_true_labels, written_keys
from perturblearn.api.objects import UserObjects
from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.prepared import PreparedResult
from perturblearn.api.run import check_device
from perturblearn.config import (
    JSON,
    NETWORKS,
    AttackConfig,
    ConfigLike,
    ExperimentConfig,
    Keys,
    ModelConfig,
    foreign_data,
    given_tree,
    given_value,
    resolve_config,
)
from perturblearn.config.section import as_tuple
from perturblearn.data import Outline, data_outline
from perturblearn.errors import ConfigError, PerturbLearnError
from perturblearn.experiment import (
    DEEP_DEFAULTS,
    DEFAULT_NETWORK,
    Experiment,
    RouteCase,
    audit_configs,
    default_epsilons,
    default_learner,
    default_targets,
    route_cases,
    try_networks,
)
from perturblearn.graph import Executor, Watcher
from perturblearn.results import Audit, DataSize, Result, RouteResult, Style, first_examples
from perturblearn.results.cells import example_files


def audit(
    model: Any,
    data: Any = None,
    *,
    epsilons: Mapping[str, float | Sequence[float]] | None = None,
    learners: Learners = None,
    checkpoint: PathLike | None = None,
    train: bool = False,
    why: bool = False,
    foreign: str | Sequence[str] = (),
    config: ConfigLike | None = None,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
    out: PathLike | None = None,
    cache_dir: PathLike | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    track: str | Sequence[str] = (),
    formats: Sequence[str] = ("png",),
    style: Style | None = None,
    watch: Watcher | None = None,
) -> Audit:
    """Audit a model: what do networks learn from nothing but its perturbations, over norms, epsilons and learners?

    For every combination, the five steps of `learn_from_perturbations` with this model as f: inputs are perturbed
    towards wrong classes, a learner g is trained on them with those wrong labels, and is tested on held-out clean
    data beside both controls and a linear classifier of the same perturbed set.

    Args:
        model: f, with its weights unchanged: a ``torch.nn.Module``, a function without arguments that returns one, or
            the import path of either, ``"package.module:name"``.
        data: a `Dataset`, a pair (inputs, labels), a torch data set, or a name such as ``"folder:PATH"``; None for
            the configuration's.
        epsilons: sizes of perturbations by norm, ``{"l2": [0.5, 1], "linf": 0.1}``; in l0, numbers of coordinates.
            None for one size in l2 and one in linf that fit the scale of the data.
        learners: g's network by name, by import path or as an object; a list of these; or a mapping of names to keys,
            ``{"convnet": {"epochs": 12}}``. None for the configuration's network; if it names none, the ConvNet for
            images and the MLP for all other data.
        checkpoint: file of f's weights, if the model comes without weights.
        train: train f first, from fresh weights.
        why: ask of every combination why g learned: follow every route by which it may have, beside its own control.
        foreign: other data sets of the same shape, ``"fashion_mnist"``, to whose inputs f's answers are one of these.
        config: path of a TOML file, a nested mapping or a configuration, for all other keys.
        overrides: keys by dotted name, ``{"seeds": 5, "attack.steps": 50, "controls.draws": 3}``.
        data_dir, out, cache_dir, cache_size, force, formats, style, track, watch: as in `learn_from_perturbations`.

    Returns:
        The audit: prints as a verdict and a table, plots, converts to a dict or a pandas frame.

    Raises:
        ConfigError, DataError, DivergenceError, ModelError, StoreError: as in `learn_from_perturbations`.

    Example:
        >>> result = audit("mlp", "digits", train=True, overrides={"seeds": 1})  # doctest: +SKIP
        >>> print(result.verdict)  # doctest: +SKIP
    """
    options = RunOptions(
        out=out,
        cache_dir=cache_dir,
        cache_size=cache_size,
        force=force,
        formats=formats,
        style=style,
        track=track,
        watch=watch,
    )
    prepared = prepare_audit(
        model,
        data,
        epsilons=epsilons,
        learners=learners,
        checkpoint=checkpoint,
        train=train,
        why=why,
        foreign=foreign,
        config=config,
        overrides=overrides,
        data_dir=data_dir,
    )
    return prepared.run(options)


def prepare_audit(
    model: Any,
    data: Any = None,
    *,
    epsilons: Mapping[str, float | Sequence[float]] | None = None,
    learners: Learners = None,
    checkpoint: PathLike | None = None,
    train: bool = False,
    why: bool = False,
    foreign: str | Sequence[str] = (),
    config: ConfigLike | None = None,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
) -> PreparedAudit:
    """What `audit` does with these arguments, validated and not yet done."""
    others = [str(name) for name in as_tuple(foreign)]
    if others and not why:
        raise ConfigError(
            f"--foreign {','.join(others)} names data for one of the routes of --why, which is not asked for; add "
            "--why, or leave it out"
        )
    refuse_settled(overrides, {"standard.model.name": "--model", "perturbation.model.name": "--learner"})
    refuse_settled(overrides, {"standard.training": "--train"})
    tree = given_tree(config)
    if epsilons is not None:
        refuse_settled(overrides, dict.fromkeys(("attack.norm", "attack.epsilon", "attack.pixels"), "--epsilons"))
    keys, dataset = UserObjects(data=data, standard=model).register(overrides)
    if checkpoint is not None:
        keys["standard.model.checkpoint"] = os.fspath(checkpoint)
    _require_weights(keys, train)
    # A file may say how to train an f of its own, which is not the one that is audited.
    of_file = tree.get("standard")
    if not train:
        tree["standard"] = {}
    elif isinstance(of_file, Mapping):
        tree["standard"] = {key: value for key, value in of_file.items() if key not in ("training", "model")}
    named = given_value(tree, "perturbation.model.name")
    norm, attack = (keys.get(name, given_value(tree, name)) for name in ("attack.norm", "attack.name"))
    _require_l0(epsilons, norm, attack)
    standard = DEEP_DEFAULTS["standard"] if train else {"training": "none"}
    placeholder = {**DEEP_DEFAULTS["perturbation"], "model": {"name": DEFAULT_NETWORK}}
    defaults = {**DEEP_DEFAULTS, "name": "audit", "standard": standard, "perturbation": placeholder}
    base = resolve_config(tree, keys, defaults=defaults)
    refuse_true_labels(base)
    check_device(base.device)
    folder = None if data_dir is None else Path(data_dir)
    outline = Outline.of(dataset) if dataset is not None else data_outline(base.data, data_dir=folder)
    if "targets" not in base.attack.model_fields_set:
        base = resolve_config(base, {"attack.targets": default_targets(outline.signature)})
    if epsilons is None:
        epsilons = _own_epsilons(base.attack, default_epsilons(outline.signature))
    sizes = {norm: as_tuple(values) for norm, values in epsilons.items()}
    networks = learner_keys(learners, default=str(named or default_learner(outline.signature)))
    configs = audit_configs(base, sizes, networks)
    written = ",".join(f"{norm}:{size:g}" for norm, several in sizes.items() for size in several)
    options = {"model": model, "data": data, "epsilons": written, "learner": list(networks), "train": train}
    options |= {"checkpoint": checkpoint, "data-dir": data_dir, "why": why, "foreign": others or None}
    again = command("audit", config, options=options, keys={**(overrides or {}), **written_keys(networks)})

    def experiment_of(each: ExperimentConfig) -> Experiment:
        return Experiment(each, dataset=dataset, data_dir=folder)

    experiments = tuple(map(experiment_of, configs))
    # As many inputs as f was trained on, or all that there are.
    counts = {name: data_outline(foreign_data(base.data, name), data_dir=folder).n_samples for name in others}
    sources = {name: min(count, outline.n_samples) for name, count in counts.items()}
    cases = route_cases(configs, outline.signature, sources) if why else ()
    routes = tuple((case, None if case.config is None else experiment_of(case.config)) for case in cases)
    followed = tuple(experiment for _, experiment in routes if experiment is not None)
    return PreparedAudit(experiments=(*experiments, *followed), cells=experiments, routes=routes, command=again)


@dataclass(frozen=True, kw_only=True)
class PreparedAudit(PreparedResult[Audit]):
    """An audit that is ready to run: an experiment for each norm, epsilon and learner, and for each route.

    Args:
        cells: those of norms, epsilons and learners.
        routes: each with its experiment; None where it cannot be run. All of them are among ``experiments`` too.
    """

    cells: tuple[Experiment, ...]
    routes: tuple[tuple[RouteCase, Experiment | None], ...]

    def _executed(self, options: RunOptions) -> Executor:
        if not self.routes:
            return super()._executed(options)
        plan = self.plan(options)
        try_networks(plan)
        executor = options.make_executor(plan, options.stages, options.watcher)
        # Only once f is trained is it known whether it makes errors, for example: a route that ends there is listed.
        executor.run(keep_going=True)
        failed = [error for each in self.cells if (error := _error_of(each, executor)) is not None]
        failed += [error for error in executor.errors.values() if not isinstance(error, PerturbLearnError)]
        if failed:
            raise failed[0]
        return executor

    def _finished_in(self, folder: Path) -> Audit | None:
        return Audit.load(folder) if (folder / "audit.json").is_file() else None

    def _measured(self, executor: Executor) -> Audit:
        def result_of(each: Experiment) -> Result:
            return Result.of(each.config, each.key, each.measures(executor), 0.0, DataSize.of(each.outline))

        def route_of(case: RouteCase, experiment: Experiment | None) -> RouteResult:
            error = None if experiment is None else _error_of(experiment, executor)
            if experiment is None or error is not None:
                return RouteResult.of(case.name, case.cell, None, str(error or case.reason))
            return RouteResult.of(case.name, case.cell, result_of(experiment))

        return Audit(
            [result_of(each) for each in self.cells],
            self.key,
            self.name,
            command=self.command,
            routes=tuple(route_of(case, experiment) for case, experiment in self.routes),
            seconds=sum(executor.seconds.values()),
        )

    def _written(self, executor: Executor, folder: Path, options: RunOptions) -> Audit:
        assert options.results is not None
        from perturblearn.report.words import attack_text

        # Pictures show one experiment per attack: which network learns from it makes no difference to them.
        attacks = {attack_text(each.config.attack): each for each in reversed(self.cells)}
        examples = {name: first_examples(each, executor) for name, each in reversed(attacks.items())}
        return self._measured(executor).write(options.results, folder, example_files(examples), options.figures)


def _error_of(experiment: Experiment, executor: Executor) -> Exception | None:
    """What ended an experiment early; None for one that has all its results."""
    return next((executor.errors[stage.key] for stage in experiment.targets if stage.key in executor.errors), None)


def _own_epsilons(
    attack: AttackConfig, defaults: Mapping[str, tuple[float, ...]]
) -> Mapping[str, float | Sequence[float]]:
    """Sizes by norm if only the attack's own keys name any."""
    if "epsilon" in attack.model_fields_set:
        return {attack.norm: attack.epsilon}
    if "norm" in attack.model_fields_set and attack.norm in defaults:
        return {attack.norm: defaults[attack.norm]}
    return defaults


def _require_l0(epsilons: Mapping[str, object] | None, norm: JSON, attack: JSON) -> None:
    """Raise a ConfigError for a request for l0 perturbations that would not be followed."""
    if epsilons is None and norm == "l0":
        raise ConfigError(
            "attack.norm = 'l0' needs numbers of coordinates; use --epsilons instead, for example --epsilons l0:20"
        )
    if "l0" in (epsilons or {}) and attack not in (None, "radial_pgd"):
        raise ConfigError(
            f"attack.name = {attack!r}, but l0 perturbations are found by radial_pgd; leave out attack.name, or the "
            "sizes in l0"
        )


def _require_weights(keys: Keys, train: bool) -> None:
    name = keys["standard.model.name"]
    model = ModelConfig.named(name)
    if model is not None and not model.is_network:
        raise ConfigError(f"{name} is a network of the theory; audit a deep network, or use 'perturblearn run'")
    if name in NETWORKS and not train and "standard.model.checkpoint" not in keys:
        raise ConfigError(
            f"{name} comes without weights; name a file of weights with --checkpoint, or train it first with --train"
        )
