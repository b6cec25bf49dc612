"""What one seed measured, read from the results of its stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perturblearn.config import ExperimentConfig
from perturblearn.experiment.comparison import Comparison
from perturblearn.experiment.seed_graph import SeedGraph
from perturblearn.graph import Executor


def read_measures(seed: int, graph: SeedGraph, config: ExperimentConfig, executor: Executor) -> dict[str, Any]:
    """Everything that one seed measured.

    Returns:
        ``seed``, the chosen ``standard_lr`` and ``perturbation_lr``, ``measures`` at that pair with the papers' maxima,
        ``controls`` with one value per draw, ``classes`` with the measures class by class, ``groups`` likewise where
        the data name groups, and ``grid`` with the measures of every pair.
    """
    selected = executor.result(graph.selection)
    grid = [
        {
            "standard_lr": standard_lr,
            "perturbation_lr": perturbation_lr,
            **executor.result(branch.measures),
            **({} if branch.directions is None else executor.result(branch.directions)),
            **executor.result(learner.measures),
        }
        for standard_lr, branch in zip(config.standard.lr, graph.branches, strict=True)
        for perturbation_lr, learner in zip(config.perturbation.lr, branch.learners, strict=True)
    ]
    by_class = [pair.pop("classes") for pair in grid]
    by_group = [pair.pop("groups", None) for pair in grid]
    position = selected.standard * len(config.perturbation.lr) + selected.perturbation
    chosen = dict(grid[position])
    probe = {} if graph.linear_probe is None else executor.result(graph.linear_probe)
    theory = {} if graph.theory is None else _compared(executor.result(graph.theory))
    return {
        "seed": seed,
        "standard_lr": chosen.pop("standard_lr"),
        "perturbation_lr": chosen.pop("perturbation_lr"),
        "measures": {**chosen, **selected.maxima, **probe, **theory},
        "controls": {name: executor.result(stage) for name, stage in graph.controls.items()},
        "classes": by_class[position],
        **({} if by_group[position] is None else {"groups": by_group[position]}),
        "grid": grid,
    }


def _compared(compared: Comparison | Mapping[str, float | None]) -> dict[str, float]:
    """The numbers of a comparison that apply."""
    numbers = compared.numbers if isinstance(compared, Comparison) else compared
    return {name: value for name, value in numbers.items() if value is not None}
