"""The matrix products of full-batch training, in the coordinates of the inputs or of the samples.

Gradients of W are D^T X, with D the back-propagated signal: W never leaves W_0 + the row space of X. So a unit's state
may be its weights, its coordinates in the row space, or the coefficients of the samples that were added to W_0. Both
classes below answer the same two questions about states of units, one per row: their *image*, what the state gives on
every sample, and the *drive*, the state that a signal on the samples adds up to.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag


@runtime_checkable
class Products(Protocol):
    """Images and drives of a form of training, with states as rows."""

    n_samples: int
    size: int
    offset: Tensor | None

    def image(
        self, states: Float[Tensor, "k size"], columns: slice, out: Float[Tensor, "k n"], *, exact: bool = False
    ) -> Float[Tensor, "k n"]:
        """What states (k, size) give on a range of samples, (k, n)."""
        ...

    def drive(self, signals: Float[Tensor, "k n"], columns: slice, out: Float[Tensor, "k size"]) -> None:
        """Write, for the range that starts at 0, or add what signals (k, n) on a range of samples add up to."""
        ...

    def bags(
        self, samples: Int[Tensor, "entries"], starts: Int[Tensor, "units"], values: Float[Tensor, "entries"]
    ) -> Float[Tensor, "units n"]:
        """For signals with few entries, sorted by unit, one row per unit that has any.

        Args:
            samples: the entries' samples.
            starts: where each unit's entries begin.
            values: the entries.

        Returns:
            Their drives (k, size), or where a drive is the signal itself, the images of these (k, N).
        """
        ...


class CoordinateProducts:
    """States are coordinates of the weights, then the bias: plain, row space and low rank; 2 N q per image and drive.

    Args:
        coordinates: C, (N, q), of the inputs.
        bias: whether units have a bias, the last entry of a state.
        bfloat16: multiply in bfloat16, accumulating in float32.
    """

    offset: Tensor | None = None

    def __init__(self, coordinates: Tensor, *, bias: bool, bfloat16: bool = False) -> None:
        self.n_samples, self._dim = coordinates.shape
        self.size = self._dim + bias
        self._bias = bias
        self._coordinates = coordinates
        self._short = coordinates.bfloat16() if bfloat16 else None

    def image(
        self, states: Float[Tensor, "k size"], columns: slice, out: Float[Tensor, "k n"], *, exact: bool = False
    ) -> Float[Tensor, "k n"]:
        """See `Products`; ``exact`` multiplies in full precision whatever was asked for."""
        weights = states[:, : self._dim]
        if self._short is not None and not exact:
            out.copy_(weights.bfloat16() @ self._short[columns].T)
            return out.add_(states[:, self._dim :]) if self._bias else out
        parts = self._coordinates[columns].T
        if self._bias:
            return torch.addmm(states[:, self._dim :], weights, parts, out=out)
        return torch.mm(weights, parts, out=out)

    def drive(self, signals: Float[Tensor, "k n"], columns: slice, out: Float[Tensor, "k size"]) -> None:
        """See `Products`."""
        # The first block of samples overwrites what the last epoch left, so that nothing has to be set to 0.
        first = columns.start == 0
        weights = out[:, : self._dim]
        if self._short is not None:
            product = signals.bfloat16() @ self._short[columns]
            weights.copy_(product) if first else weights.add_(product)
        else:
            weights.addmm_(signals, self._coordinates[columns], beta=0.0 if first else 1.0)
        if self._bias:
            sums = signals.sum(dim=1)
            out[:, self._dim].copy_(sums) if first else out[:, self._dim].add_(sums)

    def bags(
        self, samples: Int[Tensor, "entries"], starts: Int[Tensor, "units"], values: Float[Tensor, "entries"]
    ) -> Float[Tensor, "units n"]:
        """See `Products`: drives."""
        weights = embedding_bag(samples, self._coordinates, starts, mode="sum", per_sample_weights=values)
        if not self._bias:
            return weights
        # The biases' drives are plain sums of each unit's values: differences of one running sum.
        ends = torch.cat((starts[1:], starts.new_tensor([len(values)])))
        sums = torch.nn.functional.pad(values.cumsum(0), (1, 0))
        return torch.cat((weights, (sums[ends] - sums[starts])[:, None]), dim=1)


class GramProducts:
    """States are coefficients of the samples added to W_0: W = W_0 + A X; 2 N^2 per image, nothing per drive.

    Args:
        gram: as `gram_matrix` makes it, (N, N).
        offset: preactivations of the units as they start, (k, N).
        short: the Gram matrix in bfloat16, to multiply in bfloat16, accumulating in float32.
    """

    def __init__(self, gram: Tensor, offset: Tensor, *, short: Tensor | None = None) -> None:
        self.n_samples = self.size = len(gram)
        self.offset: Tensor | None = offset
        self._gram = gram
        self._short = short

    def image(
        self, states: Float[Tensor, "k size"], columns: slice, out: Float[Tensor, "k n"], *, exact: bool = False
    ) -> Float[Tensor, "k n"]:
        """See `Products`: without the offset."""
        # The matrix is symmetric, and its rows lie side by side in memory.
        if self._short is not None and not exact:
            return out.copy_(states.bfloat16() @ self._short[columns].T)
        return torch.mm(states, self._gram[columns].T, out=out)

    def drive(self, signals: Float[Tensor, "k n"], columns: slice, out: Float[Tensor, "k size"]) -> None:
        """See `Products`: the signals themselves."""
        out[:, columns].copy_(signals)

    def bags(
        self, samples: Int[Tensor, "entries"], starts: Int[Tensor, "units"], values: Float[Tensor, "entries"]
    ) -> Float[Tensor, "units n"]:
        """See `Products`: images, sums of rows of the Gram matrix."""
        return embedding_bag(samples, self._gram, starts, mode="sum", per_sample_weights=values)


def gram_matrix(coordinates: Float[Tensor, "n q"], *, bias: bool) -> Float[Tensor, "n n"]:
    """C C^T, plus 1 with a bias, (N, N)."""
    gram = coordinates @ coordinates.T
    return gram.add_(1) if bias else gram
