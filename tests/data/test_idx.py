"""IDX files against bytes written here."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from tests.data.writers import idx_bytes

from perturblearn.data.idx import hash_idx, read_idx
from perturblearn.errors import DataError

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_reads_every_type_plain_and_compressed(tmp_path: Path, kind: str, compress: bool) -> None:
    array = IMAGES.astype(kind)
    path = tmp_path / "misleading-name.gz"
    path.write_bytes(gzip.compress(idx_bytes(array)) if compress else idx_bytes(array))
    read = read_idx(path)
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)


def test_hash_is_that_of_the_unpacked_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "b").write_bytes(gzip.compress(idx_bytes(IMAGES), compresslevel=1))
    (tmp_path / "c").write_bytes(idx_bytes(IMAGES + 1))
    assert hash_idx(tmp_path / "a") == hash_idx(tmp_path / "b") != hash_idx(tmp_path / "c")


GOOD = idx_bytes(IMAGES)
PACKED = gzip.compress(GOOD, mtime=0)  # of no time: each worker must give a test the same name


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not an IDX file: it begins with nothing"),
        (b"\0\1" + GOOD[2:], "is not an IDX file: it begins with 00 01 08 03"),
        (b"\0\0\x07" + GOOD[3:], "is not an IDX file"),
        (b"\0\0\x08\0", "is not an IDX file"),
        (GOOD[:9], "ends within its header"),
        (GOOD[:-1], "is truncated: its header announces 24 bytes of data for shape (2, 3, 4), but there are 23"),
        (b"\0\0\x08\3" + b"\xff" * 12 + b"abc", "is truncated"),
        (GOOD + b"x", "is longer than the 24 bytes"),
        (PACKED[:-10], "is a damaged gzip file"),
        (PACKED[:12] + b"\xff\xff\xff" + PACKED[15:], "is a damaged gzip file"),
        (PACKED[:-6] + b"\0\0" + PACKED[-4:], "is a damaged gzip file"),
        (PACKED[:2] + b"\7" + PACKED[3:], "is a damaged gzip file"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{path} {complaint}")):
        read_idx(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere cannot be read"):
        read_idx(tmp_path / "nowhere")
