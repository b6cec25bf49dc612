"""Which draws of a published script each part of an experiment needs; None for our own draws."""

from __future__ import annotations

from typing import Literal

from perturblearn.config import ExperimentConfig, SyntheticConfig, TrainedTwoLayerConfig
from perturblearn.seeding import PublishedDraws, PublishedStart, PublishedTargets


def draws_of(config: ExperimentConfig) -> PublishedDraws | None:
    """The script that an experiment's numbers are drawn by."""
    return None if config.draws == "own" else PublishedDraws(config.draws, config.card)


def draws_of_data(config: ExperimentConfig) -> PublishedDraws | None:
    """The script that its data are drawn by; images are not drawn."""
    return draws_of(config) if isinstance(config.data, SyntheticConfig) else None


def start_of(config: ExperimentConfig, role: Literal["standard", "perturbation"]) -> PublishedStart | None:
    """Where f or g starts. The script draws f first, so g's first weights depend on f's width."""
    draws = draws_of(config)
    if draws is None:
        return None
    if role == "standard":
        return draws.standard
    model = config.standard.model
    assert isinstance(model, TrainedTwoLayerConfig), "the configuration refuses published draws of other networks"
    return draws.perturbation(model.hidden_dim, loads=not isinstance(config.data, SyntheticConfig))


def start_of_targets(config: ExperimentConfig, part: str) -> PublishedTargets | None:
    """Where targets are drawn.

    Args:
        config: the experiment's configuration.
        part: of the data, ``training`` or ``heldout``; the script has no held-out targets, so these are ours.
    """
    draws, data = draws_of(config), config.data
    if draws is None or part == "heldout":
        return None
    if isinstance(data, SyntheticConfig):
        return draws.targets(data.name, data.n_samples, data.input_dim)
    return draws.targets(data.provider, 0, 0)
