"""Files as the published data sets have them, made by the tests."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]
IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: Pixels) -> bytes:
    head = bytes([0, 0, IDX_CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx_dataset(directory: Path, folder: str, *, compress: bool, per_class: int = 3) -> dict[str, Pixels]:
    """Four small IDX files of 4 x 5 images with ten classes; the arrays, by file name."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Pixels] = {}
    for part, number in (("train", 10 * per_class), ("t10k", 20)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (number, 4, 5)).astype(np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = (np.arange(number) % 10).astype(np.uint8)
    (directory / folder).mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        path = directory / folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(idx_bytes(array)) if compress else idx_bytes(array))
    return arrays


def png_bytes(pixels: Pixels, mode: str | None = None, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(buffer, kind)
    return buffer.getvalue()


def class_images(*, split: bool, colour: bool = True, wrapped: str = "") -> dict[str, bytes]:
    """File name to content: classes ant and bee, 3 and 2 images of 6 x 4, whose first pixel is their number."""
    files: dict[str, bytes] = {}
    for part in ("train/", "test/") if split else ("",):
        for name, number in (("bee", 2), ("ant", 3)):
            for index in range(number):
                pixels = np.full((4, 6, 3) if colour else (4, 6), index, dtype=np.uint8)
                files[f"{wrapped}{part}{name}/{index}.png"] = png_bytes(pixels)
    return files


def write_files(target: Path, files: Mapping[str, bytes], form: str) -> Path:
    """The files as a folder, a zip or a tar archive; the path."""
    if form == "folder":
        for name, content in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
        return target
    path = target.with_suffix("." + form)
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    mode: Any = f"w:{form.partition('.')[2]}"
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as the texts of Python 2, as the published batches have them."""

    def _save_bytes(self: Any, value: bytes) -> None:
        head = b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value))
        self.write(head + value)
        self.memoize(value)

    dispatch: ClassVar[dict[Any, Any]] = {**pickle._Pickler.dispatch, bytes: _save_bytes}


class _OldArray:
    """Pickles as numpy 1 under Python 2 pickled an array of bytes."""

    def __init__(self, array: Pixels) -> None:
        self.array = array

    def __reduce__(self) -> Any:
        state = (1, self.array.shape, np.dtype("u1"), False, self.array.tobytes())
        return np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"), state


def python2_pickle(content: dict[bytes, Any]) -> bytes:
    buffer = io.BytesIO()
    wrapped = {key: _OldArray(value) if isinstance(value, np.ndarray) else value for key, value in content.items()}
    _Python2Pickler(buffer, protocol=2).dump(wrapped)
    return buffer.getvalue()


def cifar_files(*, python2: bool = True, per_batch: int = 20) -> dict[str, bytes]:
    """The seven files of a small CIFAR-10, image n of all starting with the byte n."""
    dump = python2_pickle if python2 else (lambda content: pickle.dumps(content, protocol=2))
    files: dict[str, bytes] = {}
    rng = np.random.default_rng(1)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    for place, name in enumerate(names):
        data = rng.integers(0, 256, (per_batch, 3072)).astype(np.uint8)
        data[:, 0] = np.arange(per_batch) + per_batch * place
        labels = [index % 10 for index in range(per_batch)]
        files[name] = dump({b"batch_label": b"a batch", b"labels": labels, b"data": data, b"filenames": [b"x.png"]})
    names_of_classes = [f"class{index}".encode() for index in range(10)]
    files["batches.meta"] = dump(
        {b"num_cases_per_batch": per_batch, b"label_names": names_of_classes, b"num_vis": 3072}
    )
    return files
