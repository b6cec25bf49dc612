"""Inputs in the coordinates of their own row space."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

ROWS = 8192
"""Rows of float32 inputs that are in float64 at a time."""


def row_space(inputs: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n r"], Float[Tensor, "r d"]]:
    """Inputs X = C Q with orthonormal rows Q.

    Gradients of the first layer lie in the row space of X, so a network trained on C from W_0 Q^T is the network
    trained on X, exactly but for rounding.

    Args:
        inputs: X, (N, d) float32 or float64.

    Returns:
        C (N, r) and Q (r, d) in the inputs' precision, r the numerical rank: singular values below four times its
        rounding, relative to the largest, are noise. In float32 both come from an eigendecomposition of the smaller
        Gram matrix in float64, where the squared singular values keep all their digits; in float64 from a singular
        value decomposition, which needs no squares.
    """
    tolerance = 4 * torch.finfo(inputs.dtype).eps
    # Squared singular values of float64 inputs would lose half of their digits in float64: no Gram matrix here.
    if inputs.dtype == torch.float64:
        left, lengths, right = torch.linalg.svd(inputs, full_matrices=False)
        kept = lengths > tolerance * lengths[0]
        return left[:, kept] * lengths[kept], right[kept]
    n_samples, input_dim = inputs.shape
    if input_dim <= n_samples:
        squares, vectors = torch.linalg.eigh(_gram_of_columns(inputs))
        kept = squares > tolerance**2 * squares[-1]
        basis = vectors[:, kept].T.contiguous()
        return inputs @ basis.T.to(inputs), basis.to(inputs)
    exact = inputs.double()
    squares, vectors = torch.linalg.eigh(exact @ exact.T)
    kept = squares > tolerance**2 * squares[-1]
    lengths = squares[kept].sqrt()
    coefficients = vectors[:, kept] * lengths
    return coefficients.to(inputs), ((vectors[:, kept] / lengths).T @ exact).to(inputs)


def _gram_of_columns(inputs: Float[Tensor, "n d"], *, block: int = ROWS) -> Float[Tensor, "d d"]:
    """X^T X in float64, in blocks of rows: X itself is not copied."""
    total = torch.zeros(inputs.shape[1], inputs.shape[1], dtype=torch.float64, device=inputs.device)
    for part in inputs.split(block):
        exact = part.double()
        total.addmm_(exact.T, exact)
    return total
