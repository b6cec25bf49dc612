"""From a configuration to the attack that it describes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from perturblearn.attacks.attack import Attack
from perturblearn.attacks.ball import Norm
from perturblearn.attacks.foolbox_attack import FoolboxAttack
from perturblearn.attacks.geometry import Geometry
from perturblearn.attacks.inner import InnerAttack, NoisyStep
from perturblearn.attacks.minimum_norm import MinimumNorm
from perturblearn.attacks.norms import norm_of
from perturblearn.attacks.one_step import OneStep
from perturblearn.attacks.own import OwnAttack
from perturblearn.attacks.pgd import PGD
from perturblearn.attacks.radial_pgd import RadialPGD
from perturblearn.attacks.rebuild import Rebuild
from perturblearn.config import (
    AdversaryConfig,
    AttackConfig,
    FoolboxConfig,
    GeometryConfig,
    IterativeConfig,
    MinimumNormConfig,
    NoisyStepConfig,
    OneStepConfig,
    OwnAttackConfig,
    PGDAdversaryConfig,
    PGDConfig,
    RadialPGDAdversaryConfig,
    RadialPGDConfig,
    RebuildConfig,
    RestartingConfig,
)
from perturblearn.data import Band


def make_attack(config: AttackConfig, input_dim: int, *, band: Band | None = None) -> Attack:
    """The attack that a configuration describes, as a value.

    Args:
        config: how inputs are perturbed.
        input_dim: dimension d of the inputs, of which ``pixel_share`` is a share.
        band: the band that the configuration names; None where it names none.

    Raises:
        ConfigError: the share is less than one coordinate.
    """
    attack = _MAKERS[type(config)](config, norm_of(config.norm, config.n_pixels(input_dim)))
    return attack if band is None else replace(attack, band=band)


def make_inner_attack(config: AdversaryConfig) -> InnerAttack:
    """The inner step of adversarial training that a configuration describes, as a value."""
    return _INNER_MAKERS[type(config)](config, norm_of(config.norm))


def _search(config: IterativeConfig) -> dict[str, Any]:
    keys = {"epsilon": config.epsilon, "steps": config.steps, "step": config.step, "bfloat16": config.is_bfloat16}
    if isinstance(config, RestartingConfig):
        keys |= {"random_start": config.random_start, "restarts": config.restarts}
        keys |= {"patience": config.patience, "augment": config.augment}
    return keys


_MAKERS: dict[type[AttackConfig], Callable[[Any, Norm], Attack]] = {
    OneStepConfig: lambda config, norm: OneStep(norm, config.epsilon, bare=config.is_bare),
    GeometryConfig: lambda config, norm: Geometry(norm, config.epsilon, bare=config.is_bare),
    RadialPGDConfig: lambda config, norm: RadialPGD(norm, **_search(config)),
    PGDConfig: lambda config, norm: PGD(norm, **_search(config)),
    MinimumNormConfig: lambda config, norm: MinimumNorm(norm, **_search(config)),
    RebuildConfig: lambda config, norm: Rebuild(norm, math.inf, config.steps, config.step, config.layer),
    FoolboxConfig: lambda config, norm: FoolboxAttack(
        norm, config.epsilon, config.name.removeprefix("foolbox:"), config.steps
    ),
    OwnAttackConfig: lambda config, norm: OwnAttack(norm, config.epsilon, config.name),
}
"""How each attack is made; one line for each variant of the configuration."""


def _inner_search(config: PGDAdversaryConfig) -> dict[str, Any]:
    keys = ("epsilon", "steps", "step", "random_start")
    return {key: getattr(config, key) for key in keys}


_INNER_MAKERS: dict[type[AdversaryConfig], Callable[[Any, Norm], InnerAttack]] = {
    NoisyStepConfig: lambda config, norm: NoisyStep(norm, config.epsilon, config.step, config.noise),
    PGDAdversaryConfig: lambda config, norm: PGD(norm, **_inner_search(config)),
    RadialPGDAdversaryConfig: lambda config, norm: RadialPGD(norm, **_inner_search(config)),
}
"""How each inner attack is made; one line for each variant of the configuration."""
