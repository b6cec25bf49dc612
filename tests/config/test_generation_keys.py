"""Generations: what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from perturblearn.config import resolve_config
from perturblearn.errors import ConfigError

MLP = {f"{role}.model.name": "mlp" for role in ("standard", "perturbation")}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"generations": 0}, "generations = 0, but it must be at least 1"),
    ({"generations": 11}, "generations = 11, but it must be at most 10"),
    (
        {"perturbation.lr": [0.1, 0.2]},
        "generations = 2 attacks one g after the other, but perturbation.lr has 2 values; choose one",
    ),
    (
        {"standard.lr": [0.1, 0.2, 0.3]},
        "generations = 2 attacks one g after the other, but standard.lr has 3 values; choose one",
    ),
    (
        {"perturbation.model.name": "knn"},
        "generations = 2 attacks g, but perturbation.model.name = 'knn' has no gradients to perturb inputs by; choose "
        "a network for g, or remove it",
    ),
    (
        MLP | {"perturbation.start": "standard"},
        "generations = 2 trains networks with first weights of their own, but perturbation.start = 'standard'; remove "
        "one of them",
    ),
    (
        {"attack.name": "rebuild"},
        "generations = 2 is about perturbations towards wrong labels, but attack.name = 'rebuild' keeps true ones; "
        "remove one of them",
    ),
    (
        {"attack.name": "geometry", "standard.model.name": "limit", "standard.model.slope": 0.1},
        "generations = 2 attacks g, and attack.name = 'geometry' needs a limit, but perturbation.model.name = "
        "'two_layer'; choose the model limit, or another attack",
    ),
    (
        {"draws": "neurips2024", "data.name": "gauss"},
        "generations = 2 trains networks that the script of draws = 'neurips2024' did not have; choose draws = 'own', "
        "or remove it",
    ),
]


@pytest.mark.parametrize(("keys", "sentence"), REFUSED, ids=[str(keys) for keys, _ in REFUSED])
def test_each_mistake_is_one_sentence(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as told:
        resolve_config({}, {"generations": 2} | keys)
    assert str(told.value) == sentence
