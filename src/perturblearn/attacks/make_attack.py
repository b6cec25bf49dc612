"""From a configuration to the attack that it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perturblearn.attacks.attack import DEFAULT_STEP, DEFAULT_STEPS, Attack
from perturblearn.attacks.foolbox_attack import FoolboxAttack
from perturblearn.attacks.geometry import Geometry
from perturblearn.attacks.minimum_norm import MinimumNorm
from perturblearn.attacks.norms import Norm, norm_of
from perturblearn.attacks.one_step import OneStep
from perturblearn.attacks.own import OwnAttack
from perturblearn.attacks.pgd import PGD
from perturblearn.attacks.radial_pgd import RadialPGD
from perturblearn.config import AttackConfig
from perturblearn.errors import ConfigError

FOOLBOX = "foolbox:"


def make_attack(config: AttackConfig, input_dim: int) -> Attack:
    """The attack that a configuration names, as a value.

    Args:
        config: how inputs are perturbed.
        input_dim: dimension d of the inputs, of which ``pixel_share`` is a share.

    Raises:
        ConfigError: as in `make_norm`.
    """
    key = config.name
    if config.is_own:
        key = FOOLBOX if key.startswith(FOOLBOX) else "own"
    return _MAKERS[key](config, make_norm(config, input_dim))


def make_norm(config: AttackConfig, input_dim: int) -> Norm:
    """The norm that bounds a configuration's perturbations; in L0 with its pixels, given as a number or as a share.

    Args:
        config: how inputs are perturbed.
        input_dim: dimension d of the inputs.

    Raises:
        ConfigError: the share is less than one coordinate.
    """
    if config.pixel_share is None:
        return norm_of(config.norm, config.pixels)
    pixels = int(config.pixel_share * input_dim)
    if pixels == 0:
        raise ConfigError(
            f"attack.pixel_share = {config.pixel_share:g} of {input_dim} coordinates is less than one of them; choose "
            f"at least {1 / input_dim:.2g}"
        )
    return norm_of(config.norm, pixels)


def _step(kind: type[OneStep | Geometry]) -> Callable[[AttackConfig, Norm], Attack]:
    return lambda config, norm: kind(norm, config.epsilon, bare=config.source == "none")


def _search(config: AttackConfig) -> dict[str, Any]:
    return {
        "epsilon": config.epsilon,
        "steps": config.steps or DEFAULT_STEPS,
        "step": config.step or DEFAULT_STEP,
        "bfloat16": config.products == "bfloat16",
    }


def _descent(kind: type[PGD | RadialPGD]) -> Callable[[AttackConfig, Norm], Attack]:
    return lambda config, norm: kind(
        norm, random_start=config.random_start, restarts=config.restarts, **_search(config)
    )


_MAKERS: dict[str, Callable[[AttackConfig, Norm], Attack]] = {
    "one_step": _step(OneStep),
    "geometry": _step(Geometry),
    "radial_pgd": _descent(RadialPGD),
    "pgd": _descent(PGD),
    "minimum_norm": lambda config, norm: MinimumNorm(norm, **_search(config)),
    FOOLBOX: lambda config, norm: FoolboxAttack(norm, config.epsilon, config.name.removeprefix(FOOLBOX), config.steps),
    "own": lambda config, norm: OwnAttack(norm, config.epsilon, config.name),
}
"""How each attack is made; one line for each variant of the configuration."""
