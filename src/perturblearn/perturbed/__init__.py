"""Sources, targets and the perturbed set; knows nothing of training."""

from perturblearn.perturbed.perturb import HELDOUT_SOURCES, has_factors, perturb, pixels_of
from perturblearn.perturbed.perturbed_set import PerturbedSet
from perturblearn.perturbed.search import SEARCH_STEPS
from perturblearn.perturbed.sources import Sources, draw_sources
from perturblearn.perturbed.targets import draw_targets

__all__ = [
    "HELDOUT_SOURCES",
    "SEARCH_STEPS",
    "PerturbedSet",
    "Sources",
    "draw_sources",
    "draw_targets",
    "has_factors",
    "perturb",
    "pixels_of",
]
