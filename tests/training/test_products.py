"""Images and drives of both coordinates against dense matrices in float64."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from perturblearn.training.products import CoordinateProducts, GramProducts, Products, gram_matrix

UNITS, SAMPLES, DIM = 5, 11, 4
RANGES = [slice(0, 11), slice(0, 1), slice(3, 8), slice(10, 11)]
# Entries below 4 and sums of at most 11 products: some dozen roundings of numbers of some dozens.
ROUNDING = {torch.float64: 1e-13, torch.float32: 5e-5}


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def made(
    kind: str, *, bias: bool, dtype: torch.dtype = torch.float64, bfloat16: bool = False
) -> tuple[Products, Tensor, Tensor]:
    """Products with the dense float64 matrices (size, N) of an image and (N, size) of a drive."""
    coordinates = draw(SAMPLES, DIM, dtype=dtype)
    exact = coordinates.double()
    if bias:
        exact = torch.cat((exact, torch.ones(SAMPLES, 1, dtype=torch.float64)), dim=1)
    if kind == "coordinates":
        return CoordinateProducts(coordinates, bias=bias, bfloat16=bfloat16), exact.T, exact
    gram = gram_matrix(coordinates, bias=bias)
    # What matters for the products is the matrix itself, rounded as it is.
    short = gram.bfloat16() if bfloat16 else None
    products = GramProducts(gram, draw(UNITS, SAMPLES, dtype=dtype), short=short)
    assert float((gram.double() - exact @ exact.T).abs().max()) < ROUNDING[dtype]
    return products, gram.double(), torch.eye(SAMPLES, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["coordinates", "samples"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_and_drives(kind: str, bias: bool, dtype: torch.dtype) -> None:
    products, of_image, of_drive = made(kind, bias=bias, dtype=dtype)
    assert products.n_samples == SAMPLES
    assert products.size == (SAMPLES if kind == "samples" else DIM + bias)
    assert (products.offset is None) == (kind == "coordinates")
    states = draw(UNITS, products.size, dtype=dtype)
    for columns in RANGES:
        out = torch.full((UNITS, columns.stop - columns.start), torch.nan, dtype=dtype)
        assert products.image(states, columns, out) is out
        assert float((out.double() - states.double() @ of_image[:, columns]).abs().max()) < ROUNDING[dtype]
    signals = draw(UNITS, SAMPLES, dtype=dtype)
    for cuts in ([0, 11], [0, 4, 11], [0, 1, 2, 10, 11]):
        # The first range writes, the others add: what was there before is of no account.
        drive = torch.full((UNITS, products.size), 7.0, dtype=dtype)
        for start, stop in pairwise(cuts):
            columns = slice(start, stop)
            products.drive(signals[:, columns].contiguous(), columns, drive)
        assert float((drive.double() - signals.double() @ of_drive).abs().max()) < ROUNDING[dtype]


@pytest.mark.parametrize("kind", ["coordinates", "samples"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_bags(kind: str, bias: bool, dtype: torch.dtype, share: float) -> None:
    """Rows with few entries, some with none: what bags leave out are the rows of zeros."""
    products, of_image, of_drive = made(kind, bias=bias, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.rand(UNITS, SAMPLES, generator=generator) < share
    chosen[1], chosen[3, 2] = False, True
    signals = draw(UNITS, SAMPLES, dtype=dtype) * chosen
    units, samples = chosen.nonzero().unbind(dim=1)
    rows, counts = torch.unique_consecutive(units, return_counts=True)
    found = products.bags(samples, counts.cumsum(0) - counts, signals[units, samples])
    # Drives of coordinates, images of samples.
    expected = signals.double() @ (of_drive if kind == "coordinates" else of_image)
    assert found.dtype == dtype
    assert float((found.double() - expected[rows]).abs().max()) < ROUNDING[dtype]


@pytest.mark.parametrize("kind", ["coordinates", "samples"])
@pytest.mark.parametrize("bias", [False, True])
def test_bfloat16(kind: str, bias: bool) -> None:
    """Both factors are rounded to 8 binary digits, by 2^-8 of them at most, and so is what comes out."""
    products, of_image, of_drive = made(kind, bias=bias, dtype=torch.float32, bfloat16=True)
    states, signals = (draw(UNITS, n, dtype=torch.float32) for n in (products.size, SAMPLES))
    # Of |A| |B|; sums are in float32.
    most = 3 * 2**-8 + 1e-4
    image = torch.empty(UNITS, SAMPLES)
    for columns in RANGES:
        part = image[:, columns]
        assert products.image(states, columns, part).dtype == torch.float32
        error = (part.double() - states.double() @ of_image[:, columns]).abs()
        bound = states.double().abs() @ of_image[:, columns].abs()
        assert bool((error <= most * bound).all())
    # It is not exact, unless that is asked for.
    products.image(states, slice(0, SAMPLES), image)
    expected = states.double() @ of_image
    assert float((image.double() - expected).abs().max()) > 1e-3
    products.image(states, slice(0, SAMPLES), image, exact=True)
    assert float((image.double() - expected).abs().max()) < ROUNDING[torch.float32]
    drive = torch.full((UNITS, products.size), 7.0)
    for columns in (slice(0, 6), slice(6, SAMPLES)):
        products.drive(signals[:, columns].contiguous(), columns, drive)
    error = (drive.double() - signals.double() @ of_drive).abs()
    assert bool((error <= most * (signals.double().abs() @ of_drive.abs())).all())
    if kind == "samples":
        assert torch.equal(drive, signals)
    elif bias:
        # Biases are sums, not products.
        assert torch.allclose(drive[:, -1], signals.sum(dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_no_coordinates(bias: bool) -> None:
    """Inputs of rank 0: images are the bias."""
    products = CoordinateProducts(torch.zeros(SAMPLES, 0), bias=bias)
    states = draw(UNITS, products.size, dtype=torch.float32)
    image = products.image(states, slice(0, SAMPLES), torch.full((UNITS, SAMPLES), torch.nan))
    assert torch.equal(image, states.sum(dim=1, keepdim=True).expand(-1, SAMPLES))
