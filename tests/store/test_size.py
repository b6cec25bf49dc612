from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perturblearn.errors import ConfigError
from perturblearn.store import parse_size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (1, 1),
        (10**30, 10**30),
        ("4096", 4096),
        ("7B", 7),
        ("20GB", 20 * 10**9),
        ("500MB", 500 * 10**6),
        ("1.5 GiB", 3 * 2**29),
        (" 2 kib ", 2048),
        ("3KB", 3000),
        ("1tb", 10**12),
        ("1TiB", 2**40),
        (".5kB", 500),
        ("2.KB", 2000),
        ("0.0015kB", 1),
        ("0.1GB", 10**8),  # not 99999999, as binary fractions would have it
    ],
)
def test_sizes(value: int | str, size: int) -> None:
    assert parse_size(value) == size


@given(st.integers(1, 10**15))
def test_bytes_mean_the_same_as_a_number_and_as_text(size: int) -> None:
    assert parse_size(size) == parse_size(str(size)) == parse_size(f"{size} B") == size


BAD = ["", " ", "GB", "20G", "twenty", "-1GB", "+1GB", "1e9", "nan", "inf", "1,5GB", "1.2.3", "20GBs", "20 G B", "٢GB"]


@pytest.mark.parametrize("value", [*BAD, "0", "0GB", "0.5", "0.9B", 0, -1, True, 2e9, None, b"1GB"], ids=repr)
def test_what_is_no_size_is_refused_by_its_name(value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^the size = {re.escape(repr(value))}, but .*; write for example 20GB"):
        parse_size(value, name="the size")
