"""Features of f, of perturbations and of g, in words."""

from __future__ import annotations

from collections.abc import Iterator

from perturblearn.experiment import MACHINES, feature_measure, summarise
from perturblearn.report.words import with_spread
from perturblearn.results import Result

FEATURES_NOTE = (
    "First seed. A picture is the direction in which a feature rises (orange) or falls (blue) fastest. Bars are shares "
    "of squared length along it: of the gradient of f's output for the true class above the others, of the "
    "perturbations, and of the same gradient of g."
)
"""What pictures of features show, for figures and pages."""
ROBUST_BAND, REFERENCE_BAND = "1_2", "10_29"
"""The only band that was found robust, and the largest of which all features are not."""


def feature_remarks(result: Result) -> Iterator[str]:
    """How much of f's robust features g has; nothing if it was not asked for, or there are too few features."""
    for machine, name in MACHINES.items():
        ratios = [
            seed.measures[feature_measure(machine, "weight", ROBUST_BAND)] / reference
            for seed in result.seeds
            if (reference := seed.measures.get(feature_measure(machine, "weight", REFERENCE_BAND)))
        ]
        if ratios:
            yield (
                f"Of f's features 1–2 (by eigenvalue), the robust ones in image data, g has "
                f"{with_spread(summarise(ratios), 2)} times as much as of features 10–29 ({name}; 1: f's own "
                "proportions)."
            )
