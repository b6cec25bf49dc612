"""What a program prints beside what a page shows."""

from __future__ import annotations

import re

import pytest

NUMBER = r"(?<![a-z_])-?\d+(?:\.\d+)?(?:e[+-]\d+)?"


def numbers_of(text: str) -> list[float]:
    return [float(number) for number in re.findall(NUMBER, text)]


def words_of(text: str) -> str:
    return re.sub(NUMBER, "#", text)


def assert_printed(printed: str, shown: str, where: str) -> None:
    """The words are equal, and so are the numbers, but for what differs between machines."""
    assert words_of(printed) == words_of(shown), where
    # Numbers may differ in their last shown digits between machines; a gate that flips moves them no further.
    assert numbers_of(printed) == pytest.approx(numbers_of(shown), rel=0.02, abs=0.02), where
