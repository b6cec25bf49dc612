"""The data set type and its sources: synthetic data, known data sets, the user's files, or Python objects."""

from perturblearn.data.augmentation import (
    AUGMENTATIONS,
    BLACK,
    FILLS,
    PADDING,
    REFLECT,
    augment,
    draw_augmentation,
)
from perturblearn.data.bands import Band, make_band
from perturblearn.data.blocks import row_slices
from perturblearn.data.components import Components
from perturblearn.data.dataset import Dataset
from perturblearn.data.load import Outline, data_outline, depends_on_seed, draws_split, load_dataset
from perturblearn.data.mnist import warn_of_order
from perturblearn.data.places import resolve_data_dir
from perturblearn.data.prepare import prepare
from perturblearn.data.providers import data_fingerprint
from perturblearn.data.raw import RawData
from perturblearn.data.signature import Signature
from perturblearn.data.standardise import Standardisation
from perturblearn.data.user import dataset_from

__all__ = [
    "AUGMENTATIONS",
    "BLACK",
    "FILLS",
    "PADDING",
    "REFLECT",
    "Band",
    "Components",
    "Dataset",
    "Outline",
    "RawData",
    "Signature",
    "Standardisation",
    "augment",
    "data_fingerprint",
    "data_outline",
    "dataset_from",
    "depends_on_seed",
    "draw_augmentation",
    "draws_split",
    "load_dataset",
    "make_band",
    "prepare",
    "resolve_data_dir",
    "row_slices",
    "warn_of_order",
]
