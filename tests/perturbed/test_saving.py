"""Perturbed images as files hold them, against files that are written and read."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from perturblearn.classifiers import Classifier, initialise, is_target
from perturblearn.config import FolderConfig, SavingConfig, TwoLayerConfig
from perturblearn.data import Dataset, Standardisation, load_dataset
from perturblearn.errors import DataError
from perturblearn.perturbed import PerturbedSet, saved_set, through_files

MEAN = 0.3
N, HEIGHT, WIDTH = 6, 12, 12
PNG = SavingConfig(format="png")


def images(channels: int, count: int = N) -> Tensor:
    """Smooth images, as files of photos hold them, with values between those of 8 bits; centred."""
    generator = torch.Generator().manual_seed(channels)
    coarse = torch.rand(count, channels, 3, 3, generator=generator, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bilinear")
    return smooth - MEAN


def dataset(channels: int = 1, **changes: Any) -> Dataset:
    inputs, labels = images(channels), torch.tensor([1, -1] * (N // 2))
    whole = Dataset(
        inputs, labels, inputs, labels, (-MEAN, 1 - MEAN), ("a", "b"), mean=MEAN, image_shape=(channels, HEIGHT, WIDTH)
    )
    return replace(whole, **changes)


def test_png_rounds_to_eight_bits() -> None:
    data = dataset()
    read = through_files(data.inputs, data, PNG)
    by_hand = torch.round((data.inputs + MEAN) * 255) / 255 - MEAN
    # One rounding in each of three operations on values around 1.
    torch.testing.assert_close(read, by_hand, rtol=0, atol=1e-15)
    assert 0 < float((read - data.inputs).abs().max()) <= 0.5 / 255 + 1e-12
    torch.testing.assert_close(through_files(read, data, PNG), read, rtol=0, atol=1e-15)


def test_values_outside_the_range_are_clipped() -> None:
    data = dataset()
    read = through_files(3 * data.inputs, data, PNG)
    low, high = data.value_range
    torch.testing.assert_close(read, (3 * data.inputs).clamp(low, high), rtol=0, atol=0.5 / 255 + 1e-12)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("saving", "suffix", "options"),
    [
        (PNG, "png", {}),
        (SavingConfig(format="jpeg"), "jpg", {}),
        (SavingConfig(format="jpeg", quality=95), "jpg", {"quality": 95}),
        (SavingConfig(format="jpeg", quality=40), "jpeg", {"quality": 40}),
        (SavingConfig(format="png", scale=0.5), "png", {}),
        (SavingConfig(format="jpeg", quality=90, scale=0.7), "jpg", {"quality": 90}),
    ],
    ids=lambda value: value.words if isinstance(value, SavingConfig) else None,
)
def test_as_the_folder_loader_reads_written_files(
    tmp_path: Path, channels: int, saving: SavingConfig, suffix: str, options: dict[str, int]
) -> None:
    data = dataset(channels)
    folder = tmp_path / "a"
    folder.mkdir()
    (tmp_path / "b").mkdir()
    Image.new("L" if channels == 1 else "RGB", (WIDTH, HEIGHT)).save(tmp_path / "b" / "other.png")
    for number, pixels in enumerate(((data.inputs + MEAN) * 255).round().byte().numpy()):
        image = Image.fromarray(pixels[0] if channels == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        if saving.scale is not None:
            sides = round(WIDTH * saving.scale), round(HEIGHT * saving.scale)
            image = image.resize(sides, Image.Resampling.BILINEAR)
        image.save(folder / f"{number}.{suffix}", None, **options)
    config = FolderConfig(
        name=f"folder:{tmp_path}", image_size=WIDTH, resize="squash", centre=MEAN, flatten=False, heldout_share=0.2
    )
    loaded = load_dataset(config)
    rows = torch.cat([loaded.inputs[loaded.labels == 1], loaded.heldout_inputs[loaded.heldout_labels == 1]])
    read = through_files(data.inputs.float(), data, saving)
    # The loader mixes up the order: every image that it has read is one of ours, rounded like float32 around 1.
    distances = (read[:, None] - rows[None]).flatten(2).abs().amax(dim=2)
    assert len(rows) == N
    assert sorted(distances.argmin(dim=1).tolist()) == list(range(N))
    assert float(distances.amin(dim=1).max()) < 1e-6


def test_poorer_files_keep_less() -> None:
    data = dataset(3)
    errors = [
        float((through_files(data.inputs, data, saving) - data.inputs).norm())
        for saving in (
            PNG, SavingConfig(format="jpeg", quality=95), SavingConfig(format="jpeg"),
            SavingConfig(format="jpeg", quality=20),
        )
    ]  # fmt: skip
    assert errors == sorted(errors)
    assert len(set(errors)) == len(errors)


@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_precision_stay(is_flat: bool, dtype: torch.dtype) -> None:
    data = dataset()
    inputs = data.inputs.to(dtype)
    read = through_files(inputs.flatten(1) if is_flat else inputs, data, SavingConfig(format="png", scale=0.5))
    assert read.dtype == dtype
    assert read.shape == (inputs.flatten(1) if is_flat else inputs).shape
    torch.testing.assert_close(
        read.reshape(inputs.shape), through_files(inputs, data, SavingConfig(format="png", scale=0.5))
    )


def test_success_and_sizes_are_those_of_what_is_left() -> None:
    data = dataset()
    f = Classifier(initialise(TwoLayerConfig(hidden_dim=6, slope=0.1), HEIGHT * WIDTH, seed=0, role="f").double())
    moved = data.inputs + 0.2 * torch.randn(data.inputs.shape, generator=torch.Generator().manual_seed(0))
    clean = torch.tensor([True, *[False] * (N - 1)])
    perturbed = PerturbedSet(
        inputs=moved, target_labels=-data.labels, true_labels=data.labels, source_index=torch.arange(N),
        success=~clean, redirected=~clean, source="natural", norm="l2", epsilon=0.1, classifier_hash=f.hash,
        zero_gradients=0, sizes=torch.ones(N, dtype=torch.float64), kept=torch.ones(N), sources=data.inputs,
        clean=clean,
    )  # fmt: skip
    found = saved_set(perturbed, data, SavingConfig(format="jpeg", quality=30), f)
    assert torch.equal(found.inputs, through_files(moved, data, SavingConfig(format="jpeg", quality=30)))
    assert found.sizes is not None
    left = (found.inputs - data.inputs).flatten(1).norm(dim=1)
    torch.testing.assert_close(found.sizes, torch.where(clean, 0, left), rtol=1e-12, atol=0)
    assert torch.equal(found.success, is_target(f.outputs(found.inputs), -data.labels) & ~clean)
    assert found.kept is None
    for name in ("target_labels", "true_labels", "source_index", "redirected", "clean", "sources"):
        assert getattr(found, name) is getattr(perturbed, name)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_shape": None}, "but the data are no images"),
        ({"image_shape": (2, 6, 12)}, "but the data are images of 2 channels"),
        ({"value_range": (-math.inf, math.inf)}, r"but the data's range is \[-inf, inf\]; give their value_range"),
        (
            {"standardisation": Standardisation((0.0,), (1.0,))},
            "but features are standardised; remove it, or leave out data.standardise",
        ),
    ],
)
def test_what_is_no_image_is_refused(changes: dict[str, Any], sentence: str) -> None:
    data = dataset(**changes)
    with pytest.raises(DataError, match=sentence):
        through_files(data.inputs, data, PNG)
