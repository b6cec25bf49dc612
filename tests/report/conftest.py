from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perturblearn import Result, learn_from_perturbations

TINY = {
    "name": "tiny",
    "seeds": 2,
    "data.name": "gauss",
    "data.n_samples": 40,
    "data.n_heldout": 30,
    "data.input_dim": 10,
    "standard.model.hidden_dim": 8,
    "perturbation.model.hidden_dim": 8,
    "standard.epochs": 5,
    "perturbation.epochs": 5,
    "perturbation.lr": [0.5, 0.1],
    "controls.draws": 2,
    "measures.cosine_similarity": True,
    "measures.attribution": False,
}


@pytest.fixture(scope="session")
def tiny_result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run of two seeds over a grid of two learning rates, with its folder; tests must not change it."""
    return learn_from_perturbations({}, overrides=TINY, out=tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run_tiny() -> Callable[..., Result]:
    """A run of that size with some keys changed, without a folder unless one is named."""

    def run(out: Path | None = None, **options: Any) -> Result:
        return learn_from_perturbations({}, overrides={**TINY, **options.pop("overrides", {})}, out=out, **options)

    return run
