"""Files that g's training set goes through: what is refused, and what survives a file of the configuration."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from perturblearn.config import commented_toml, resolve_config, to_toml
from perturblearn.errors import ConfigError

PNG = {"saving.format": "png"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"saving.format": "gif"}, "saving.format = 'gif', but it must be 'png' or 'jpeg'"),
    ({"saving.format": "jpeg", "saving.quality": 0}, "saving.quality = 0, but it must be at least 1"),
    ({"saving.format": "jpeg", "saving.quality": 101}, "saving.quality = 101, but it must be at most 100"),
    (
        {"saving.format": "png", "saving.quality": 90},
        "saving: the key quality applies to format jpeg, but it is png; remove quality, or set format = 'jpeg'",
    ),
    (
        {"saving.quality": 90},
        "saving: the key quality applies to format jpeg, but it is not given; remove quality, or set format = 'jpeg'",
    ),
    ({"saving.format": "png", "saving.scale": 1.0}, "saving.scale = 1.0, but it must be below 1"),
    ({"saving.format": "png", "saving.scale": 0}, "saving.scale = 0, but it must be above 0"),
    (
        {"saving.scale": 0.5},
        "saving: scale = 0.5 is about files, but no format is given; set format = 'png'",
    ),
    (
        PNG | {"attack.source": "none"},
        "saving.format = 'png' writes images, which bare perturbations are not; choose another source, or remove it",
    ),
    (
        PNG | {"measures.theory": True},
        "measures.theory = true compares with predictions for perturbations as the attack made them, but "
        "saving.format = 'png'; remove one of them",
    ),
    (
        PNG | {"measures.features": True},
        "measures.features = true is about perturbations as the attack made them, but saving.format = 'png'; remove "
        "one of them",
    ),
]


@pytest.mark.parametrize(("keys", "sentence"), REFUSED, ids=[str(keys) for keys, _ in REFUSED])
def test_each_mistake_is_one_sentence(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        resolve_config({}, keys)
    assert str(told.value) == sentence


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"format": "png"}, "PNG"),
        ({"format": "jpeg"}, "JPEG of quality 75"),
        ({"format": "jpeg", "quality": 95, "scale": 0.5}, "JPEG of quality 95 at 0.5 of the size"),
    ],
)
def test_what_files_are_survives_their_own(keys: dict[str, Any], words: str) -> None:
    config = resolve_config({}, {f"saving.{key}": value for key, value in keys.items()})
    assert config.saving.is_saved
    assert config.saving.words == words
    for text in (to_toml(config), commented_toml(config)):
        assert resolve_config(tomllib.loads(text)) == config


def test_the_usual_quality_is_no_setting_of_its_own() -> None:
    asked = {"saving.format": "jpeg", "saving.quality": 75}
    assert resolve_config({}, asked) == resolve_config({}, {"saving.format": "jpeg"})
    assert not resolve_config({}).saving.is_saved
