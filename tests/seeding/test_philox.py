"""Philox against its authors' known answers."""

from __future__ import annotations

import numpy as np
import pytest

from perturblearn.seeding import philox

PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
ONES = (0xFFFFFFFF,) * 4
KNOWN = [
    ((0, 0, 0, 0), 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (ONES, 2**64 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (PI, 0x299F31D0_A4093822, "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
"""Of the library Random123 that came with the paper: counter, key, words."""


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_words_are_those_of_the_paper_s_library(counter: tuple[int, ...], key: int, words: str) -> None:
    found = philox(tuple(np.array([word], dtype=np.uint32) for word in counter), key)
    assert [int(word[0]) for word in found] == [int(word, 16) for word in words.split()]


def test_many_counters_give_the_words_of_each_alone() -> None:
    one, many = np.array([7], dtype=np.uint32), np.arange(5, dtype=np.uint32)
    together = philox((one, one, many, one), 3)
    for place in range(5):
        alone = philox((one, one, many[place : place + 1], one), 3)
        assert [int(word[place]) for word in together] == [int(word[0]) for word in alone]
