"""Attacks that leave other networks alone: what is refused, and what survives a file."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from perturblearn.config import commented_toml, resolve_config, to_toml
from perturblearn.errors import ConfigError

KEEP: dict[str, Any] = {"attack.name": "pgd", "attack.keep_others": 3}
NONE = (
    "attack: keep_others = 3 leaves other networks at the true labels of the sources, which source {} does not have; "
    "choose source natural, or remove it"
)
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"attack.keep_others": -1}, "attack.keep_others = -1, but it must be at least 1"),
    ({"attack.keep_others": 1.5}, "attack.keep_others = 1.5, but it must be a whole number"),
    ({"attack.source": "uniform"}, NONE.format("uniform")),
    ({"attack.source": "data:fashion_mnist"}, NONE.format("data:fashion_mnist")),
    (
        {"attack.keep": "odds", "attack.keep_others": 0},
        "attack: keep = odds is about other networks, but keep_others = 0; set it, or remove keep",
    ),
    (
        {"attack.keep": "odds", "attack.away": True},
        "attack: keep = odds moves sources towards targets, but away = true; remove one of them",
    ),
    (
        {"standard.model.name": "mlp", "standard.training": "none", "standard.model.checkpoint": "f.pt"},
        "attack.keep_others = 3 trains other networks as f is trained, but standard.training = 'none'; train f, or "
        "remove it",
    ),
    (
        {"standard.model.name": "limit", "standard.model.slope": 0.1},
        "attack.keep_others = 3 trains other networks as f is trained, but a limit is the same whoever computes it; "
        "choose a trained network for f, or remove it",
    ),
    (
        {"draws": "neurips2024", "data.name": "gauss"},
        "attack.keep_others = 3 trains networks that the script of draws = 'neurips2024' did not have; choose draws = "
        "'own', or remove it",
    ),
]


@pytest.mark.parametrize(("keys", "sentence"), REFUSED, ids=[str(keys) for keys, _ in REFUSED])
def test_each_mistake_is_one_sentence(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        resolve_config({}, KEEP | keys)
    assert str(told.value) == sentence


@pytest.mark.parametrize("name", ["one_step", "minimum_norm", "foolbox:L2PGD", "mine:attack"])
def test_attacks_that_cannot_leave_others_alone_refuse_the_key(name: str) -> None:
    with pytest.raises(ConfigError) as told:
        resolve_config({}, KEEP | {"attack.name": name})
    assert "keep_others" in str(told.value)
    assert "radial_pgd" in str(told.value)


@pytest.mark.parametrize("name", ["pgd", "radial_pgd"])
@pytest.mark.parametrize("keep", [0, 1, 8])
def test_the_number_survives_its_files(name: str, keep: int) -> None:
    config = resolve_config({}, {"attack.name": name, "attack.keep_others": keep})
    assert config.attack.n_others == keep
    for text in (to_toml(config), commented_toml(config)):
        assert resolve_config(tomllib.loads(text)) == config
    if keep == 0:
        assert config == resolve_config({}, {"attack.name": name})
