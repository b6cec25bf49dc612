"""Which draws of a published script each part of an experiment needs; None for our own draws."""

from __future__ import annotations

from typing import Literal

from perturblearn.config import ExperimentConfig, SyntheticConfig, TrainedTwoLayerConfig
from perturblearn.perturbed import set_size
from perturblearn.seeding import PublishedControl, PublishedDraws, PublishedSources, PublishedStart, PublishedTargets


def draws_of(config: ExperimentConfig) -> PublishedDraws | None:
    """The script that an experiment's numbers are drawn by."""
    return None if config.draws == "own" else PublishedDraws(config.draws, config.card)


def draws_of_data(config: ExperimentConfig) -> PublishedDraws | None:
    """The script that its data are drawn by; images are not drawn."""
    return draws_of(config) if isinstance(config.data, SyntheticConfig) else None


def start_of(config: ExperimentConfig, role: Literal["standard", "perturbation"]) -> PublishedStart | None:
    """Where f or g starts. Scripts draw f first, so g's first weights depend on f's width."""
    draws = draws_of(config)
    if draws is None:
        return None
    if role == "standard":
        return draws.standard
    loads = not isinstance(config.data, SyntheticConfig)
    return draws.perturbation(_width(config, "standard"), _width(config, "perturbation"), loads=loads)


def start_of_sources(config: ExperimentConfig, part: str) -> PublishedSources | None:
    """Where the noise that is perturbed is drawn; None for sources that are no noise.

    Args:
        config: the experiment's configuration.
        part: of the data, ``training`` or ``heldout``; no script has a held-out perturbed set, so its draws are ours.
    """
    draws, data = draws_of(config), config.data
    if draws is None or part == "heldout" or not config.attack.is_noise:
        return None
    assert isinstance(data, SyntheticConfig), "the configuration refuses noise of a script that draws none"
    return draws.sources(data.name, data.n_samples, data.input_dim)


def start_of_targets(config: ExperimentConfig, part: str) -> PublishedTargets | None:
    """Where targets are drawn; for arguments see `start_of_sources`."""
    draws, data, attack = draws_of(config), config.data, config.attack
    if draws is None or part == "heldout":
        return None
    if not isinstance(data, SyntheticConfig):
        return draws.targets(data.provider, 0, 0)
    n_noise = set_size(attack, data.n_samples, 0, heldout=False) if attack.is_noise else 0
    return draws.targets(data.name, data.n_samples, data.input_dim, n_noise=n_noise)


def draws_of_control(config: ExperimentConfig, of_set: ExperimentConfig) -> PublishedControl | None:
    """How the first unperturbed control is drawn.

    Args:
        config: the experiment's configuration.
        of_set: that of the perturbed set, whose sources and targets the control has.
    """
    sources, targets = start_of_sources(of_set, "training"), start_of_targets(of_set, "training")
    if sources is None or targets is None:
        return None
    draws = draws_of(config)
    start = draws.control(_width(config, "standard")) if draws is not None and draws.has_control else None
    return PublishedControl(sources, targets, start)


def _width(config: ExperimentConfig, role: Literal["standard", "perturbation"]) -> int:
    model = getattr(config, role).model
    assert isinstance(model, TrainedTwoLayerConfig), "the configuration refuses published draws of other networks"
    return model.hidden_dim
