"""What audits and transfer matrices have in common: networks that learn, what fits the data, keys that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perturblearn.classifiers import hand_over
from perturblearn.config import JSON, ExperimentConfig, Keys
from perturblearn.config.section import as_tuple
from perturblearn.errors import ConfigError

Learners = Any
"""A network, several, or a mapping of networks' names to keys of their own."""


def learner_keys(learners: Learners, *, default: str) -> dict[str, Keys]:
    """Networks by the name that a configuration holds, each with keys of its own.

    Args:
        learners: see `audit`.
        default: what None stands for.

    Raises:
        ConfigError: a network is named twice, or its keys name another.
        ModelError: an object is not a network.
    """
    if isinstance(learners, Mapping):
        named = list(learners.items())
    else:
        named = [(learner, {}) for learner in as_tuple(default if learners is None else learners)]
    networks: dict[str, Keys] = {}
    for learner, keys in named:
        name = learner if isinstance(learner, str) else hand_over(learner)
        if name in networks:
            raise ConfigError(f"the network {name} is named twice; name each network once")
        if keys.get("model.name", name) != name:
            raise ConfigError(f"the keys of {name} name another network, {keys['model.name']}; leave out model.name")
        networks[name] = keys
    return networks


def written_keys(networks: Mapping[str, Keys]) -> dict[str, JSON]:
    """The networks' own keys as they are written on the command line."""
    return {f"{name}.{key}": value for name, own in networks.items() for key, value in own.items()}


def refuse_settled(overrides: Keys | None, settled: Mapping[str, str]) -> None:
    """Raise a ConfigError for a key that would be ignored, because an option settles it."""
    for key, option in settled.items():
        if key in (overrides or {}):
            raise ConfigError(f"{option} settles the key {key}; leave the key out and use {option}")


def refuse_true_labels(config: ExperimentConfig) -> None:
    """Raise a ConfigError for samples with true labels, from which g would learn the classes."""
    if config.attack.rebuilds:
        raise ConfigError(
            "attack.name = 'rebuild' shows g inputs with their true labels, so g would not learn from perturbations "
            "alone; choose another attack, or use 'perturblearn run'"
        )
    if config.mixing.is_mixed:
        raise ConfigError(
            f"mixing.perturbed_share = {config.mixing.perturbed_share:g} also shows g clean samples with their true "
            "labels, so g would not learn from perturbations alone; leave it out, or use 'perturblearn run'"
        )
