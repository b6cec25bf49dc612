"""Bands of frequencies and components: projections, against a transform written out, and where the answer is known."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import Tensor

from perturblearn.config import BandName
from perturblearn.data import Band, Components, Dataset, make_band
from perturblearn.errors import DataError

SHAPE = (2, 5, 4)
DIM = 40


def data(*, images: bool = True) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, DIM, generator=generator, dtype=torch.float64) * torch.arange(1, DIM + 1)
    return Dataset(
        inputs, torch.arange(60) % 2 * 2 - 1, inputs[:2], torch.tensor([1, -1]), value_range=(-math.inf, math.inf),
        class_names=("+1", "-1"), image_shape=SHAPE if images else None,
    )  # fmt: skip


def band(text: str) -> Band:
    return make_band(BandName.parse(text), data())


def rows(n: int = 3) -> Tensor:
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("text", ["frequency:0-0.4", "frequency:0.4-1", "components:0-7", "components:7-40"])
def test_a_band_is_an_orthogonal_projection_and_not_a_band_is_the_rest(text: str) -> None:
    x, y = rows(), rows(6)[3:]
    inside, outside = band(text)(x), band(f"not {text}")(x)
    assert torch.allclose(inside + outside, x, atol=1e-12)
    assert torch.allclose(band(text)(inside), inside, atol=1e-12)
    assert torch.allclose((inside * y).sum(), (x * band(text)(y)).sum(), atol=1e-11)  # symmetric
    assert float(inside.norm()) > 1
    assert float(outside.norm()) > 1


def test_frequencies_are_those_of_the_cosine_transform() -> None:
    kept = band("frequency:0.3-0.7")(rows())
    for before, after in zip(rows().view(-1, *SHAPE), kept.view(-1, *SHAPE), strict=True):
        for channel in range(2):
            whole, part = (np.asarray(dctn(image[channel].numpy(), norm="ortho")) for image in (before, after))
            for i in range(5):
                for j in range(4):
                    frequency = math.sqrt(((i / 4) ** 2 + (j / 3) ** 2) / 2)
                    expected = whole[i, j] if 0.3 <= frequency < 0.7 else 0
                    assert part[i, j] == pytest.approx(expected, abs=1e-12)


def test_the_mean_is_the_lowest_frequency_and_a_chessboard_has_none_below_the_middle() -> None:
    board = torch.tensor([[(-1.0) ** (i + j) for j in range(4)] for i in range(5)]).repeat(2, 1, 1).reshape(1, DIM)
    flat = torch.ones(1, DIM)
    assert torch.allclose(band("frequency:0-0.01")(flat), flat, atol=1e-6)
    assert float(band("frequency:0.5-1")(board).norm()) > 0.95 * float(board.norm())


def test_components_go_by_falling_variance_from_number_0() -> None:
    directions = Components.of(data().inputs).directions
    x = rows()
    first, second = ((x @ directions[k])[:, None] * directions[k] for k in (1, 2))
    assert torch.allclose(band("components:1-3")(x), first + second)


@pytest.mark.parametrize("kind", ["frequency", "components"])
def test_a_band_in_which_nothing_lies_is_refused(kind: Literal["frequency", "components"]) -> None:
    nothing, everything = {"frequency": ("0.001-0.002", "0-1"), "components": ("40-50", "0-40")}[kind]
    with pytest.raises(DataError, match=f"attack.band = '{kind}:{nothing}' leaves none of"):
        band(f"{kind}:{nothing}")
    with pytest.raises(DataError, match=f"attack.band = 'not {kind}:{everything}' leaves none of"):
        band(f"not {kind}:{everything}")


def test_frequencies_need_images() -> None:
    with pytest.raises(DataError, match="about frequencies of images, but the data are no images; choose components"):
        make_band(BandName.parse("frequency:0-0.5"), data(images=False))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("low", "it names no band; write frequency:LOW-HIGH"),
        ("frequency:0.5-0.2", "from a smaller number to a larger one"),
        ("frequency:0-1.5", "a band of frequency goes from 0 to 1"),
        ("components:3-3", "a band of components goes from 0 up"),
        ("components:0-2.5", "components are counted in whole numbers"),
    ],
)
def test_names_that_are_none_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BandName.parse(text)
