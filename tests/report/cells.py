"""Cells of audits and transfer matrices with numbers of the test's own choice, and one that was really run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.measured import class_measures, seed_measures

from perturblearn import Result, learn_from_perturbations
from perturblearn.config import resolve_config

TINY: dict[str, Any] = {
    "name": "tiny",
    "seeds": 2,
    "data.name": "digits",
    "data.n_samples": 60,
    "data.n_heldout": 40,
    "standard.model.name": "mlp",
    "standard.model.hidden_dim": 8,
    "standard.epochs": 2,
    "perturbation.model.name": "mlp",
    "perturbation.model.hidden_dim": 8,
    "perturbation.epochs": 2,
    "controls.draws": 1,
}


def run_cell(**overrides: Any) -> Result:
    """A real run of a second or less; overrides by dotted name, dots written as double underscores."""
    keys = {name.replace("__", "."): value for name, value in overrides.items()}
    # A grid knows how long it took as a whole.
    return replace(learn_from_perturbations({}, overrides={**TINY, **keys}), seconds=0.0)


def cell(
    g: Sequence[float],
    *,
    controls: Sequence[float] | None = (0.1, 0.1),
    linear: Sequence[float] | None = None,
    f: float = 0.9,
    success: float | None = 0.5,
    names: Sequence[str] = ("mlp", "mlp"),
    draws: int = 5,
    **attack: Any,
) -> Result:
    """A result of ten classes.

    Args:
        g: accuracy on held-out inputs, seed by seed.
        controls: accuracy of all draws of the unperturbed and of the permuted control; None for none.
        linear: of the linear classifier, seed by seed; None for none.
        f: accuracy of f.
        success: of the attack.
        names: of f and g.
        draws: per seed and control.
        attack: keys of the section.
    """
    keys = {f"attack.{name}": value for name, value in {"name": "pgd", **attack}.items()}
    networks = {"standard.model.name": names[0], "perturbation.model.name": names[1]}
    config = resolve_config({}, {"seeds": len(g), "data.name": "digits", **keys, **networks})
    seeds = [
        seed_measures(
            {
                "standard_accuracy": f,
                "standard_accuracy_heldout": f,
                "perturbation_accuracy": reached,
                "perturbation_accuracy_heldout": reached,
                "attack_success": success,
                **({} if linear is None else {"linear_probe": linear[seed], "linear_probe_heldout": linear[seed]}),
            },
            {
                name: ([level] * draws, [level] * draws)
                for name, level in zip(("unperturbed", "permuted"), controls or (), strict=controls is not None)
            },
            seed=seed,
            lr=(0.01, 0.01),
            classes=replace(class_measures("0123456789"), n_heldout=(4,) * 10),
        )
        for seed, reached in enumerate(g)
    ]
    return Result.of(config, "key", seeds, 0.0)
