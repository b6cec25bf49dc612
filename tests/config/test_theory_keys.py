"""Keys of limits, of the flow and of the attacks that go with them: what is refused, and what survives a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from perturblearn.config import resolve_config, to_toml
from perturblearn.errors import ConfigError

LIMIT = {"standard.model.name": "limit", "standard.model.slope": 0.01}
FLOW = {"standard.training": "flow", "standard.loss": "exponential"}
NOT_TRAINED = "does not apply to a limit, which is not trained; remove it"
FLOW_ALONE = "does not apply to training = 'descent', only to flow; remove it"
SEARCHES_ALONE = "only to radial_pgd, pgd, minimum_norm, rebuild and foolbox:NAME; remove it"
STEPS = "attack: the key steps applies to radial_pgd in l2 and linf alone; remove it"
PGD_L0 = {"attack.name": "radial_pgd", "attack.norm": "l0", "attack.pixels": 3}
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"standard.model.name": "limit"},
        "standard.model: slope = 0, but a limit needs units that carry a signal on both sides; choose 0.01",
    ),
    (
        {**LIMIT, "standard.model.hidden_dim": 50},
        "standard.model: the key hidden_dim does not apply to the model limit, only to two_layer, "
        "one_hidden and mlp; remove it",
    ),
    (
        {**LIMIT, "standard.model.method": "best"},
        "standard.model.method = 'best', but it must be 'two_direction' or 'linear'",
    ),
    (
        {**LIMIT, "standard.model.method": "linear", "standard.model.softness": 0.1},
        "standard.model: the key softness does not apply to the method linear; remove it",
    ),
    ({**LIMIT, "standard.model.softness": 0.0}, "standard.model.softness = 0.0, but it must be above 0"),
    (
        {"standard.model.softness": 0.1},
        "standard.model: the key softness does not apply to the model two_layer, only to limit; remove it",
    ),
    (
        {"standard.model.method": "linear"},
        "standard.model: the key method does not apply to the model two_layer, only to limit; remove it",
    ),
    (
        {"perturbation.model.name": "one_hidden", "perturbation.model.method": "linear"},
        "perturbation.model: the key method does not apply to the model one_hidden, only to limit; remove it",
    ),
    ({**LIMIT, "standard.lr": 0.1}, f"standard: the key lr {NOT_TRAINED}"),
    ({**LIMIT, "standard.lr": [0.5, 0.1]}, f"standard: the key lr {NOT_TRAINED}"),
    ({**LIMIT, "standard.epochs": 10}, f"standard: the key epochs {NOT_TRAINED}"),
    ({**LIMIT, "standard.momentum": 0.0}, f"standard: the key momentum {NOT_TRAINED}"),
    ({**LIMIT, "standard.schedule": "constant"}, f"standard: the key schedule {NOT_TRAINED}"),
    ({**LIMIT, **FLOW}, f"standard: the key training {NOT_TRAINED}"),
    ({**LIMIT, "standard.target_loss": 0.1}, f"standard: the key target_loss {NOT_TRAINED}"),
    (
        {"standard.training": "flow", "standard.loss": "identity"},
        "standard.loss = 'identity', but it must be 'logistic' or 'exponential'",
    ),
    (
        {"standard.training": "adam"},
        "standard.training = 'adam', but it must be 'descent', 'flow', 'adversarial', 'sgd', 'linearised' or 'none'",
    ),
    ({"standard.target_loss": 0.1}, f"standard: the key target_loss {FLOW_ALONE}"),
    ({"standard.flow_step": 0.1}, f"standard: the key flow_step {FLOW_ALONE}"),
    ({"perturbation.exact_epochs": 1}, f"perturbation: the key exact_epochs {FLOW_ALONE}"),
    ({"perturbation.exact_epochs": 0}, f"perturbation: the key exact_epochs {FLOW_ALONE}"),
    ({**FLOW, "standard.target_loss": 0.0}, "standard.target_loss = 0.0, but it must be above 0"),
    ({**FLOW, "standard.flow_step": -1.0}, "standard.flow_step = -1.0, but it must be above 0"),
    ({**FLOW, "standard.exact_epochs": -1}, "standard.exact_epochs = -1, but it must be at least 0"),
    ({**FLOW, "standard.exact_epochs": 1.5}, "standard.exact_epochs = 1.5, but it must be a whole number"),
    ({"attack.steps": 10}, f"attack: the key steps does not apply to one_step, {SEARCHES_ALONE}"),
    (
        {**LIMIT, "attack.name": "geometry", "attack.steps": 10},
        f"attack: the key steps does not apply to geometry, {SEARCHES_ALONE}",
    ),
    ({**PGD_L0, "attack.steps": 10}, STEPS),
    ({"attack.name": "radial_pgd", "attack.steps": 0}, "attack.steps = 0, but it must be at least 1"),
    (
        {**PGD_L0, "attack.epsilon": 2.0},
        "attack: the key epsilon does not bound radial_pgd in l0, which pixels does; remove it",
    ),
    (
        {"attack.name": "radial_pgd", "attack.norm": "l0"},
        "attack: norm l0 needs the key pixels, the number of coordinates to change; add it",
    ),
    (
        {"attack.name": "radial_pgd", "attack.source": "none"},
        "attack: radial_pgd moves a source step by step, and source none has none; choose another source",
    ),
    (
        {"attack.name": "fgsm"},
        "attack.name = 'fgsm': there is no such attack; choose one_step, radial_pgd, pgd, minimum_norm, rebuild, "
        "geometry, foolbox:NAME, or name your own as package.module:attack",
    ),
    ({"measures.cosine": True}, "there is no key measures.cosine; did you mean measures.cosine_similarity?"),
    ({"measures.cosine_similarity": 1}, "measures.cosine_similarity = 1, but it must be true or false"),
    ({"measures.theory": "yes"}, "measures.theory = 'yes', but it must be true or false"),
    ({"measures": True}, "measures = True, but it must be a section with keys of its own"),
]


@pytest.mark.parametrize(("keys", "sentence"), REFUSED)
def test_refused_in_one_sentence(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        resolve_config(None, keys)
    assert str(told.value) == sentence


@pytest.mark.parametrize("model", ["two_layer", "one_hidden"])
def test_geometry_needs_a_boundary(model: str) -> None:
    keys = {"attack.name": "geometry", "standard.model.name": model}
    sentence = (
        "attack.name = 'geometry' follows the normal of a limit's boundary, but standard.model.name = "
        f"'{model}'; choose the model limit, or another attack"
    )
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        resolve_config(None, keys)


@pytest.mark.parametrize(
    "keys",
    [
        {**LIMIT, "standard.model.method": "linear", "attack.name": "geometry", "perturbation.model.name": "limit",
         "perturbation.model.slope": 0.5},
        {**FLOW, "standard.target_loss": 1e-4, "standard.flow_step": 0.2, "standard.exact_epochs": 100},
        {"attack.name": "radial_pgd", "attack.steps": 7, "measures.cosine_similarity": True},
        {"attack.name": "radial_pgd", "attack.norm": "l0", "attack.pixels": 3},
    ],
    ids=["limit", "flow", "pgd", "pgd l0"],
)  # fmt: skip
def test_a_written_configuration_is_read_back(keys: dict[str, Any], tmp_path: Path) -> None:
    config = resolve_config(None, keys)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert resolve_config(path) == config
