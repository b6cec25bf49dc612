"""Bands of frequencies and of principal components, as projections of perturbations onto a subspace."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.config import BandName
from perturblearn.data.components import Components
from perturblearn.data.dataset import Dataset
from perturblearn.errors import DataError


class Band(ABC):
    """An orthogonal projection of flat inputs."""

    @abstractmethod
    def __call__(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The part of each row that lies in the band, in the rows' precision."""


@dataclass(frozen=True)
class FrequencyBand(Band):
    r"""Some frequencies of images, by their two-dimensional discrete cosine transform (type II, orthonormal).

    The coefficient (i, j) of an image of H x W pixels has the frequency
    :math:`\sqrt{((i/(H-1))^2 + (j/(W-1))^2) / 2}`, from 0 for the mean to 1 for the finest pattern of both axes. Each
    channel is transformed by itself.

    Args:
        shape: of an image, (channels, height, width).
        low, high: the frequencies kept, from low to below high; of a band up to 1, 1 too.
    """

    shape: tuple[int, int, int]
    low: float
    high: float

    def __call__(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """See `Band`."""
        _, height, width = self.shape
        down, across = (_cosines(length).to(rows) for length in (height, width))
        kept = self.kept().to(rows.device)
        coefficients = (down @ rows.view(-1, *self.shape) @ across.T) * kept
        return (down.T @ coefficients @ across).reshape(rows.shape)

    def kept(self) -> Tensor:
        """Which coefficients are in the band, (height, width) bool."""
        _, height, width = self.shape
        down, across = (torch.arange(length).double() / max(1, length - 1) for length in (height, width))
        frequency = ((down[:, None] ** 2 + across**2) / 2).sqrt()
        return (frequency >= self.low) & ((frequency < self.high) | (self.high >= 1))


@dataclass(frozen=True, eq=False)
class ComponentBand(Band):
    """Some principal components.

    Args:
        directions: orthonormal, (m, d).
    """

    directions: Float[Tensor, "m d"]

    def __call__(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """See `Band`."""
        directions = self.directions.to(rows)
        return rows @ directions.T @ directions


@dataclass(frozen=True, eq=False)
class WithoutBand(Band):
    """All but a band.

    Args:
        band: what is taken away.
    """

    band: Band

    def __call__(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """See `Band`."""
        return rows - self.band(rows)


def make_band(name: BandName, data: Dataset) -> Band:
    """The band of a name, for the inputs of some data.

    Args:
        name: of the configuration.
        data: whose images have the frequencies, or whose training inputs have the components.

    Raises:
        DataError: the data are no images, or nothing lies in the band.
    """
    if name.kind == "frequency":
        if data.image_shape is None:
            raise DataError(
                f"attack.band = {name.text!r} is about frequencies of images, but the data are no images; choose "
                "components"
            )
        frequencies = FrequencyBand(data.image_shape, name.low, name.high)
        band, count, whole = frequencies, int(frequencies.kept().sum()), frequencies.kept().numel()
    else:
        components = Components.of(data.inputs)
        chosen = components.directions[int(name.low) : int(name.high)]
        band, count, whole = ComponentBand(chosen), len(chosen), data.input_dim
    if count == (whole if name.is_without else 0):
        raise DataError(
            f"attack.band = {name.text!r} leaves none of {whole} {name.kind} coefficients in which a perturbation may "
            "lie; choose another band"
        )
    return WithoutBand(band) if name.is_without else band


def _cosines(length: int) -> Tensor:
    """The orthonormal matrix of a cosine transform, (length, length) float64, a frequency per row."""
    places, frequencies = torch.arange(length).double(), torch.arange(length).double()[:, None]
    rows = torch.cos(math.pi * (places + 0.5) * frequencies / length) * math.sqrt(2 / length)
    rows[0] /= math.sqrt(2)
    return rows
