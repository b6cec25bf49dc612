"""Decoding image files into arrays of bytes."""

from __future__ import annotations

import io
import struct
from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perturblearn.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

GREY_MODES = ("1", "L", "LA", "La")
WIDE_GREY_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
REFUSED_FORMATS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that PIL passes to other programs or to the operating system, or knows by name only. Files of theirs count as
files of any other kind, which are ignored."""


@cache
def image_formats() -> tuple[str, ...]:
    """The accepted image formats."""
    from PIL import Image

    Image.init()
    return tuple(sorted(set(Image.OPEN) - REFUSED_FORMATS))


@cache
def image_suffixes() -> Collection[str]:
    """File name suffixes of images, in lower case with the dot."""
    from PIL import Image

    formats = set(image_formats())
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in formats)


def decode_image(encoded: bytes, *, name: str) -> NDArray[np.uint8]:
    """Decode an image file.

    Args:
        encoded: its content.
        name: the file's name in messages.

    Returns:
        (channels, height, width) bytes: one channel for grey images, three for all others.

    Raises:
        DataError: the file is not an image, is damaged, or has floating-point pixels.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded), formats=image_formats()) as image:
            return image_array(image, name=name)
    except DataError:
        raise
    except (
        OSError,
        SyntaxError,  # what PIL raises for a broken PNG
        ValueError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"{name} is not a readable image; replace or remove it") from error


def image_array(image: Image.Image, *, name: str) -> NDArray[np.uint8]:
    """The pixels of a PIL image.

    16-bit grey is rounded to 8 bits. Palette colours are looked up, and count as grey if all of them are. Transparency
    is dropped. Of several frames the first is used.

    Args:
        image: any PIL image except one with floating-point pixels.
        name: the image's name in messages.

    Returns:
        (channels, height, width) bytes: one channel for grey images, three for all others.

    Raises:
        DataError: the pixels are floating-point numbers, or integers beyond 16 bits.
    """
    if image.mode in GREY_MODES:
        return np.asarray(image if image.mode == "L" else image.convert("L"))[None]
    if image.mode in WIDE_GREY_MODES:
        return _narrowed(np.asarray(image), name)[None]
    if image.mode == "F":
        raise DataError(f"{name} has floating-point pixels, whose range is unknown; store such inputs in an .npz file")
    if image.mode in ("P", "PA"):
        # Via RGBA, because PIL warns about palettes with transparent colours that are converted to RGB directly.
        colours = _channels_first(image.convert("RGBA").convert("RGB"))
        return colours[:1] if bool((colours == colours[:1]).all()) else colours
    return _channels_first(image if image.mode == "RGB" else image.convert("RGB"))


def _channels_first(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image).transpose(2, 0, 1)


def _narrowed(pixels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    wide = pixels.astype(np.int64)
    if wide.size and not 0 <= int(wide.min()) <= int(wide.max()) <= 0xFFFF:
        raise DataError(f"{name} has pixels up to {wide.max()}, beyond 16 bits; store such inputs in an .npz file")
    # 65535 = 255 * 257, so white stays white; adding 128 rounds to the nearest value.
    return ((wide + 128) // 257).astype(np.uint8)
