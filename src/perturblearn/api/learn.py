"""Learning from a perturbed set on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perturblearn.api.commands import command
from perturblearn.api.objects import UserObjects
from perturblearn.api.options import PathLike, RunOptions
from perturblearn.api.run import PreparedRun, make_experiment
from perturblearn.api.stored import SetLike, data_may_have_moved, open_set, require_data, require_same_data
from perturblearn.config import JSON, ExperimentConfig, Keys, ModelConfig, config_tree
from perturblearn.errors import ConfigError
from perturblearn.graph import Watcher
from perturblearn.results import Result, Style

_OF_THE_SET = ("data", "standard", "attack")
"""Sections that a set settles."""
_SAME_DATA = ("data.name",)
"""Their keys that only say where something is."""


def learn(
    perturbed: SetLike,
    *,
    perturbation: Any = None,
    data: Any = None,
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
    """Train g on an existing perturbed set, and measure it on clean data: the second half of a run.

    Args:
        perturbed: the set, or its folder.
        perturbation: the network of g in place of the configuration's, as in `learn_from_perturbations`. Keys of the
            replaced network do not apply to it; if only one of the two is a network of the theory, neither does the
            way of training.
        data: the set's data, by name or as objects; None if they are still where the set was made from them.
        overrides: keys by dotted name: of ``perturbation``, ``controls``, ``measures``, ``mixing`` and ``saving``,
            ``name``, and ``seeds``, which are g's. By default g has the set's seed.
        data_dir, out, cache_dir, cache_size, force, report, formats, style, track, watch: as in
            `learn_from_perturbations`.

    Returns:
        The same kind of result as a whole run has.

    Raises:
        ConfigError: a key is settled by the set, or is wrong.
        DataError: the data are not those that the set was made from.
        StoreError: there is no set, or it is damaged.
        DivergenceError, ModelError: see `learn_from_perturbations`.
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
    prepared = prepare_learn(perturbed, perturbation=perturbation, data=data, overrides=overrides, data_dir=data_dir)
    return prepared.run(options)


def prepare_learn(
    perturbed: SetLike,
    *,
    perturbation: Any = None,
    data: Any = None,
    overrides: Keys | None = None,
    data_dir: PathLike | None = None,
) -> PreparedRun:
    """What `learn` does with these arguments, validated and not yet done."""
    stored = open_set(perturbed)
    for key in overrides or {}:
        if key.partition(".")[0] in _OF_THE_SET and key not in _SAME_DATA:
            raise ConfigError(
                f"the set {stored.folder} already settles the key {key}; leave the key out, or write another set with "
                "'perturblearn perturb'"
            )
        if key == "dtype":
            raise ConfigError(f"the set {stored.folder} already settles the key dtype; leave the key out")
    keys = {"seeds": [stored.seed], **(overrides or {})}
    require_data(stored, data, "perturblearn.learn(set, data=...)")
    network = keys.get("perturbation.model.name") if perturbation is None else perturbation
    config = config_tree(stored.config) if network is None else _for_network(stored.config, network)
    with data_may_have_moved(stored, is_named=data is not None or "data.name" in keys):
        objects = UserObjects(data=data, perturbation=perturbation)
        experiment = make_experiment(config, objects, overrides=keys, data_dir=data_dir, stored=stored, attributes=True)
    require_same_data(stored, experiment.fingerprint, experiment.config.data)
    given = keys if network is None else {**keys, "perturbation.model.name": network}
    again = command("learn", stored.folder, options={"data": data, "data-dir": data_dir}, keys=given)
    return PreparedRun(experiments=(experiment,), command=again)


def _for_network(config: ExperimentConfig, network: Any) -> dict[str, JSON]:
    """The set's configuration for a g that may be another network, without the keys that would not apply to it."""
    tree, of_set = config_tree(config), config.perturbation.model
    if network != of_set.name:
        perturbation = config_tree(config.perturbation)
        del perturbation["model"]
        # A network of the theory and a deep one are trained in different ways.
        named = ModelConfig.named(network)
        is_alike = of_set.is_network == (named is None or named.is_network)
        tree["perturbation"] = perturbation if is_alike else {}
    return tree
