"""From the keys of a configuration to the attack as a value."""

from __future__ import annotations

from typing import Any

import pytest

from perturblearn.attacks import (
    L0,
    L2,
    PGD,
    Attack,
    FoolboxAttack,
    Geometry,
    LInf,
    MinimumNorm,
    OneStep,
    OwnAttack,
    RadialPGD,
    make_attack,
)
from perturblearn.config import AttackConfig
from perturblearn.errors import ConfigError


def made(**keys: Any) -> Attack:
    return make_attack(AttackConfig.model_validate(keys), 10)


@pytest.mark.parametrize(
    ("keys", "attack"),
    [
        ({}, OneStep(L2(), 1.0)),
        ({"source": "none", "epsilon": 0.3}, OneStep(L2(), 0.3, bare=True)),
        ({"norm": "l0", "pixels": 3}, OneStep(L0(3), 1.0)),
        ({"name": "geometry", "norm": "linf"}, Geometry(LInf(), 1.0)),
        ({"name": "geometry", "source": "none"}, Geometry(L2(), 1.0, bare=True)),
        ({"name": "radial_pgd"}, RadialPGD(L2(), 1.0, steps=100, step=0.2)),
        ({"name": "radial_pgd", "norm": "l0", "pixel_share": 0.55}, RadialPGD(L0(5), 1.0)),
        (
            {"name": "pgd", "norm": "linf", "steps": 7, "step": 0.3, "random_start": True, "restarts": 2},
            PGD(LInf(), 1.0, steps=7, step=0.3, random_start=True, restarts=2),
        ),
        ({"name": "pgd", "products": "bfloat16"}, PGD(L2(), 1.0, bfloat16=True)),
        ({"name": "pgd", "patience": 5, "augment": 4}, PGD(L2(), 1.0, patience=5, augment=4)),
        ({"name": "minimum_norm", "steps": 9}, MinimumNorm(L2(), 1.0, steps=9)),
        ({"name": "foolbox:L2PGD", "epsilon": 2}, FoolboxAttack(L2(), 2.0, "L2PGD")),
        ({"name": "foolbox:L2PGD", "steps": 3}, FoolboxAttack(L2(), 1.0, "L2PGD", 3)),
        ({"name": "package.module:attack", "norm": "linf"}, OwnAttack(LInf(), 1.0, "package.module:attack")),
    ],
    ids=str,
)
def test_every_variant_is_a_value(keys: dict[str, Any], attack: Attack) -> None:
    assert made(**keys) == attack


def test_a_share_of_less_than_one_coordinate() -> None:
    with pytest.raises(ConfigError, match=r"attack.pixel_share = 0.05 of 10 coordinates is less than one of them"):
        made(norm="l0", pixel_share=0.05)
