"""Decoding image files into arrays of bytes."""

from __future__ import annotations

import io
import struct
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from perturblearn.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Resize = Literal["crop", "squash", "pad"]
GREY_MODES = ("1", "L", "LA", "La")
PALETTE_MODES = ("P", "PA")
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
            return image_array(_upright(image), name=name)
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

    16-bit grey is rounded to 8 bits. Palette colours are looked up, and count as grey if all of them are. Transparent
    pixels show white behind them. Of several frames the first is used.

    Args:
        image: any PIL image except one with floating-point pixels.
        name: the image's name in messages.

    Returns:
        (channels, height, width) bytes: one channel for grey images, three for all others.

    Raises:
        DataError: the pixels are floating-point numbers, or integers beyond 16 bits.
    """
    if image.mode not in WIDE_GREY_MODES and image.has_transparency_data:
        return _on_white(image)
    if image.mode in GREY_MODES:
        return np.asarray(image if image.mode == "L" else image.convert("L"))[None]
    if image.mode in WIDE_GREY_MODES:
        return _narrowed(np.asarray(image), name)[None]
    if image.mode == "F":
        raise DataError(f"{name} has floating-point pixels, whose range is unknown; store such inputs in an .npz file")
    if image.mode in PALETTE_MODES:
        return _as_grey_if_it_is(_channels_first(image.convert("RGB")))
    return _channels_first(image if image.mode == "RGB" else image.convert("RGB"))


def resized(pixels: NDArray[np.uint8], size: int, how: Resize) -> NDArray[np.uint8]:
    """An image brought to a square, by bilinear interpolation over all pixels that a new one covers.

    Args:
        pixels: (channels, height, width), one channel or three.
        size: height and width afterwards.
        how: ``crop`` keeps the middle square, ``squash`` the whole image with other proportions, ``pad`` the whole
            image with its proportions, in the middle of black.

    Returns:
        (channels, size, size).
    """
    height, width = pixels.shape[1:]
    side = min(height, width) if how == "crop" else max(height, width)
    if how == "squash":
        values = scaled(pixels, size, size)
    elif how == "crop":
        left, top = (width - side) / 2, (height - side) / 2
        values = scaled(pixels, size, size, box=(left, top, left + side, top + side))
    else:
        values = scaled(pixels, *(max(1, round(length * size / side)) for length in (height, width)))
    room = np.zeros((len(pixels), size, size), dtype=np.uint8)
    top, left = ((size - length) // 2 for length in values.shape[1:])
    room[:, top : top + values.shape[1], left : left + values.shape[2]] = values
    return room


def scaled(
    pixels: NDArray[np.uint8], height: int, width: int, *, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.uint8]:
    """An image of another size, by bilinear interpolation over all pixels that a new one covers.

    Args:
        pixels: (channels, ..., ...), one channel or three.
        height, width: afterwards.
        box: left, top, right and bottom edge of the part that is shown; None for the whole image.

    Returns:
        (channels, height, width).
    """
    from PIL import Image

    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    values = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
    return values[None] if len(pixels) == 1 else values.transpose(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    """The image as its camera was held."""
    from PIL import ImageOps

    # Without readable notes of the camera the image is taken as it is.
    with suppress(OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return ImageOps.exif_transpose(image)
    return image


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    from PIL.Image import alpha_composite, new

    flat = _channels_first(alpha_composite(new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB"))
    return _as_grey_if_it_is(flat) if image.mode in (*GREY_MODES, *PALETTE_MODES) else flat


def _as_grey_if_it_is(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return colours[:1] if bool((colours == colours[:1]).all()) else colours


def _channels_first(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image).transpose(2, 0, 1)


def _narrowed(pixels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    wide = pixels.astype(np.int64)
    if wide.size and not 0 <= int(wide.min()) <= int(wide.max()) <= 0xFFFF:
        raise DataError(f"{name} has pixels up to {wide.max()}, beyond 16 bits; store such inputs in an .npz file")
    # 65535 = 255 * 257, so white stays white; adding 128 rounds to the nearest value.
    return ((wide + 128) // 257).astype(np.uint8)
