"""Perturbed images as files hold them."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perturblearn.attacks import norm_of
from perturblearn.classifiers import Classifier, is_target
from perturblearn.config import SavingConfig
from perturblearn.data import Dataset, decode_image, row_slices, scaled
from perturblearn.errors import DataError
from perturblearn.perturbed.perturbed_set import PerturbedSet


def saved_set(perturbed: PerturbedSet, data: Dataset, saving: SavingConfig, standard: Classifier) -> PerturbedSet:
    """A perturbed set as files hold it, clean samples in it included.

    Args:
        perturbed: a set of images, with its sources.
        data: what it was made from.
        saving: how images are written.
        standard: f, which says whether the attack still succeeds.

    Returns:
        The set with other inputs. ``success`` and ``sizes`` are those of what is left. Nothing is known of other
        networks that the attack was to leave alone, and factors are gone.

    Raises:
        DataError: see `through_files`.
    """
    assert perturbed.sources is not None, "only a set read from disk does not know its sources"
    inputs = through_files(perturbed.inputs, data, saving)
    sizes = perturbed.target_labels.new_empty(len(inputs), dtype=inputs.dtype)
    # The size of an L0 perturbation is the number of coordinates that have changed, however little.
    norm = norm_of(perturbed.norm, 1 if perturbed.norm == "l0" else None)
    for part in row_slices(inputs):
        sizes[part] = norm.sizes((inputs[part] - perturbed.sources[part]).flatten(1))[:, 0]
    success = is_target(standard.outputs(inputs), perturbed.target_labels)
    if perturbed.clean is not None:
        success &= ~perturbed.clean
        sizes = torch.where(perturbed.clean, 0, sizes)
    return replace(perturbed, inputs=inputs, success=success, sizes=sizes, kept=None, coefficients=None, basis=None)


def through_files(inputs: Tensor, data: Dataset, saving: SavingConfig) -> Tensor:
    """Images as they are read from files that they were written to; nothing touches the disk.

    Values outside the data's range are clipped to it, and the rest is rounded to 8 bits. Files are encoded by Pillow
    with its own settings, which for JPEG in colour halve the resolution of the colours.

    Args:
        inputs: (n, ...), on the scale of the data.
        data: whose range says which values are 0 and 255.
        saving: how images are written.

    Returns:
        The images, shaped as before, in their precision and on their device.

    Raises:
        DataError: the data are no images of one or three channels, or their range is not known.
    """
    check_images(data.image_shape, is_standardised=data.standardisation is not None)
    assert data.image_shape is not None, "checked"
    low, high = data.value_range
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError(
            f"saving.format = {saving.format!r} needs to know which values are black and white, but the data's range "
            f"is [{low:g}, {high:g}]; give their value_range, or remove saving.format"
        )
    read = torch.empty_like(inputs)
    for part in row_slices(inputs):
        values = (inputs[part].double() - low) / (high - low) * 255
        pixels = values.round().clamp(0, 255).to(torch.uint8).cpu().view(-1, *data.image_shape).numpy()
        files = np.stack([_through_file(image, saving) for image in pixels])
        values = torch.from_numpy(files).to(inputs.device).double() / 255 * (high - low) + low
        read[part] = values.view(-1, *inputs.shape[1:]).to(inputs.dtype)
    return read


def check_images(shape: tuple[int, ...] | None, *, is_standardised: bool) -> None:
    """Refuse data that cannot be written as images.

    Args:
        shape: of one input, (channels, height, width) where it is an image.
        is_standardised: whether features were brought to mean 0 and deviation 1.

    Raises:
        DataError: they are no images of one or three channels.
    """
    if shape is None or len(shape) != 3 or shape[0] not in (1, 3):
        what = "are no images" if shape is None or len(shape) != 3 else f"are images of {shape[0]} channels"
        raise DataError(
            f"saving.format writes images of one or three channels, but the data {what}; remove it, or choose other "
            "data"
        )
    if is_standardised:
        raise DataError(
            "saving.format writes images, whose values lie in a known range, but features are standardised; remove it, "
            "or leave out data.standardise"
        )


def _through_file(pixels: NDArray[np.uint8], saving: SavingConfig) -> NDArray[np.uint8]:
    from PIL import Image

    channels, height, width = pixels.shape
    if saving.scale is not None:
        pixels = scaled(pixels, max(1, round(height * saving.scale)), max(1, round(width * saving.scale)))
    image = Image.fromarray(pixels[0] if channels == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    file = io.BytesIO()
    # The usual quality is the encoder's own default.
    options = {} if saving.quality is None else {"quality": saving.quality}
    image.save(file, format=str(saving.format), **options)
    read = decode_image(file.getvalue(), name="a perturbed image")
    return read if read.shape[1:] == (height, width) else scaled(read, height, width)
