"""Keys of the attack that rebuilds inputs: what is refused, and what survives a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perturblearn.config import RebuildConfig, resolve_config, to_toml
from perturblearn.errors import ConfigError

REBUILD = {"attack.name": "rebuild"}
DEEP = {**REBUILD, "standard.model.name": "mlp"}
KNOWS = "the attack rebuild moves another input until f's features are those of an original, and knows"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"attack.epsilon": 0.5}, f"attack.epsilon = 0.5: {KNOWS} no bound; remove the key"),
    ({"attack.norm": "linf"}, f"attack.norm = 'linf': {KNOWS} norm 'l2' alone; remove the key"),
    ({"attack.source": "natural"}, f"attack.source = 'natural': {KNOWS} source 'another' alone; remove the key"),
    ({"attack.targets": "next"}, f"attack.targets = 'next': {KNOWS} targets 'original' alone; remove the key"),
    ({"attack.products": "bfloat16"}, "attack: the key products does not apply to rebuild"),
    ({"attack.n_sources": 5}, "the key n_sources applies to noise sources"),
    ({"attack.step": 0.0}, "attack.step = 0.0, but it must be above 0"),
    ({"measures.theory": True}, "measures.theory = true compares perturbations towards target labels"),
    ({"measures.cosine_similarity": True}, "measures.cosine_similarity = true compares perturbations towards"),
    ({"mixing.perturbed_share": 0.5}, "mixing.perturbed_share = 0.5 puts clean samples among wrongly labelled ones"),
    ({"attack.layer": "hidden"}, "attack.layer = 'hidden' names a layer of a deep network, but standard.model.name ="),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED)
def test_what_does_not_apply_to_rebuilding_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_config(None, {**REBUILD, **keys})
    assert message in str(refused.value)


@pytest.mark.parametrize("key", ["source", "targets", "layer"])
def test_no_other_attack_has_what_rebuilding_has(key: str) -> None:
    with pytest.raises(ConfigError):
        resolve_config(
            None, {"attack.name": "pgd", f"attack.{key}": {"source": "another", "targets": "original"}.get(key, "x")}
        )


def test_it_takes_the_steps_of_the_paper_and_survives_a_file(tmp_path: Path) -> None:
    config = resolve_config(None, {**DEEP, "attack.layer": "layers.1"})
    assert isinstance(config.attack, RebuildConfig)
    assert (config.attack.steps, config.attack.step, config.attack.epsilon) == (1000, 0.1, None)
    (tmp_path / "rebuild.toml").write_text(to_toml(config))
    assert resolve_config(tmp_path / "rebuild.toml") == config
