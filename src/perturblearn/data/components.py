"""Principal components of inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.data.blocks import row_slices
from perturblearn.errors import DataError

MOST_COORDINATES = 20_000
"""Of an input, at most: the covariance of more would not fit into the memory of a usual machine."""
_LEAST = 1e-6
"""Deviation of a component, as a share of the largest, below which rounding has made it."""


@dataclass(frozen=True, eq=False)
class Components:
    """Directions in which inputs vary, by falling variance.

    Args:
        mean: of the inputs, flattened, (d,) float64.
        directions: orthonormal, (k, d) float64; as many as vary.
        deviations: of the inputs along each, (k,) float64.
    """

    mean: Float[Tensor, " d"]
    directions: Float[Tensor, "k d"]
    deviations: Float[Tensor, " k"]

    @classmethod
    def of(cls, inputs: Tensor) -> Components:
        """The components of inputs, (n, ...), by the eigenvectors of their covariance in float64.

        Raises:
            DataError: inputs of more than `MOST_COORDINATES` coordinates.
        """
        dim = inputs[0].numel()
        if dim > MOST_COORDINATES:
            raise DataError(
                f"principal components of inputs with {dim:,} coordinates would need a matrix of their squared number; "
                f"use smaller inputs, with at most {MOST_COORDINATES:,}"
            )
        total = inputs.new_zeros(dim, dtype=torch.float64)
        products = inputs.new_zeros(dim, dim, dtype=torch.float64)
        for part in row_slices(inputs):
            total += inputs[part].flatten(1).double().sum(dim=0)
        mean = total / len(inputs)
        for part in row_slices(inputs):
            centred = inputs[part].flatten(1).double() - mean
            products.addmm_(centred.T, centred)
        variances, vectors = torch.linalg.eigh(products / len(inputs))
        deviations = variances.clamp_min(0).sqrt().flip(0)
        kept = deviations > _LEAST * deviations[0]
        return cls(mean, vectors.flip(1).T[kept].contiguous(), deviations[kept])

    def of_range(self, low: int, high: int) -> Float[Tensor, "m d"]:
        """Directions from number low to before number high."""
        return self.directions[low:high]
