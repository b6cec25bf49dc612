"""A finished experiment beside what the papers predict for it."""

from __future__ import annotations

from perturblearn.config import ExperimentConfig, TwoLayerModelConfig
from perturblearn.errors import PerturbLearnError
from perturblearn.experiment import MAP_POINTS, Experiment
from perturblearn.graph import Watcher
from perturblearn.results import DataSize, TheoryComparison
from perturblearn.store import ArtefactStore

_QUICK_PAIRS, _QUICK_PRODUCTS = 1.5e8, 3e10
"""How many angles between two inputs, and how many multiplications, take seconds."""
_PER_PAIR = 500
"""Multiplications per pair of samples: the steps of a limit."""


def quick_theory(
    experiment: Experiment, store: ArtefactStore | None, *, force: bool = False
) -> TheoryComparison | str | None:
    """Compare a finished experiment with theory, if the papers predict something for it and that takes seconds.

    Whether it takes seconds follows from shapes alone. A run on a set from disk has no training of f to compare with.

    Returns:
        The comparison; the reason why theory could not be applied, which must not lose a finished run; None if it was
        not tried.
    """
    if experiment.is_of_stored_set or why_no_theory(experiment.config) is not None or not _is_quick(experiment):
        return None
    try:
        return compare_experiment(experiment, store, force=force)
    except (PerturbLearnError, ArithmeticError, ValueError, RuntimeError) as error:
        return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _is_quick(experiment: Experiment) -> bool:
    """Whether kernels and limits of every seed, and all predictions on the decision map, take seconds."""
    config, outline = experiment.config, experiment.outline
    n_samples, n_seeds = outline.n_samples, len(config.seeds)
    both = n_samples + (config.attack.n_sources or n_samples)
    models = (config.standard.model, config.perturbation.model)
    width = sum(model.units for model in models if isinstance(model, TwoLayerModelConfig))
    pairs = (MAP_POINTS**2 + 10 * n_seeds * n_samples) * both
    products = MAP_POINTS**2 * outline.signature.input_dim * width + n_seeds * n_samples * both * _PER_PAIR
    return pairs <= _QUICK_PAIRS and products <= _QUICK_PRODUCTS


def compare_experiment(
    experiment: Experiment,
    store: ArtefactStore | None,
    *,
    map_limits: tuple[float, float] | None = None,
    force: bool = False,
    watch: Watcher | None = None,
) -> TheoryComparison:
    """Compare every seed of a finished experiment with what the papers predict for it.

    Args:
        experiment: the experiment.
        store: where its stages are.
        map_limits: least and largest coordinate of the decision map; None for limits that show nearly all samples.
        force: repeat a finished comparison.
        watch: called with progress.
    """
    executor, of_seeds, drawn = experiment.compare(store, map_limits=map_limits, force=force, watch=watch)
    comparisons = {seed: executor.result(stage) for seed, stage in of_seeds.items()}
    size = DataSize.of(experiment.outline)
    return TheoryComparison(experiment.config, experiment.key, comparisons, executor.result(drawn), size)


def why_no_theory(config: ExperimentConfig) -> str | None:
    """Why the papers predict nothing for a run; None if they do."""
    networks = [section.model for section in (config.standard, config.perturbation) if section.model.is_network]
    if networks:
        return (
            f"{config.name} has a {networks[0].name}, but both papers' predictions are for two-layer networks; "
            "choose a run of two_layer, one_hidden or limit"
        )
    if config.standard.is_adversarial or config.perturbation.is_adversarial:
        return (
            f"{config.name} trains adversarially, but both papers' predictions are for training on the inputs as they "
            "are; choose a run without it"
        )
    if config.attack.rebuilds:
        return (
            f"{config.name} trains g on inputs rebuilt from f's features, but both papers' predictions are for "
            "perturbations towards target labels; choose a run with another attack"
        )
    if config.mixing.is_mixed:
        return (
            f"{config.name} trains g on clean samples too (mixing.perturbed_share = "
            f"{config.mixing.perturbed_share:g}), but both papers' predictions are for perturbed samples alone; "
            "choose a run without mixing"
        )
    if config.saving.is_saved:
        return (
            f"{config.name} trains g on what files hold (saving.format = {config.saving.format!r}), but both papers' "
            "predictions are for perturbations as the attack made them; choose a run without it"
        )
    return None
