"""The share of perturbed samples: what is refused, and what survives a file."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from perturblearn.config import commented_toml, resolve_config, to_toml
from perturblearn.errors import ConfigError

BARE = (
    "would put bare perturbations among whole inputs, from which their size alone tells them apart; choose another "
    "source, or remove the share"
)
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"mixing.perturbed_share": -0.1}, "mixing.perturbed_share = -0.1, but it must be at least 0"),
    ({"mixing.perturbed_share": 1.5}, "mixing.perturbed_share = 1.5, but it must be at most 1"),
    ({"mixing.perturbed_share": "half"}, "mixing.perturbed_share = 'half', but it must be a number"),
    ({"mixing.perturbed_share": True}, "mixing.perturbed_share = True, but it must be a number"),
    ({"mixing.perturbed_share": float("nan")}, "mixing.perturbed_share = nan, but it must be a finite number"),
    ({"perturbed_share": 0.5}, "there is no key perturbed_share; did you mean mixing.perturbed_share?"),
    ({"mixing": 0.5}, "mixing = 0.5, but it must be a section with keys of its own"),
    ({"mixing.perturbed_share": 0.3, "attack.source": "none"}, f"mixing.perturbed_share = 0.3 {BARE}"),
    ({"mixing.perturbed_share": 0, "attack.source": "none"}, f"mixing.perturbed_share = 0 {BARE}"),
]


@pytest.mark.parametrize(("keys", "sentence"), REFUSED, ids=[str(keys) for keys, _ in REFUSED])
def test_each_mistake_is_one_sentence(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        resolve_config({}, keys)
    assert str(told.value) == sentence


@pytest.mark.parametrize(("share", "is_mixed"), [(0, True), (0.0, True), (0.25, True), (1, False), (1.0, False)])
@pytest.mark.parametrize("source", ["natural", "uniform", "gauss"])
def test_a_share_survives_its_files(source: str, share: float, is_mixed: bool) -> None:
    config = resolve_config({}, {"mixing.perturbed_share": share, "attack.source": source})
    assert config.mixing.is_mixed is is_mixed
    for text in (to_toml(config), commented_toml(config)):
        assert resolve_config(tomllib.loads(text)) == config


def test_everything_is_perturbed_unless_asked_otherwise() -> None:
    assert resolve_config({}).mixing.perturbed_share == 1
    assert resolve_config({}, {"attack.source": "none", "mixing.perturbed_share": 1.0}).attack.source == "none"
