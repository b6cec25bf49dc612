"""The condition of nearly orthogonal samples under which long training has a linear boundary [Frei23; ICLR24]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from perturblearn.errors import DataError
from perturblearn.theory.checks import check_finite, check_pair, check_slope
from perturblearn.theory.kernel import row_blocks


@dataclass(frozen=True)
class Orthogonality:
    r"""Both sides of gamma^3 R_min^4 / (3 N R_max^2) > p_max.

    Args:
        left: gamma^3 R_min^4 / (3 N R_max^2).
        right: p_max.
        shortest: R_min, least length of a sample.
        longest: R_max, largest length.
        largest_product: p_max, largest \|<x_n, x_k>\| of two different samples.
    """

    left: float
    right: float
    shortest: float
    longest: float
    largest_product: float

    @property
    def holds(self) -> bool:
        """Whether the samples are nearly orthogonal in the sense of the theorem."""
        return self.left > self.right

    @property
    def factor(self) -> float:
        """Right over left: the condition is missed by this factor where it is 1 or more, and holds below 1."""
        if self.left > 0:
            return self.right / self.left
        return 0.0 if self.right == 0 else float("inf")


def orthogonality(x: Float[Tensor, "n d"], *, slope: float, workspace: int | None = None) -> Orthogonality:
    r"""Whether samples are nearly orthogonal: :math:`\gamma^3 R_{min}^4 / (3 N R_{max}^2) > p_{max}`.

    The condition of [Frei23; ICLR24, section 3]. Needed for the training set and for the perturbed set.

    Args:
        x: samples (N, d), two or more.
        slope: negative slope gamma, in [0, 1); at 0 the condition never holds.
        workspace: bytes for a block of rows.

    Raises:
        ConfigError: slope outside [0, 1).
        DataError: fewer than two samples, or values that are not finite.
    """
    check_slope(slope)
    check_pair(x, x)
    check_finite(x)
    if len(x) < 2:
        raise DataError(f"x has {len(x)} samples, but orthogonality is about pairs; give two or more")
    # The left side in float64: R_min^4 of long samples overflows float32.
    lengths = x.norm(dim=1).double()
    largest, row = 0.0, 0
    for part in row_blocks(x, len(x), workspace):
        products = (part @ x.T).abs_()
        index = torch.arange(len(part), device=x.device)
        products[index, index + row] = 0  # of a sample with itself
        largest = max(largest, float(products.max()))
        row += len(part)
    shortest, longest = float(lengths.min()), float(lengths.max())
    left = slope**3 * shortest**4 / (3 * len(x) * longest**2) if longest > 0 else 0.0
    return Orthogonality(left, largest, shortest, longest, largest)
