"""A run stays under the memory that its plan prints, and a plan that does not fit says what would."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.experiment.large_set import STATUS
from tests.store.killing import printed_by

from perturblearn.api import make_experiment
from perturblearn.graph import memory, plan

LARGE = {"data.name": "gauss", "data.n_samples": 40_000, "data.input_dim": 200, "controls.draws": 2}
EPOCHS = {"standard.epochs": 3, "perturbation.epochs": 3}
IDENTITY = {"standard.loss": "identity", "perturbation.loss": "identity"}


@pytest.mark.parametrize(
    "keys",
    [
        {**LARGE, **EPOCHS},
        {**LARGE, **EPOCHS, "attack.source": "none"},
        {**LARGE, **EPOCHS, **IDENTITY, "attack.source": "none"},
        # Many samples in many dimensions: Gram matrices.
        {**LARGE, "data.n_samples": 2000, "data.input_dim": 3000, "standard.epochs": 30, "perturbation.epochs": 30},
        # Long enough to look for a low rank; so many samples that the plan's fixed room for blocks counts for little.
        {**LARGE, "data.n_samples": 60_000, "standard.epochs": 20, "perturbation.epochs": 2, "controls.draws": 0},
    ],
    ids=["natural", "bare", "identity", "gram", "row space"],
)
@pytest.mark.skipif(not STATUS.exists(), reason="only Linux says how much memory a program has held")
def test_a_run_stays_under_the_planned_memory(keys: dict[str, Any], tmp_path: Path) -> None:
    planned, measured = map(int, printed_by("tests.experiment.planned_run", json.dumps(keys), tmp_path).split())
    # An allocator rounds up and keeps a little: 16 MB. A plan of twice what is needed would say nothing.
    assert measured <= planned + 2**24
    assert planned < 3 * measured


def test_a_plan_that_does_not_fit_says_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"data.name": "gauss", "data.n_samples": 200_000, "data.input_dim": 100, "controls.draws": 1, "seeds": 1}

    def described(available: int | None, **more: Any) -> str:
        monkeypatch.setattr(plan, "available_memory", lambda: available)
        return make_experiment({}, overrides={**keys, **more}).plan().describe().splitlines()[-1]

    assert described(None).startswith("In all")
    assert described(2**40).startswith("In all")
    said = described(2**27)
    found = re.fullmatch(
        r"This does not fit into the 128 MiB of memory that are free here; data\.n_samples = (\d+) would fit\.", said
    )
    assert found
    most = int(found[1])
    assert described(2**27, **{"data.n_samples": most}).startswith("In all")
    assert described(2**27, **{"data.n_samples": most + 200}).startswith("This does not fit")
    assert "even two samples would not fit" in described(1000)


def test_memory_that_is_available(tmp_path: Path) -> None:
    told = tmp_path / "meminfo"
    told.write_text("MemTotal:  2000 kB\nMemAvailable:   1500 kB\n")
    assert memory.available_memory(told) == 1500 * 1024
    told.write_text("MemTotal:  2000 kB\n")
    everything = memory.available_memory(told)
    assert everything is None or everything > 2**20
    assert memory.available_memory(tmp_path / "nothing") == everything
