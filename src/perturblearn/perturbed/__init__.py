"""Sources, targets and the perturbed set; knows nothing of training."""

from perturblearn.perturbed.perturb import PGD_STEPS, has_factors, perturb
from perturblearn.perturbed.perturbed_set import PerturbedSet, is_target
from perturblearn.perturbed.sources import Sources, draw_sources
from perturblearn.perturbed.targets import draw_targets

__all__ = [
    "PGD_STEPS",
    "PerturbedSet",
    "Sources",
    "draw_sources",
    "draw_targets",
    "has_factors",
    "is_target",
    "perturb",
]
