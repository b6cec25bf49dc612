"""Random crops and flips of a batch of images, all images at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

AUGMENTATIONS = ("crop", "flip")
"""What can be done to images in training."""
PADDING = 4
"""Pixels that a crop adds on each side unless told otherwise, and by which it can move an image."""
BLACK, REFLECT = "black", "reflect"
FILLS = (BLACK, REFLECT)
"""What these pixels are: black, or the image mirrored at its border pixels."""


def draw_augmentation(n_samples: int, generator: torch.Generator, *, padding: int = PADDING) -> Int[Tensor, "3 n"]:
    """How each image of a batch is moved and whether it is flipped.

    Args:
        n_samples: n.
        generator: on the CPU; what it is asked for is the same whatever is done with the draws.
        padding: k, pixels that the crop adds on each side.

    Returns:
        (3, n) int64: the first row and the first column of the crop in the padded image, 0 .. 2k, and 1 for a flip.
    """
    corners = torch.randint(2 * padding + 1, (2, n_samples), generator=generator)
    return torch.cat((corners, torch.randint(2, (1, n_samples), generator=generator)))


def augment(
    images: Float[Tensor, "n channels height width"],
    draws: Int[Tensor, "3 n"],
    names: Collection[str],
    *,
    padding: int = PADDING,
    fill: str = BLACK,
    black: float = 0.0,
) -> Float[Tensor, "n channels height width"]:
    """Images as the draws say: cropped, then flipped.

    Args:
        images: (n, channels, height, width).
        draws: by `draw_augmentation`, on the images' device.
        names: what to do, of `AUGMENTATIONS`.
        padding: k, pixels that a crop adds on each side; to reflect, fewer than the image has a side.
        fill: what these pixels are, of `FILLS`.
        black: value of a black pixel.

    Returns:
        Images of the same shape: cut at random out of the padded images, and half of them left to right.
    """
    top, left, flipped = draws
    if "crop" in names:
        around = (padding,) * 4
        padded = pad(images, around, mode=REFLECT) if fill == REFLECT else pad(images, around, value=black)
        images = _crop(padded, top, left, images.shape[2:])
    if "flip" in names:
        images = torch.where(flipped.bool()[:, None, None, None], images.flip(3), images)
    return images


def _crop(padded: Tensor, top: Tensor, left: Tensor, size: Sequence[int]) -> Tensor:
    """Crops (n, channels, height, width) whose first pixels are given, row by row: rows are copied as they lie."""
    n_samples, channels, height, width = padded.shape
    planes = torch.arange(n_samples * channels, device=padded.device).view(n_samples, channels, 1)
    rows = planes * height + (top[:, None] + torch.arange(size[0], device=padded.device))[:, None]
    starts = rows * width + left[:, None, None]
    runs = padded.reshape(-1).unfold(0, size[1], 1)  # all runs of so many pixels, as a view
    return runs.index_select(0, starts.view(-1)).view(n_samples, channels, *size)
