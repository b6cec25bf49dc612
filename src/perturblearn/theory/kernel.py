"""What a prediction asks of a kernel: its values, and sums over the training inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vjp
from typing_extensions import override

from perturblearn.errors import ConfigError

Points = Float[Tensor, "m *d"]
Centres = Float[Tensor, "n *d"]
Weights = Float[Tensor, "n"]
ClassWeights = Float[Tensor, "n *k"]
Sums = Float[Tensor, "m"]
ClassSums = Float[Tensor, "m *k"]

_NEAR = 2**24
"""Bytes of a block that stays near the processor."""
_MOST = 2**29
"""Bytes that a block of `_ROWS` rows may take instead, where fewer rows would make slow products."""
_ROWS = 512
_DIAGONAL_ROWS = 64
"""Rows whose pairs are evaluated for their diagonal: few, as all others are thrown away."""


class Kernel(ABC):
    r"""The tangent kernel :math:`\Theta` of a network: all that a prediction knows about the architecture.

    A network that follows its tangent kernel computes :math:`f(z) = f_0(z) + \sum_n \alpha_n \Theta(c_n, z)`
    [Jacot18]. Predictions call nothing but the methods below. A new kernel has to define `__call__` alone: the sums
    follow from it by blocks and automatic differentiation, and a kernel replaces those for which it knows a shorter
    way. The tests of every kernel compare both. Kernels are frozen values; sums and positive multiples of kernels are
    kernels: ``2.0 * first + second``.

    [Jacot18] Jacot, Gabriel and Hongler, "Neural Tangent Kernel: Convergence and Generalization in Neural Networks",
    NeurIPS 2018.

    Example:
        >>> @dataclass(frozen=True)
        ... class LinearKernel(Kernel):
        ...     def __call__(self, x, z=None, *, workspace=None):
        ...         return x @ (x if z is None else z).T
    """

    @abstractmethod
    def __call__(
        self, x: Float[Tensor, "n *d"], z: Float[Tensor, "m *d"] | None = None, *, workspace: int | None = None
    ) -> Float[Tensor, "n _"]:
        r"""Values :math:`\Theta(x_i, z_j)`.

        Args:
            x, z: inputs, one per row; z is x by default.
            workspace: bytes for intermediate results of a block; it changes nothing beyond rounding.

        Returns:
            (n, m), in the dtype of the inputs; differentiable in both.
        """

    def diagonal(self, x: Float[Tensor, "n *d"], *, workspace: int | None = None) -> Float[Tensor, "n"]:
        r"""Values :math:`\Theta(x_i, x_i)`, (n,), without making the whole matrix; workspace as for the values."""
        return torch.cat([self(part, workspace=workspace).diagonal() for part in x.split(_DIAGONAL_ROWS)])

    def weighted_sum(
        self, z: Points, centres: Centres, weights: ClassWeights, *, workspace: int | None = None
    ) -> ClassSums:
        r"""What a lazy network has learned, :math:`\sum_n \alpha_n \Theta(c_n, z)`.

        Args:
            z: where to evaluate, (m, ...).
            centres: training inputs c, (n, ...).
            weights: multipliers alpha, (n,), or (n, k) for k classes; the sum is taken in their dtype.
            workspace: bytes for a block of rows of z.

        Returns:
            (m,) or (m, k).
        """
        blocks = row_blocks(z, len(centres), workspace)
        return torch.cat([self(part, centres).to(weights.dtype) @ weights for part in blocks])

    def gradient_sum(self, z: Points, centres: Centres, weights: Weights, *, workspace: int | None = None) -> Points:
        r"""Gradient of `weighted_sum` in z, :math:`\sum_n \alpha_n \nabla_z \Theta(c_n, z)`: where perturbations point.

        Args:
            z, centres, weights, workspace: as for `weighted_sum`.

        Returns:
            Shaped like z.
        """

        def gradient(part: Tensor) -> Tensor:
            # All rows in one backward pass: each value depends on its own row alone.
            values, pull_back = vjp(lambda points: self(points, centres).to(weights.dtype) @ weights, part)[:2]
            return pull_back(torch.ones_like(values))[0]

        return torch.cat([gradient(part) for part in row_blocks(z, len(centres), workspace)])

    def directional_sum(self, z: Points, centres: Centres, vectors: Centres, *, workspace: int | None = None) -> Sums:
        r"""What moving the training inputs adds [own], :math:`\sum_n \langle v_n, \nabla_c \Theta(c_n, z) \rangle`.

        Args:
            z: where to evaluate, (m, ...).
            centres: training inputs c, (n, ...).
            vectors: how each of them moves, times its multiplier, (n, ...).
            workspace: bytes for a block of rows of z.
        """

        def derivative(part: Tensor) -> Tensor:
            # Forward mode: one pass for all rows of the block, where reverse mode would take one for each.
            return jvp(lambda points: self(part, points).sum(dim=1), (centres,), (vectors,))[1]

        return torch.cat([derivative(part) for part in row_blocks(z, len(centres), workspace)])

    def expanded_sum(
        self, z: Points, centres: Centres, weights: Weights, points: Centres, *, workspace: int | None = None
    ) -> Sums:
        r"""`weighted_sum` at points near the centres, expanded to first order around them.

        :math:`\sum_n \alpha_n [\Theta(c_n, z) + \langle p_n - c_n, \nabla_c \Theta(c_n, z) \rangle]`.

        Args:
            z, centres, weights, workspace: as for `weighted_sum`.
            points: p, (n, ...).
        """
        steps = weights.view(-1, *(1,) * (points.ndim - 1)).to(points.dtype) * (points - centres)
        return self.weighted_sum(z, centres, weights, workspace=workspace) + self.directional_sum(
            z, centres, steps, workspace=workspace
        )

    def initial_gradient_square(self, x: Float[Tensor, "n *d"]) -> Float[Tensor, "n"]:
        r"""Squared length of the input gradient before training, :math:`E\|\nabla f_0(x)\|^2`, (n,).

        Raises:
            ConfigError: a kernel that knows nothing of the network's start.
        """
        raise self._unknown_start("initial_gradient_square")

    def initial_covariance(
        self, x: Float[Tensor, "n *d"], z: Float[Tensor, "m *d"] | None = None, *, workspace: int | None = None
    ) -> Float[Tensor, "n _"]:
        r"""Covariance of the outputs before training, :math:`E f_0(x_i) f_0(z_j)`, (n, m); f_0 is Gaussian.

        Args:
            x, z, workspace: as for the values.

        Raises:
            ConfigError: a kernel that knows nothing of the network's start.
        """
        raise self._unknown_start("initial_covariance")

    def reduced(self, input_dim: int) -> Kernel | None:
        """The same kernel for inputs given by fewer coordinates with the same inner products.

        None for a kernel that depends on more than inner products and lengths of its inputs.

        Args:
            input_dim: the inputs' dimension d before coordinates were left out.
        """
        return None

    def __add__(self, other: Kernel) -> Kernel:
        return _Combination((*_terms(self), *_terms(other)))

    def __mul__(self, factor: float) -> Kernel:
        if not factor > 0:
            raise ConfigError(f"a kernel times {factor} is no kernel; multiply by a number above 0")
        return _Combination(tuple((factor * own, kernel) for own, kernel in _terms(self)))

    __rmul__ = __mul__

    def _unknown_start(self, method: str) -> ConfigError:
        return ConfigError(
            f"{type(self).__name__} does not describe the network before training, which this prediction needs; "
            f"use a kernel that defines {method}, such as GateKernel"
        )


@dataclass(frozen=True)
class _Combination(Kernel):
    """A sum of multiples of kernels: the tangent kernel of a sum of independent networks. All it answers is linear.

    Args:
        terms: factors above 0, with their kernels.
    """

    terms: tuple[tuple[float, Kernel], ...]

    @override
    def __call__(
        self, x: Float[Tensor, "n *d"], z: Float[Tensor, "m *d"] | None = None, *, workspace: int | None = None
    ) -> Float[Tensor, "n _"]:
        return self._total(lambda kernel: kernel(x, z, workspace=workspace))

    @override
    def diagonal(self, x: Float[Tensor, "n *d"], *, workspace: int | None = None) -> Float[Tensor, "n"]:
        return self._total(lambda kernel: kernel.diagonal(x, workspace=workspace))

    @override
    def weighted_sum(
        self, z: Points, centres: Centres, weights: ClassWeights, *, workspace: int | None = None
    ) -> ClassSums:
        return self._total(lambda kernel: kernel.weighted_sum(z, centres, weights, workspace=workspace))

    @override
    def gradient_sum(self, z: Points, centres: Centres, weights: Weights, *, workspace: int | None = None) -> Points:
        return self._total(lambda kernel: kernel.gradient_sum(z, centres, weights, workspace=workspace))

    @override
    def directional_sum(self, z: Points, centres: Centres, vectors: Centres, *, workspace: int | None = None) -> Sums:
        return self._total(lambda kernel: kernel.directional_sum(z, centres, vectors, workspace=workspace))

    @override
    def expanded_sum(
        self, z: Points, centres: Centres, weights: Weights, points: Centres, *, workspace: int | None = None
    ) -> Sums:
        return self._total(lambda kernel: kernel.expanded_sum(z, centres, weights, points, workspace=workspace))

    @override
    def initial_gradient_square(self, x: Float[Tensor, "n *d"]) -> Float[Tensor, "n"]:
        return self._total(lambda kernel: kernel.initial_gradient_square(x))

    @override
    def initial_covariance(
        self, x: Float[Tensor, "n *d"], z: Float[Tensor, "m *d"] | None = None, *, workspace: int | None = None
    ) -> Float[Tensor, "n _"]:
        return self._total(lambda kernel: kernel.initial_covariance(x, z, workspace=workspace))

    @override
    def reduced(self, input_dim: int) -> Kernel | None:
        terms = [(factor, kernel.reduced(input_dim)) for factor, kernel in self.terms]
        if any(kernel is None for _, kernel in terms):
            return None
        return _Combination(cast("tuple[tuple[float, Kernel], ...]", tuple(terms)))

    def _total(self, of_kernel: Callable[[Kernel], Tensor]) -> Tensor:
        first, *others = (factor * of_kernel(kernel) for factor, kernel in self.terms)
        return sum(others, first)


def _terms(kernel: Kernel) -> tuple[tuple[float, Kernel], ...]:
    return kernel.terms if isinstance(kernel, _Combination) else ((1.0, kernel),)


def row_blocks(x: Tensor, columns: int, workspace: int | None = None) -> Iterator[Tensor]:
    """Blocks of rows of x, such that a block's products with so many columns fit into the workspace.

    Args:
        x: (N, ...).
        columns: how many columns a block's products have.
        workspace: bytes; by default a size that stays near the processor.
    """
    row = 32 * max(columns, x[0].numel() if len(x) else 1, 1)  # four float64 arrays of a block's size live at once
    rows = max(_NEAR // row, min(_ROWS, _MOST // row)) if workspace is None else workspace // row
    return iter(x.split(max(1, rows)))
