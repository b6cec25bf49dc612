"""Crops and flips of a batch against one image at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from perturblearn.training.augmentation import augment, draw_augmentation


def one_by_one(images: Tensor, draws: Tensor, names: tuple[str, ...], fill: float) -> Tensor:
    found = torch.empty_like(images)
    for number, image in enumerate(images):
        top, left, flipped = draws[:, number].tolist()
        _, height, width = image.shape
        if "crop" in names:
            padded = torch.full((len(image), height + 8, width + 8), fill, dtype=image.dtype)
            padded[:, 4:-4, 4:-4] = image
            image = padded[:, top : top + height, left : left + width]
        if "flip" in names and flipped:
            image = image[:, :, list(range(width - 1, -1, -1))]
        found[number] = image
    return found


@given(
    n_samples=st.integers(1, 5),
    channels=st.integers(1, 3),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    names=st.sampled_from([("crop",), ("flip",), ("crop", "flip"), ("flip", "crop"), ()]),
    fill=st.sampled_from([0.0, -0.5]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    channels_last=st.booleans(),
)
def test_against_one_image_at_a_time(
    n_samples: int,
    channels: int,
    height: int,
    width: int,
    names: tuple[str, ...],
    fill: float,
    dtype: torch.dtype,
    channels_last: bool,
) -> None:
    images = torch.randn(n_samples, channels, height, width, dtype=dtype)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    draws = draw_augmentation(n_samples, torch.Generator().manual_seed(n_samples + height))
    before = images.clone()
    assert torch.equal(augment(images, draws, names, fill=fill), one_by_one(images, draws, names, fill))
    assert torch.equal(images, before)


@pytest.mark.parametrize("corner", [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)])
def test_the_farthest_crops(corner: tuple[int, int]) -> None:
    images = torch.arange(1.0, 201.0).view(2, 1, 10, 10)
    draws = torch.tensor([[corner[0]] * 2, [corner[1]] * 2, [0, 1]])
    assert torch.equal(augment(images, draws, ("crop",)), one_by_one(images, draws, ("crop",), 0.0))
    if corner == (4, 4):
        assert torch.equal(augment(images, draws, ("crop",)), images)


def test_draws_are_uniform() -> None:
    number = 9000
    draws = draw_augmentation(number, torch.Generator().manual_seed(0))
    assert draws.shape == (3, number)
    for row, values in zip(draws, (9, 9, 2), strict=True):
        counts = torch.bincount(row, minlength=values)
        # Each count is binomial; 5 standard deviations fail once in 10^6 for another seed.
        expected = number / values
        assert counts.shape == (values,)
        assert float((counts - expected).abs().max()) < 5 * (expected * (1 - 1 / values)) ** 0.5
    again = draw_augmentation(number, torch.Generator().manual_seed(0))
    assert torch.equal(draws, again)
