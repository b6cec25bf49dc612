"""The bundled digits."""

from __future__ import annotations

import pytest
import torch

from perturblearn.config import DataConfig
from perturblearn.data import data_fingerprint, depends_on_seed, load_dataset
from perturblearn.errors import DataError


def test_split_centre_and_range() -> None:
    config = DataConfig()
    data = load_dataset(config)
    assert data.n_samples + data.n_heldout == 1797
    assert data.inputs.shape[1] == 64
    assert data.image_shape == (1, 8, 8)
    low, high = data.value_range
    assert low <= float(data.inputs.min()) < float(data.inputs.max()) <= high
    # The mean is that of all digits: sums of sixteenths, subtracted in float32.
    everything = torch.cat([data.inputs, data.heldout_inputs]).double()
    assert abs(float(everything.mean())) < 2.0**-24
    assert depends_on_seed(config)
    fingerprint = data_fingerprint(config)
    assert fingerprint is not None
    assert len(fingerprint) == 64
    assert data.provenance["sha256"] == fingerprint


def test_two_digits_in_the_order_asked_for() -> None:
    data = load_dataset(DataConfig(classes=("7", "1"), centre=False, flatten=False), seed=4)
    assert data.class_names == ("7", "1")
    # 179 sevens and 182 ones; a fifth of each, rounded, is held out.
    assert (int((data.labels == 1).sum()), int((data.labels == -1).sum())) == (143, 146)
    assert data.inputs.shape[1:] == (1, 8, 8)
    assert set((data.inputs * 16).unique().tolist()) <= set(range(17))


def test_seeds_draw_other_splits_of_the_same_samples() -> None:
    first, again, other = (load_dataset(DataConfig(), seed=seed) for seed in (0, 0, 1))
    assert first.content_hash() == again.content_hash() != other.content_hash()
    sums = [float(torch.cat([data.inputs, data.heldout_inputs]).double().sum()) for data in (first, other)]
    assert sums[0] == pytest.approx(sums[1], abs=1e-9)


def test_more_than_there_are() -> None:
    with pytest.raises(DataError, match="n_samples = 5000, but there are only 1438 training samples"):
        load_dataset(DataConfig(n_samples=5000))
    with pytest.raises(DataError, match="n_heldout = 9 is too few for 10 classes; ask for at least 10"):
        load_dataset(DataConfig(n_heldout=9))
