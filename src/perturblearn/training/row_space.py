"""Inputs of low rank in the coordinates of their own row space."""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 4 * torch.finfo(torch.float32).eps
"""Singular values below this share of the largest are rounding noise of float32 inputs."""


def row_space(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs X = C Q with orthonormal rows Q.

    Gradients of the first layer lie in the row space of X, so a network trained on C from W_0 Q^T is the network
    trained on X, exactly but for rounding.

    Args:
        inputs: X, (N, d) float32.

    Returns:
        C (N, r) and Q (r, d) in float32, r the numerical rank. Both come from an eigendecomposition of the smaller Gram
        matrix in float64, where the squared singular values of float32 inputs keep all their digits.
    """
    exact = inputs.double()
    n_samples, input_dim = exact.shape
    if input_dim <= n_samples:
        squares, vectors = torch.linalg.eigh(exact.T @ exact)
        kept = squares > TOLERANCE**2 * squares[-1]
        basis = vectors[:, kept].T
        return (exact @ basis.T).float(), basis.float()
    squares, vectors = torch.linalg.eigh(exact @ exact.T)
    kept = squares > TOLERANCE**2 * squares[-1]
    lengths = squares[kept].sqrt()
    coefficients = vectors[:, kept] * lengths
    return coefficients.float(), ((vectors[:, kept] / lengths).T @ exact).float()


def is_worth_trying(n_samples: int, input_dim: int, hidden_units: int, epochs: int) -> bool:
    """Whether finding the row space is cheap beside training: an eighth of its floating-point operations at most.

    Args:
        n_samples, input_dim: shape of the inputs.
        hidden_units: hidden units of all networks together.
        epochs: how long they train.
    """
    least = min(n_samples, input_dim)
    factorisation = 4.0 * n_samples * input_dim * least + 20.0 * least**3
    return 8 * factorisation < 4.0 * n_samples * input_dim * hidden_units * epochs


def may_have_low_rank(inputs: Tensor) -> bool:
    """Whether the rank can be at most d/2: a cheap look at d/2 + 1 evenly spaced rows, which must be dependent."""
    n_samples, input_dim = inputs.shape
    rows = input_dim // 2 + 1
    if n_samples < rows:
        return True
    sample = inputs[:: n_samples // rows][:rows].double()
    squares = torch.linalg.eigvalsh(sample @ sample.T)
    return bool(squares[0] <= TOLERANCE**2 * squares[-1])


def is_worth_using(rank: int, input_dim: int) -> bool:
    """Whether training in the row space halves the work or better."""
    return rank <= input_dim / 2
