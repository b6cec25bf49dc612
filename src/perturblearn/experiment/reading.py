"""What one seed measured, read from the results of its stages."""

from __future__ import annotations

from collections.abc import Mapping

from perturblearn.config import ExperimentConfig
from perturblearn.experiment.comparison import Comparison
from perturblearn.experiment.measured import PairMeasures, SeedMeasures
from perturblearn.experiment.seed_graph import SeedGraph
from perturblearn.graph import Executor


def read_measures(seed: int, graph: SeedGraph, config: ExperimentConfig, executor: Executor) -> SeedMeasures:
    """Everything that one seed measured."""
    selected = executor.result(graph.selection)
    learners = [[executor.result(learner.measures) for learner in branch.learners] for branch in graph.branches]
    grid = tuple(
        PairMeasures(
            standard_lr,
            perturbation_lr,
            {
                **executor.result(branch.measures),
                **({} if branch.directions is None else executor.result(branch.directions)),
                **learner.numbers,
            },
        )
        for standard_lr, branch, row in zip(config.standard.lr, graph.branches, learners, strict=True)
        for perturbation_lr, learner in zip(config.perturbation.lr, row, strict=True)
    )
    chosen = grid[selected.standard * len(config.perturbation.lr) + selected.perturbation]
    learner = learners[selected.standard][selected.perturbation]
    probe = {} if graph.linear_probe is None else executor.result(graph.linear_probe)
    robust = {} if graph.robust_accuracy is None else executor.result(graph.robust_accuracy)
    robust_linear = {} if graph.robust_linear is None else executor.result(graph.robust_linear).numbers
    without_shortcut = {} if graph.without_shortcut is None else executor.result(graph.without_shortcut)
    bottleneck = {} if graph.bottleneck is None else executor.result(graph.bottleneck)
    theory = {} if graph.theory is None else _compared(executor.result(graph.theory))
    features = {} if graph.features is None else executor.result(graph.features).numbers
    attribution = None if graph.attribution is None else executor.result(graph.attribution)
    return SeedMeasures(
        seed=seed,
        standard_lr=chosen.standard_lr,
        perturbation_lr=chosen.perturbation_lr,
        measures={
            **chosen.measures,
            **selected.maxima,
            **probe,
            **robust,
            **robust_linear,
            **without_shortcut,
            **bottleneck,
            **theory,
            **features,
            **{name: value for stage in graph.generations for name, value in executor.result(stage).items()},
            **({} if attribution is None else attribution.numbers),
        },
        controls={name: executor.result(stage) for name, stage in graph.controls.items()},
        classes=learner.classes,
        groups=learner.groups,
        grid=grid,
        attribution=None if attribution is None else attribution.classes,
    )


def _compared(compared: Comparison | Mapping[str, float | None]) -> dict[str, float]:
    """The numbers of a comparison that apply."""
    numbers = compared.numbers if isinstance(compared, Comparison) else compared
    return {name: value for name, value in numbers.items() if value is not None}
