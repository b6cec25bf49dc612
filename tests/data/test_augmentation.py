"""Crops and flips of a batch against one image at a time."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from perturblearn.data import FILLS, augment, draw_augmentation


def one_by_one(
    images: Tensor, draws: Tensor, names: tuple[str, ...], black: float, padding: int = 4, fill: str = "black"
) -> Tensor:
    found = torch.empty_like(images)
    for number, image in enumerate(images):
        top, left, flipped = draws[:, number].tolist()
        _, height, width = image.shape
        if "crop" in names:
            moved = torch.full_like(image, black)
            for row, column in itertools.product(range(height), range(width)):
                y, x = row + top - padding, column + left - padding
                if fill == "reflect":  # abc|cb, and ba|abc without its own edge
                    y, x = (abs(p) if p < side else 2 * (side - 1) - p for p, side in ((y, height), (x, width)))
                if 0 <= y < height and 0 <= x < width:
                    moved[:, row, column] = image[:, y, x]
            image = moved
        if "flip" in names and flipped:
            image = image[:, :, list(range(width - 1, -1, -1))]
        found[number] = image
    return found


@given(
    n_samples=st.integers(1, 4),
    channels=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    names=st.sampled_from([("crop",), ("flip",), ("crop", "flip"), ("flip", "crop"), ()]),
    black=st.sampled_from([0.0, -0.5]),
    padding=st.integers(1, 5),
    fill=st.sampled_from(FILLS),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    channels_last=st.booleans(),
)
def test_against_one_image_at_a_time(
    n_samples: int,
    channels: int,
    height: int,
    width: int,
    names: tuple[str, ...],
    black: float,
    padding: int,
    fill: str,
    dtype: torch.dtype,
    channels_last: bool,
) -> None:
    assume(fill == "black" or padding < min(height, width))
    images = torch.randn(n_samples, channels, height, width, dtype=dtype)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    draws = draw_augmentation(n_samples, torch.Generator().manual_seed(n_samples + height), padding=padding)
    before = images.clone()
    found = augment(images, draws, names, padding=padding, fill=fill, black=black)
    assert torch.equal(found, one_by_one(images, draws, names, black, padding, fill))
    assert torch.equal(images, before)


@pytest.mark.parametrize("corner", [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)])
def test_the_farthest_crops(corner: tuple[int, int]) -> None:
    images = torch.arange(1.0, 201.0).view(2, 1, 10, 10)
    draws = torch.tensor([[corner[0]] * 2, [corner[1]] * 2, [0, 1]])
    assert torch.equal(augment(images, draws, ("crop",)), one_by_one(images, draws, ("crop",), 0.0))
    if corner == (4, 4):
        assert torch.equal(augment(images, draws, ("crop",)), images)


@pytest.mark.parametrize("padding", [4, 1])
def test_draws_are_uniform(padding: int) -> None:
    number = 9000
    draws = draw_augmentation(number, torch.Generator().manual_seed(0), padding=padding)
    assert draws.shape == (3, number)
    for row, values in zip(draws, (2 * padding + 1, 2 * padding + 1, 2), strict=True):
        counts = torch.bincount(row, minlength=values)
        # Each count is binomial; 5 standard deviations fail once in 10^6 for another seed.
        expected = number / values
        assert counts.shape == (values,)
        assert float((counts - expected).abs().max()) < 5 * (expected * (1 - 1 / values)) ** 0.5
    again = draw_augmentation(number, torch.Generator().manual_seed(0), padding=padding)
    assert torch.equal(draws, again)
