"""Draws of torch's generator of a GPU, against known values, a scalar reference, and a GPU where there is one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from perturblearn.seeding import CARDS, CudaGenerator

T4_THREADS = 40 * 4 * 256


def scalar_philox(counter: list[int], key: list[int]) -> list[int]:
    for _ in range(10):
        high_0, low_0 = divmod(0xD2511F53 * counter[0], 2**32)
        high_1, low_1 = divmod(0xCD9E8D57 * counter[2], 2**32)
        counter = [high_1 ^ counter[1] ^ key[0], low_1, high_0 ^ counter[3] ^ key[1], low_0]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return counter


def scalar_words(seed: int, offset: int, elements: Iterator[int], count: int, most_threads: int) -> Iterator[list[int]]:
    """The words of the thread that draws each element, and in front of them the element's place among its four."""
    threads = min(256 * math.ceil(count / 256), most_threads)
    for element in elements:
        turn, thread = divmod(element, threads)
        number, kind = divmod(turn, 4)
        yield [kind, *scalar_philox([offset // 4 + number, 0, thread, 0], [seed % 2**32, seed // 2**32])]


def scalar_normal(kind: int, *words: int) -> float:
    u, v = (words[kind - kind % 2 + place] for place in (0, 1))
    # In float32 as a GPU has it: only where u is near 1 does the logarithm see the difference.
    u = float(np.float32(u) * np.float32(2**-32) + np.float32(2**-33))
    wave = math.cos if kind % 2 else math.sin
    return math.sqrt(-2 * math.log(u)) * wave(2 * math.pi * (v + 0.5) / 2**32)


def test_known_values_of_torch_on_a_gpu() -> None:
    assert CudaGenerator(0).uniform(3).tolist() == pytest.approx([0.39904647, 0.51667916, 0.02493039], abs=2e-8)
    assert CudaGenerator(0).normal(3).tolist() == pytest.approx([-0.9247, -0.4253, -2.6438], abs=5e-5)


@pytest.mark.parametrize("seed", [0, 1, 2**40 + 5])
@pytest.mark.parametrize("count", [1, 255, 257, 40_000, T4_THREADS + 1, 9 * T4_THREADS + 77])
def test_draws_are_those_of_a_scalar_generator(seed: int, count: int) -> None:
    generator = CudaGenerator(seed, "t4")
    generator.skip(1000)
    first = generator.offset
    normal = generator.normal(count)
    second = generator.offset
    whole = generator.integers(10, count)
    third = generator.offset
    uniform = generator.uniform(count)
    places = [*np.unique(np.random.default_rng(0).integers(count, size=60)).tolist(), count - 1]
    of_normal, of_whole, of_uniform = (
        list(scalar_words(seed, offset, iter(places), count, T4_THREADS)) for offset in (first, second, third)
    )
    # A word is rounded to 24 bits, so an angle is off by up to 2 pi 2**-25 = 2e-7, times lengths up to 6.7.
    assert normal[places].tolist() == pytest.approx([scalar_normal(*words) for words in of_normal], abs=3e-6)
    assert whole[places].tolist() == [words[1 + words[0]] % 10 for words in of_whole]
    expected = [(words[1 + words[0]] + 0.5) / 2**32 for words in of_uniform]
    assert uniform[places].tolist() == pytest.approx(expected, abs=2**-24)
    assert generator.offset == third + second - first


def test_skipping_is_drawing_without_the_numbers() -> None:
    drawn, skipped = CudaGenerator(3), CudaGenerator(3)
    for count in (5, 300_000, 2_000_000):
        drawn.uniform(count)
        skipped.skip(count)
    assert torch.equal(drawn.normal(20), skipped.normal(20))
    assert not torch.equal(drawn.normal(20), CudaGenerator(3).normal(20))


def test_cards_differ_only_beyond_the_threads_of_the_smaller() -> None:
    least = min(card.most_threads for card in CARDS.values())
    assert CARDS["a100"].most_threads == 221_184
    a100, t4 = (CudaGenerator(0, card).integers(2**16, least) for card in ("a100", "t4"))
    assert torch.equal(a100, t4)
    a100, t4 = (CudaGenerator(0, card).integers(2**16, least + 1) for card in ("a100", "t4"))
    assert not torch.equal(a100, t4)


def test_shapes_are_filled_row_by_row() -> None:
    assert torch.equal(CudaGenerator(1).normal(30, 40), CudaGenerator(1).normal(1200).view(30, 40))


@pytest.mark.parametrize("rows", [range(5), range(7, 300), range(299, 300)])
def test_some_rows_are_those_of_all(rows: range) -> None:
    whole, part = CudaGenerator(1, "t4"), CudaGenerator(1, "t4")
    for draw in ("uniform", "normal"):
        # 300,000 elements are two rounds of a T4, and a row is no multiple of what is computed at once.
        expected = getattr(whole, draw)(300, 1000)[rows.start : rows.stop]
        assert torch.equal(getattr(part, draw)(300, 1000, rows=rows), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("count", [3, 100_000, 3_000_000])
def test_draws_are_those_of_this_machine_s_gpu(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from perturblearn.seeding.cuda import Card

    properties = torch.cuda.get_device_properties(0)
    card = Card(properties.multi_processor_count, properties.max_threads_per_multi_processor)
    monkeypatch.setitem(CARDS, "here", card)
    theirs = torch.Generator("cuda").manual_seed(5)
    ours = CudaGenerator(5, "here")
    for _ in range(2):
        assert torch.equal(ours.uniform(count), torch.rand(count, generator=theirs, device="cuda").cpu())
        drawn = torch.randint(2, (count,), generator=theirs, device="cuda").cpu()
        assert torch.equal(ours.integers(2, count), drawn)
        torch.testing.assert_close(
            ours.normal(count), torch.randn(count, generator=theirs, device="cuda").cpu(), rtol=0, atol=5e-6
        )
