"""Where random numbers come from: one seed per run, a derived one per purpose, and the draws of published scripts."""

from perturblearn.seeding.cuda import CARDS, CudaGenerator
from perturblearn.seeding.derived import default_settings, derive_seed, reproducible
from perturblearn.seeding.philox import philox
from perturblearn.seeding.published import (
    PublishedControl,
    PublishedDraws,
    PublishedSources,
    PublishedStart,
    PublishedTargets,
    random_signs,
)

__all__ = [
    "CARDS",
    "CudaGenerator",
    "PublishedControl",
    "PublishedDraws",
    "PublishedSources",
    "PublishedStart",
    "PublishedTargets",
    "default_settings",
    "derive_seed",
    "philox",
    "random_signs",
    "reproducible",
]
