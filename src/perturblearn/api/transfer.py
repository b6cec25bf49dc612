"""Perturbations of one architecture that teach another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perturblearn.api.commands import command
from perturblearn.api.grids import Learners, learner_keys, refuse_settled, refuse_true_labels, written_keys
from perturblearn.api.objects import UserObjects
from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.prepared import PreparedResult
from perturblearn.api.run import check_device
from perturblearn.config import JSON, ConfigLike, Keys, resolve_config
from perturblearn.data import Outline, data_outline
from perturblearn.errors import ConfigError
from perturblearn.experiment import DEEP_DEFAULTS, DEFAULT_NETWORK, Transfer, default_epsilons, default_targets
from perturblearn.graph import Executor, Watcher
from perturblearn.results import DataSize, Result, Style, TransferMatrix, first_examples
from perturblearn.results.cells import example_files


def transfer(
    architectures: Learners,
    data: Any = None,
    *,
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
) -> TransferMatrix:
    """Train every architecture on every architecture's perturbations, and test how often these fool it.

    Args:
        architectures: networks by name, by import path or as objects that can be initialised afresh; or a mapping of
            names to keys of their own, which apply to f and to g, ``{"mlp": {}, "resnet18": {"model.width": 0.25}}``.
        data: as in `learn_from_perturbations`; None for the configuration's.
        config: path of a TOML file, a nested mapping or a configuration, for all other keys.
        overrides: keys by dotted name.
        data_dir, out, cache_dir, cache_size, force, formats, style, track, watch: as in `learn_from_perturbations`.

    Returns:
        The matrix: prints as tables, plots as heat maps, converts to a dict or a pandas frame.

    Raises:
        ConfigError, DataError, DivergenceError, ModelError, StoreError: as in `learn_from_perturbations`.

    Example:
        >>> matrix = transfer(["mlp", "convnet"], "mnist", overrides={"data.n_samples": 5000})  # doctest: +SKIP
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
    prepared = prepare_transfer(architectures, data, config=config, overrides=overrides, data_dir=data_dir)
    return prepared.run(options)


def prepare_transfer(
    architectures: Learners,
    data: Any = None,
    *,
    config: ConfigLike | None = None,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
) -> PreparedTransfer:
    """What `transfer` does with these arguments, validated and not yet done."""
    refuse_settled(overrides, {"standard.model.name": "--networks", "perturbation.model.name": "--networks"})
    keys, dataset = UserObjects(data=data).register(overrides)
    networks = learner_keys(architectures, default=DEFAULT_NETWORK)
    if len(networks) < 2:
        raise ConfigError(
            f"a transfer matrix needs at least two architectures, not only {', '.join(networks)}; name another"
        )
    placeholder = {"model": {"name": DEFAULT_NETWORK}}
    sections = {role: {**DEEP_DEFAULTS[role], **placeholder} for role in ("standard", "perturbation")}
    base = resolve_config(config, keys, defaults={**DEEP_DEFAULTS, **sections, "name": "transfer"})
    refuse_true_labels(base)
    check_device(base.device)
    folder = None if data_dir is None else Path(data_dir)
    outline = Outline.of(dataset) if dataset is not None else data_outline(base.data, data_dir=folder)
    given = base.attack.model_fields_set
    chosen: dict[str, JSON] = {}
    if "targets" not in given:
        chosen["attack.targets"] = default_targets(outline.signature)
    if "epsilon" not in given and base.attack.norm in (sizes := default_epsilons(outline.signature)):
        chosen["attack.epsilon"] = sizes[base.attack.norm][0]
    base = resolve_config(base, chosen)
    options = {"networks": list(networks), "data": data, "data-dir": data_dir}
    again = command("transfer", config, options=options, keys={**(overrides or {}), **written_keys(networks)})
    matrix = Transfer(base, networks, dataset=dataset, data_dir=folder)
    experiments = tuple(matrix.experiments.values())
    return PreparedTransfer(experiments=experiments, beside=tuple(matrix.beside), command=again, matrix=matrix)


@dataclass(frozen=True, kw_only=True)
class PreparedTransfer(PreparedResult[TransferMatrix]):
    """A transfer matrix that is ready to be filled.

    Args:
        matrix: its experiments by pair of networks, and what is measured besides.
    """

    matrix: Transfer

    def _finished_in(self, folder: Path) -> TransferMatrix | None:
        return TransferMatrix.load(folder) if (folder / "transfer.json").is_file() else None

    def _measured(self, executor: Executor) -> TransferMatrix:
        cells = {
            pair: Result.of(each.config, each.key, each.measures(executor), 0.0, DataSize.of(each.outline))
            for pair, each in self.matrix.experiments.items()
        }
        fooling = self.matrix.measures_of_fooling(executor)
        seconds = sum(executor.seconds.values())
        return TransferMatrix(cells, fooling, self.key, self.name, command=self.command, seconds=seconds)

    def _written(self, executor: Executor, folder: Path, options: RunOptions) -> TransferMatrix:
        assert options.results is not None
        # Pictures show one experiment per attacked network: which one learns from it makes no difference to them.
        attacked = {pair[0]: each for pair, each in reversed(self.matrix.experiments.items())}
        examples = {name: first_examples(each, executor) for name, each in reversed(attacked.items())}
        return self._measured(executor).write(options.results, folder, example_files(examples), options.figures)
