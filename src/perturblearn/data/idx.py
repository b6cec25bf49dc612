"""IDX files, the format of MNIST and its relatives."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perturblearn.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an IDX file, plain or compressed with gzip.

    The format: two zero bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit
    integer, the entries in row-major order.

    Args:
        path: the file; its content, not its name, shows whether it is compressed.

    Returns:
        The array in native byte order.

    Raises:
        DataError: the file cannot be read, is not an IDX file, is corrupt, or its length differs from its header.
    """
    with _opened(path) as stream:
        return _read(stream, path)


def hash_idx(path: Path) -> str:
    """SHA-256 of the file's uncompressed content.

    Raises:
        DataError: the file cannot be read or unpacked.
    """
    digest = hashlib.sha256()
    with _opened(path) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a file for reading, through gzip if its first bytes (not its name) show that it is compressed."""
    try:
        with path.open("rb") as file:
            compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
            yield stream
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}); replace it with an intact copy") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the file") from error


def _read(stream: io.BufferedIOBase, path: Path) -> NDArray[Any]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in IDX_DTYPES or head[3] == 0:
        raise DataError(
            f"{path} is not an IDX file: it begins with {head.hex(' ') or 'nothing'}, not with 00 00, a type code and "
            "the number of dimensions; replace it with the original"
        )
    dimensions = head[3]
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(f"{path} ends within its header; replace it with an intact copy")
    shape = struct.unpack(f">{dimensions}I", sizes)
    dtype = np.dtype(IDX_DTYPES[head[2]])
    expected = math.prod(shape) * dtype.itemsize
    content = bytearray()
    # In chunks, because a damaged header may announce exabytes. One byte more than expected reveals trailing bytes.
    while len(content) <= expected and (chunk := stream.read(min(1 << 24, expected + 1 - len(content)))):
        content += chunk
    if len(content) < expected:
        raise DataError(
            f"{path} is truncated: its header announces {expected} bytes of data for shape {shape}, but there are "
            f"{len(content)}; replace it with an intact copy"
        )
    if len(content) > expected:
        raise DataError(
            f"{path} is longer than the {expected} bytes of data that its header announces for shape {shape}; "
            "replace it with an intact copy"
        )
    return np.frombuffer(content, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
