"""What a model's perturbations teach, and how much of it is class features."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from perturblearn.api.commands import command
from perturblearn.api.run import ConfigLike, check_device, handed_over
from perturblearn.api.stores import artefact_store, cache_store, recorded
from perturblearn.classifiers import hand_over
from perturblearn.config import (
    NETWORKS,
    AttackConfig,
    ExperimentConfig,
    ModelConfig,
    config_tree,
    given_tree,
    resolve_config,
)
from perturblearn.data import Outline, data_outline
from perturblearn.errors import ConfigError
from perturblearn.experiment import (
    DEEP_DEFAULTS,
    Experiment,
    audit_configs,
    default_epsilons,
    default_learner,
    default_targets,
    key_of,
    plan_together,
    run_together,
)
from perturblearn.graph import Executor, Plan, Watcher
from perturblearn.report import Audit, Result, first_examples
from perturblearn.report.examples import Examples
from perturblearn.report.grid import attack_text
from perturblearn.store import ArtefactStore

Learners = Any
"""A network, several, or a mapping of networks' names to keys of their own."""


def audit(
    model: Any,
    data: Any = None,
    *,
    epsilons: Mapping[str, float | Sequence[float]] | None = None,
    learners: Learners = None,
    checkpoint: str | os.PathLike[str] | None = None,
    train: bool = False,
    config: ConfigLike | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    watch: Watcher | None = None,
) -> Audit:
    """What networks learn from nothing but a model's perturbations, over norms, epsilons and learners.

    For every combination, the five steps of `learn_from_perturbations` with this model as f: inputs are perturbed
    towards wrong classes, a learner g is trained on them under those wrong labels, and is measured on held-out clean
    data beside both controls and a linear classifier of the same perturbed set.

    Args:
        model: f, taken with its weights as they stand: a ``torch.nn.Module``, a function without arguments that returns
            one, or either by its import path ``"package.module:name"``.
        data: a `Dataset`, a pair (inputs, labels), a torch data set, or a name such as ``"folder:PATH"``; None for
            what the configuration names.
        epsilons: sizes of perturbations by norm, ``{"l2": [0.5, 1], "linf": 0.1}``; in l0 numbers of coordinates. None
            for one of each in l2 and linf, by the scale of the data.
        learners: g's network by name, import path, or as an object; several of them; or a mapping of names to keys,
            ``{"convnet": {"epochs": 12}}``. None for the
            configuration's, and where it names none for the ConvNet on images, the MLP on all else.
        checkpoint: file of f's weights, where the model comes without.
        train: train f first, from fresh weights.
        config: path of a TOML file, a nested mapping or a configuration with whatever else is to be set.
        overrides: keys by dotted name, ``{"seeds": 5, "attack.steps": 50, "controls.draws": 3}``.
        data_dir, out, cache_dir, cache_size, force, watch: as in `learn_from_perturbations`.

    Returns:
        The audit: prints as a table with a verdict in two sentences, plots, converts to a dict or a pandas frame.

    Raises:
        ConfigError, DataError, DivergenceError, ModelError, StoreError: as in `learn_from_perturbations`.

    Example:
        >>> found = audit("mlp", "digits", train=True, overrides={"seeds": 1})  # doctest: +SKIP
        >>> print(found.verdict)  # doctest: +SKIP
    """
    prepared = prepare_audit(
        model,
        data,
        epsilons=epsilons,
        learners=learners,
        checkpoint=checkpoint,
        train=train,
        config=config,
        overrides=overrides,
        data_dir=data_dir,
    )
    return prepared.run(out, cache_store(cache_dir, cache_size), force=force, watch=watch)


def prepare_audit(
    model: Any,
    data: Any = None,
    *,
    epsilons: Mapping[str, float | Sequence[float]] | None = None,
    learners: Learners = None,
    checkpoint: str | os.PathLike[str] | None = None,
    train: bool = False,
    config: ConfigLike | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Auditing:
    """What `audit` does with these arguments, validated and not yet done."""
    refuse_settled(overrides, {"standard.model.name": "--model", "perturbation.model.name": "--learner"})
    refuse_settled(overrides, {"standard.training": "--train"})
    tree = given_tree(config)
    if epsilons is not None:
        refuse_settled(overrides, dict.fromkeys(("attack.norm", "attack.epsilon", "attack.pixels"), "--epsilons"))
    keys, dataset = handed_over(overrides, data, standard=model)
    if checkpoint is not None:
        keys["standard.model.checkpoint"] = os.fspath(checkpoint)
    _require_weights(keys, train)
    # A file may tell how to train an f of its own, which is not the one that is audited.
    of_file = dict(tree.pop("standard", {})) if train else {}
    tree["standard"] = {key: value for key, value in of_file.items() if key not in ("training", "model")}
    named = tree.get("perturbation", {}).get("model", {}).get("name")
    attack = keys.get("attack.name", tree.get("attack", {}).get("name"))
    _require_l0(epsilons, keys.get("attack.norm", tree.get("attack", {}).get("norm")), attack)
    standard = DEEP_DEFAULTS["standard"] if train else {"training": "none"}
    placeholder = {**DEEP_DEFAULTS["perturbation"], "model": {"name": "mlp"}}
    defaults = {**DEEP_DEFAULTS, "name": "audit", "standard": standard, "perturbation": placeholder}
    base = resolve_config(tree, keys, defaults=defaults)
    refuse_mixing(base)
    check_device(base.device)
    folder = None if data_dir is None else Path(data_dir)
    outline = Outline.of(dataset) if dataset is not None else data_outline(base.data, data_dir=folder)
    if "targets" not in base.attack.model_fields_set:
        base = resolve_config(base, {"attack.targets": default_targets(outline.signature)})
    if epsilons is None:
        epsilons = _own_epsilons(base.attack, default_epsilons(outline.signature))
    sizes = {norm: _several(values) for norm, values in epsilons.items()}
    networks = learner_keys(learners, default=named or default_learner(outline.signature))
    configs = audit_configs(base, sizes, networks)
    written = ",".join(f"{norm}:{size:g}" for norm, several in sizes.items() for size in several)
    of_learners = {f"{name}.{key}": value for name, own in networks.items() for key, value in own.items()}
    options = {"model": model, "data": data, "epsilons": written, "learner": list(networks), "train": train}
    options |= {"checkpoint": checkpoint, "data-dir": data_dir}
    again = command("audit", config, options=options, keys={**(overrides or {}), **of_learners})
    return Auditing(tuple(Experiment(each, dataset=dataset, data_dir=folder) for each in configs), again)


@dataclass(frozen=True)
class Auditing:
    """An audit that is to be done.

    Args:
        experiments: one per combination.
        command: makes it again; empty if that takes objects.
    """

    experiments: tuple[Experiment, ...]
    command: str = ""

    @cached_property
    def key(self) -> str:
        """SHA-256 of all stages that are wanted."""
        return key_of(self.experiments)

    @property
    def name(self) -> str:
        """As the user calls it."""
        return self.experiments[0].config.name

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run."""
        return plan_together(self.experiments, store, force=force)

    def run(
        self,
        out: str | os.PathLike[str] | None,
        cache: ArtefactStore | None = None,
        *,
        force: bool = False,
        watch: Watcher | None = None,
    ) -> Audit:
        """Run what is not finished, in memory or into a folder."""
        if out is None:
            return self._measured(run_together(self.experiments, cache, force=force, watch=watch))
        folder = Path(out) / f"{self.name}-{self.key[:10]}"
        if not force and (folder / "audit.json").is_file():
            finished = Audit.load(folder)
            if finished.key == self.key:
                return finished
        store = artefact_store(Path(out))

        def work() -> tuple[Audit, Mapping[str, float]]:
            executor = run_together(self.experiments, store if cache is None else cache, force=force, watch=watch)
            audit = self._measured(executor).write(store, folder, self._examples(executor))
            return audit, executor.seconds

        return recorded(store, self.key, self.name, config_tree(self.experiments[0].config), work)

    def _examples(self, executor: Executor) -> dict[str, Examples]:
        """Of every attack; which network learns from it makes no difference."""
        attacks = {attack_text(each.config.attack): each for each in reversed(self.experiments)}
        return {name: first_examples(each, executor) for name, each in reversed(attacks.items())}

    def _measured(self, executor: Executor) -> Audit:
        cells = [Result.of(each.config, each.key, each.measures(executor), 0.0) for each in self.experiments]
        return Audit(cells, self.key, self.name, command=self.command, seconds=sum(executor.seconds.values()))


def learner_keys(learners: Learners, *, default: str) -> dict[str, Mapping[str, Any]]:
    """Networks by the name that a configuration holds, each with keys of its own.

    Args:
        learners: see `audit`.
        default: what None stands for.

    Raises:
        ConfigError: a network is named twice.
        ModelError: an object is no network.
    """
    if isinstance(learners, Mapping):
        named = [(name, keys) for name, keys in learners.items()]
    else:
        named = [(learner, {}) for learner in _several(default if learners is None else learners)]
    found: dict[str, Mapping[str, Any]] = {}
    for learner, keys in named:
        name = learner if isinstance(learner, str) else hand_over(learner)
        if name in found:
            raise ConfigError(f"the network {name} is named twice; name each once")
        if keys.get("model.name", name) != name:
            raise ConfigError(f"the keys of {name} name another network, {keys['model.name']}; leave that key out")
        found[name] = keys
    return found


def _own_epsilons(attack: AttackConfig, defaults: Mapping[str, tuple[float, ...]]) -> Mapping[str, Any]:
    """Sizes by norm where nobody named any but in the attack's own keys."""
    if "epsilon" in attack.model_fields_set:
        return {attack.norm: attack.epsilon}
    if "norm" in attack.model_fields_set and attack.norm in defaults:
        return {attack.norm: defaults[attack.norm]}
    return defaults


def refuse_settled(overrides: Mapping[str, Any] | None, settled: Mapping[str, str]) -> None:
    """Raise a ConfigError for a key that would be ignored, because an option settles it."""
    for key, option in settled.items():
        if key in (overrides or {}):
            raise ConfigError(f"the key {key} is what {option} is for; say it there alone")


def refuse_mixing(config: ExperimentConfig) -> None:
    """Raise a ConfigError for clean samples among the perturbed ones, from which g would know the classes."""
    if config.mixing.is_mixed:
        raise ConfigError(
            f"mixing.perturbed_share = {config.mixing.perturbed_share:g} shows g clean samples under their true labels "
            "too, so what it knows would not come from perturbations alone; leave it out, or use 'perturblearn run'"
        )


def _require_l0(epsilons: Mapping[str, Any] | None, norm: str | None, attack: str | None) -> None:
    """Raise a ConfigError for an l0 audit that is asked for in a way that would not be followed."""
    if epsilons is None and norm == "l0":
        raise ConfigError("attack.norm = 'l0' needs numbers of coordinates; give them as --epsilons l0:20 instead")
    if "l0" in (epsilons or {}) and attack not in (None, "radial_pgd"):
        raise ConfigError(
            f"attack.name = {attack!r}, but perturbations in l0 are searched for by radial_pgd; leave out one of both"
        )


def _several(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, (list, tuple)) else (values,)


def _require_weights(keys: Mapping[str, Any], train: bool) -> None:
    name = keys["standard.model.name"]
    model = ModelConfig.named(name)
    if model is not None and not model.is_network:
        raise ConfigError(f"{name} is a network of the theory; audit a deep network, or run it with 'perturblearn run'")
    if name in NETWORKS and not train and "standard.model.checkpoint" not in keys:
        raise ConfigError(
            f"{name} has no weights of its own; name a file of them with --checkpoint, or train it first with --train"
        )
