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
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"standard.model.name": "limit"}, "slope = 0, but a limit needs units that carry a signal on both sides"),
    ({**LIMIT, "standard.model.hidden_dim": 50}, "hidden_dim = 50 does not apply to a limit"),
    ({**LIMIT, "standard.model.method": "best"}, "two_direction"),
    ({"standard.model.method": "linear"}, "the key method applies to the model limit alone, not to two_layer"),
    ({**LIMIT, "standard.lr": 0.1}, "the key lr does not apply to a limit, which is not trained; remove it"),
    ({**LIMIT, "standard.epochs": 10}, "the key epochs does not apply to a limit"),
    ({**LIMIT, "standard.momentum": 0.0}, "the key momentum does not apply to a limit"),
    ({**LIMIT, "standard.plateau": False}, "the key plateau does not apply to a limit"),
    ({**LIMIT, **FLOW}, "the key training does not apply to a limit"),
    ({"standard.training": "flow", "standard.loss": "identity"}, "choose the exponential or logistic loss"),
    ({"standard.target_loss": 0.1}, "the key target_loss applies to training = 'flow' alone; remove it"),
    ({"standard.flow_step": 0.1}, "the key flow_step applies to training = 'flow' alone"),
    ({"perturbation.exact_epochs": 1}, "the key exact_epochs applies to training = 'flow' alone"),
    ({**FLOW, "standard.target_loss": 0.0}, "target_loss"),
    ({**FLOW, "standard.flow_step": -1.0}, "flow_step"),
    ({**FLOW, "standard.exact_epochs": -1}, "exact_epochs"),
    ({"attack.name": "geometry"}, "standard.model.name = 'two_layer'; choose the model limit, or another attack"),
    ({"attack.steps": 10}, "the key steps applies to radial_pgd in l2 and linf alone; remove it"),
    (
        {"attack.name": "radial_pgd", "attack.norm": "l0", "attack.pixels": 3, "attack.steps": 10},
        "the key steps applies to radial_pgd in l2 and linf alone",
    ),
    (
        {"attack.name": "radial_pgd", "attack.norm": "l0", "attack.pixels": 3, "attack.epsilon": 2.0},
        "the key epsilon does not bound radial_pgd in l0, which pixels does; remove it",
    ),
    ({"attack.name": "radial_pgd", "attack.source": "none"}, "source none has none; choose another source"),
    ({"attack.name": "pgd"}, "radial_pgd"),
    ({"measures.cosine": True}, "measures.cosine"),
    ({"measures.cosine_similarity": "yes"}, "cosine_similarity"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "words"), REFUSED)
def test_refused_in_one_sentence(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        resolve_config(None, keys)
    assert "\n" not in str(caught.value)


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
