"""Finished sweeps whose numbers are drawn at random, in folders as a real one writes them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.measured import seed_measures

from perturblearn.config import resolve_sweep
from perturblearn.experiment import Outcome, Point, SeedMeasures
from perturblearn.results import SweepResult
from perturblearn.store import ArtefactStore

G = "perturbation_accuracy_heldout"
GRID = {"attack.epsilon": [0.1, 0.3, 1.0, 4.0], "attack.source": ["natural", "none", "uniform"]}
"""Numbers over more than a decade, and words."""
HOSTILE = (
    """</script><script>alert('it ran')</script> "quoted" 'single' & <img src=x onerror=alert(1)> @f \u202egnp.exe"""
)
"""A message that would run, break out of its place, be read as a colour or turn its neighbours around."""
Failing = Callable[[int, int], str | None]


def made_sweep(
    folder: Path,
    *,
    seeds: int | list[int] | None = 3,
    name: str = "made",
    failing: Failing = lambda point, seed: None,
    has_controls: bool = True,
    experiment: Mapping[str, Any] | None = None,
    **section: Any,
) -> SweepResult:
    """A sweep of made-up numbers, written and read back.

    Args:
        folder: where its own folder is made.
        seeds: of every point; None where an axis has them.
        name: of the sweep.
        failing: the error of a run, by its point's number from 0 and its seed; None for one that finishes.
        has_controls: whether controls were run.
        experiment: further keys that all points share.
        section: of what varies: grid, zip, random.
    """
    shared = {} if seeds is None else {"seeds": seeds}
    sweep = resolve_sweep({"name": name, "data": {"name": "gauss"}, **shared, **(experiment or {}), "sweep": section})
    points = [Point(values, config) for values, config in sweep.points()]
    draw = random.Random(0)
    outcomes = []
    for number, point in enumerate(points):
        for seed in point.config.seeds:
            error = failing(number, seed)
            measured = None if error is not None else _measured(draw, seed, number / len(points), has_controls)
            outcomes.append(Outcome(number, seed, f"{draw.getrandbits(256):064x}", measured, error))
    result = SweepResult.of(sweep, "ab" * 32, points, outcomes, seconds=1.5)
    written = result.write(ArtefactStore(folder / ".store"), folder / "made-abababab").folder
    assert written is not None
    return SweepResult.load(written)


def _measured(draw: random.Random, seed: int, place: float, has_controls: bool) -> SeedMeasures:
    measures = {
        "standard_accuracy_heldout": draw.uniform(0.9, 1),
        G: draw.uniform(0.5, 0.6) + 0.4 * place,
        "agreement": draw.uniform(0.5, 1),
        # Of both signs and over several decades, and not measured in every run.
        "cosine_similarity_signed": draw.uniform(-1, 1),
        "perturbed_loss": 10 ** draw.uniform(-6, 2),
        "perturbation_size": None if draw.random() < 0.3 else draw.uniform(0, 1),
    }

    def draws() -> list[float]:
        return [draw.uniform(0.4, 0.6) for _ in range(2)]

    controls = {name: (draws(), draws()) for name in ("unperturbed", "permuted")}
    return seed_measures(measures, controls if has_controls else {}, seed=seed, lr=(0.1, 0.2))
