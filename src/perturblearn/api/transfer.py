"""Perturbations of one architecture, learned by another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.api.audit import Learners, learner_keys, refuse_mixing, refuse_settled
from perturblearn.api.commands import command
from perturblearn.api.run import ConfigLike, check_device, handed_over
from perturblearn.api.stores import artefact_store, cache_store, recorded
from perturblearn.config import config_tree, resolve_config
from perturblearn.data import Outline, data_outline
from perturblearn.errors import ConfigError
from perturblearn.experiment import (
    DEEP_DEFAULTS,
    Transfer,
    default_epsilons,
    default_targets,
    plan_together,
    run_together,
)
from perturblearn.graph import Executor, Plan, Watcher
from perturblearn.results import Examples, Result, TransferMatrix, first_examples
from perturblearn.results.cells import example_files
from perturblearn.store import ArtefactStore


def transfer(
    architectures: Learners,
    data: Any = None,
    *,
    config: ConfigLike | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cache_size: int | str | None = None,
    force: bool = False,
    watch: Watcher | None = None,
) -> TransferMatrix:
    """Every architecture's perturbations, learned by every architecture, and how often they fool it.

    Args:
        architectures: networks by name, import path or as objects that can be made afresh; or a mapping of names to
            keys of their own, which apply to f and to g, ``{"mlp": {}, "resnet18": {"model.width": 0.25}}``.
        data: as in `learn_from_perturbations`; None for what the configuration names.
        config: path of a TOML file, a nested mapping or a configuration with whatever else is to be set.
        overrides: keys by dotted name.
        data_dir, out, cache_dir, cache_size, force, watch: as in `learn_from_perturbations`.

    Returns:
        The matrix: prints as tables, plots as heat maps, converts to a dict or a pandas frame.

    Raises:
        ConfigError, DataError, DivergenceError, ModelError, StoreError: as in `learn_from_perturbations`.

    Example:
        >>> matrix = transfer(["mlp", "convnet"], "mnist", overrides={"data.n_samples": 5000})  # doctest: +SKIP
    """
    prepared = prepare_transfer(architectures, data, config=config, overrides=overrides, data_dir=data_dir)
    return prepared.run(out, cache_store(cache_dir, cache_size), force=force, watch=watch)


def prepare_transfer(
    architectures: Learners,
    data: Any = None,
    *,
    config: ConfigLike | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Transferring:
    """What `transfer` does with these arguments, validated and not yet done."""
    refuse_settled(overrides, {"standard.model.name": "--networks", "perturbation.model.name": "--networks"})
    keys, dataset = handed_over(overrides, data)
    networks = learner_keys(architectures, default="mlp")
    if len(networks) < 2:
        raise ConfigError(f"a transfer matrix needs several architectures, not {', '.join(networks)} alone; name two")
    placeholder = {"model": {"name": "mlp"}}
    sections = {role: {**DEEP_DEFAULTS[role], **placeholder} for role in ("standard", "perturbation")}
    base = resolve_config(config, keys, defaults={**DEEP_DEFAULTS, **sections, "name": "transfer"})
    refuse_mixing(base)
    check_device(base.device)
    folder = None if data_dir is None else Path(data_dir)
    outline = Outline.of(dataset) if dataset is not None else data_outline(base.data, data_dir=folder)
    given = base.attack.model_fields_set
    chosen: dict[str, Any] = {}
    if "targets" not in given:
        chosen["attack.targets"] = default_targets(outline.signature)
    if "epsilon" not in given and base.attack.norm in (sizes := default_epsilons(outline.signature)):
        chosen["attack.epsilon"] = sizes[base.attack.norm][0]
    base = resolve_config(base, chosen)
    of_networks = {f"{name}.{key}": value for name, own in networks.items() for key, value in own.items()}
    options = {"networks": list(networks), "data": data, "data-dir": data_dir}
    again = command("transfer", config, options=options, keys={**(overrides or {}), **of_networks})
    return Transferring(Transfer(base, networks, dataset=dataset, data_dir=folder), base.name, again)


@dataclass(frozen=True)
class Transferring:
    """A transfer matrix that is to be filled.

    Args:
        of: the experiments and what is measured besides.
        name: as the user calls it.
        command: makes it again; empty if that takes objects.
    """

    of: Transfer
    name: str
    command: str = ""

    def plan(self, store: ArtefactStore | None = None, *, force: bool = False) -> Plan:
        """What has to run."""
        return plan_together(self.of.experiments.values(), store, beside=self.of.beside, force=force)

    def run(
        self,
        out: str | os.PathLike[str] | None,
        cache: ArtefactStore | None = None,
        *,
        force: bool = False,
        watch: Watcher | None = None,
    ) -> TransferMatrix:
        """Run what is not finished, in memory or into a folder."""
        if out is None:
            return self._measured(self._executed(cache, force, watch))
        folder = Path(out) / f"{self.name}-{self.of.key[:10]}"
        if not force and (folder / "transfer.json").is_file():
            finished = TransferMatrix.load(folder)
            if finished.key == self.of.key:
                return finished
        store = artefact_store(Path(out))

        def work() -> tuple[TransferMatrix, Mapping[str, float]]:
            executor = self._executed(store if cache is None else cache, force, watch)
            matrix = self._measured(executor).write(store, folder, example_files(self._examples(executor)))
            return matrix, executor.seconds

        tree = config_tree(next(iter(self.of.experiments.values())).config)
        return recorded(store, self.of.key, self.name, tree, work)

    def _examples(self, executor: Executor) -> dict[str, Examples]:
        """Of every network whose perturbations they are; which one learns from them makes no difference."""
        networks = {pair[0]: each for pair, each in reversed(self.of.experiments.items())}
        return {name: first_examples(each, executor) for name, each in reversed(networks.items())}

    def _executed(self, store: ArtefactStore | None, force: bool, watch: Watcher | None) -> Executor:
        return run_together(self.of.experiments.values(), store, beside=self.of.beside, force=force, watch=watch)

    def _measured(self, executor: Executor) -> TransferMatrix:
        cells = {
            pair: Result.of(each.config, each.key, each.measures(executor), 0.0)
            for pair, each in self.of.experiments.items()
        }
        fooling = self.of.measures_of_fooling(executor)
        seconds = sum(executor.seconds.values())
        return TransferMatrix(cells, fooling, self.of.key, self.name, command=self.command, seconds=seconds)
