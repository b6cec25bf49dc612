"""The stages of one seed of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perturblearn.graph import Stage


@dataclass(frozen=True)
class SeedStages:
    """The stages of one seed: one path of the graph per pair of learning rates, and what compares them.

    Args:
        data: the data set.
        standard: f, one per learning rate of the standard classifier.
        perturbed, heldout_perturbed: for each f, the set that g sees and the one that chooses g's learning rate.
        mixed, heldout_mixed: the same with clean samples among them; the same stages where there are none.
        perturbation: g, a row per f, a column per learning rate of the perturbation classifier.
        standard_measures, perturbation_measures: what is measured, laid out likewise.
        direction_measures: for each f, how its perturbations compare with the prediction; none if not asked for.
        selection: the chosen pair of learning rates and the papers' maxima.
        controls: by name; none if no draws are asked for.
        linear_probe: what a linear classifier learns from the perturbed set; None if it is not asked for.
        theory: the comparison with theory; None if it is not asked for.
    """

    data: Stage
    standard: tuple[Stage, ...]
    perturbed: tuple[Stage, ...]
    heldout_perturbed: tuple[Stage, ...]
    mixed: tuple[Stage, ...]
    heldout_mixed: tuple[Stage, ...]
    perturbation: tuple[tuple[Stage, ...], ...]
    standard_measures: tuple[Stage, ...]
    direction_measures: tuple[Stage, ...]
    perturbation_measures: tuple[tuple[Stage, ...], ...]
    selection: Stage
    controls: Mapping[str, Stage]
    linear_probe: Stage | None
    theory: Stage | None = None

    @property
    def targets(self) -> tuple[Stage, ...]:
        """The stages that a run wants finished; the order is that in which they run.

        Classifiers are wanted too, so that a run whose weights have gone from the store trains them again.
        """
        grid = tuple(stage for row in self.perturbation for stage in row)
        return (*self.standard, *grid, *self.measured)

    @property
    def measured(self) -> tuple[Stage, ...]:
        """The stages that hold a run's numbers."""
        asked_for = tuple(stage for stage in (self.linear_probe, self.theory) if stage is not None)
        return (self.selection, *self.controls.values(), *asked_for)
