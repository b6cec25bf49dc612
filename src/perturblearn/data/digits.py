"""The 8 x 8 handwritten digits that come with scikit-learn."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from perturblearn.data.raw import RawData, mean_value

HIGHEST_PIXEL = 16


def read_digits() -> RawData:
    """The 1,797 digits of scikit-learn's ``load_digits``, pixels / 16, without a split.

    Returns:
        Inputs (1797, 1, 8, 8) in [0, 1], labels 0..9 with the names "0".."9".
    """
    images, labels = _arrays()
    # Exact: sixteenths have a finite binary expansion.
    inputs = torch.from_numpy(images).to(torch.float32)[:, None] / HIGHEST_PIXEL
    return RawData(
        inputs=inputs,
        labels=torch.from_numpy(labels),
        class_names=tuple(str(digit) for digit in range(10)),
        value_range=(0.0, 1.0),
        mean=mean_value(inputs),
    )


@cache
def digits_hash() -> str:
    """SHA-256 of the bundled pixels and labels."""
    images, labels = _arrays()
    return hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()


@cache
def _arrays() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    # The library reads its file no differently, but importing it takes longer than a small experiment.
    package = find_spec("sklearn")
    assert package is not None, "scikit-learn is a dependency"
    assert package.origin is not None
    with gzip.open(Path(package.origin).with_name("datasets") / "data" / "digits.csv.gz", "rt") as file:
        rows = np.loadtxt(file, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8).astype(np.uint8), rows[:, -1].astype(np.int64)
