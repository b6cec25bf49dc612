"""The tangent kernel of infinitely wide leaky-ReLU networks of any depth, in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from perturblearn.errors import ConfigError
from perturblearn.theory.checks import check_pair, check_slope
from perturblearn.theory.kernel import Centres, Kernel, Points, Weights, row_blocks

_NEARLY_PARALLEL = 1e-5
"""Squared sine or cosine of half an angle, below which it is taken from differences instead of from a product."""
_DIFFERENCES = 2**26
"""Bytes of differences of nearly parallel inputs that are made at once."""
_GRAPH = 2**24
"""Workspace of derivatives, which keep every layer's arrays alive."""


@dataclass(frozen=True)
class DeepKernel(Kernel):
    r"""Tangent kernel of a leaky-ReLU network of L hidden layers at infinite width [Jacot18; Cho09 for the integrals].

    Weights are N(0, 1) with a factor sigma_w / sqrt(fan-in), biases N(0, 1) with a factor sigma_b, all trained. From
    :math:`K = \sigma_w^2 \langle x, z \rangle / d + \sigma_b^2`, :math:`\Theta = K` each hidden layer makes, with
    :math:`n = \sqrt{K(x, x) K(z, z)}` and the angle :math:`t = \arccos(K / n)`,

    .. math::
        K' &= \sigma_w^2 [\gamma K + (1 - \gamma)^2 n (\sin t + (\pi - t) \cos t) / 2 \pi] + \sigma_b^2, \\
        \Theta' &= K' + \sigma_w^2 [(1 + \gamma^2)/2 - (1 - \gamma)^2 t / 2 \pi] \Theta.

    K after the last layer is the covariance of the network before training. Values are exact to about 1e-14 of their
    size, also for inputs that nearly coincide, and their gradients are finite everywhere: the angle has a kink where
    inputs are parallel, and the gradient there is the one of smallest norm.

    [Cho09] Cho and Saul, "Kernel Methods for Deep Learning", NeurIPS 2009.

    Args:
        depth: hidden layers L, at least 1.
        slope: negative slope gamma of the activation, in [0, 1).
        sigma_w: factor of the weights, above 0; None for sqrt(2 / (1 + gamma^2)), which keeps lengths.
        sigma_b: factor of the biases, 0 or more.
        trained_readout: whether the last layer is trained. A frozen one has no bias, and leaves out the last K'.
        standard_first_layer: whether the first layer's weights and biases carry their factors in their initialisation
            alone, as NeurIPS24's do: then they move d times as fast, and Theta starts at <x, z> + 1.
        input_dim: d, where inputs are given by fewer coordinates with the same inner products (see
            `DecisionPlane.reduce`); by default the number of their columns.

    Raises:
        ConfigError: a depth below 1, a slope outside [0, 1), or factors out of range.

    Example:
        >>> DeepKernel(3, slope=0.01, sigma_b=0.1)(torch.zeros(2, 5), torch.ones(4, 5)).shape
        torch.Size([2, 4])
    """

    depth: int
    slope: float = 0.0
    sigma_w: float | None = None
    sigma_b: float = 0.0
    trained_readout: bool = True
    standard_first_layer: bool = False
    input_dim: int | None = None

    def __post_init__(self) -> None:
        check_slope(self.slope)
        if self.depth < 1:
            raise ConfigError(f"depth = {self.depth}, but a network has hidden layers; give at least 1")
        if not (self._weight_square > 0 and math.isfinite(self._weight_square)):
            raise ConfigError(f"sigma_w = {self.sigma_w}, but weights have a size; give a number above 0")
        if not (self.sigma_b >= 0 and math.isfinite(self.sigma_b)):
            raise ConfigError(f"sigma_b = {self.sigma_b}, but a size is expected; give 0 or more")

    @override
    def __call__(
        self, x: Float[Tensor, "n d"], z: Float[Tensor, "m d"] | None = None, *, workspace: int | None = None
    ) -> Float[Tensor, "n _"]:
        return torch.cat([tangent.to(x.dtype) for tangent, _ in self._blocks(x, z, workspace)])

    @override
    def diagonal(self, x: Float[Tensor, "n d"], *, workspace: int | None = None) -> Float[Tensor, "n"]:
        squares = self._encode(x).lengths.square()[:, 0]
        tangent = x.double().square().sum(dim=1) + 1 if self.standard_first_layer else squares
        for layer in range(self.depth):
            squares = self._gain * squares + self._bias_square_after(layer)
            tangent = self._gain * tangent + (squares if self._is_trained_after(layer) else 0)
        return tangent.to(x.dtype)

    @override
    def gradient_sum(self, z: Points, centres: Centres, weights: Weights, *, workspace: int | None = None) -> Points:
        return super().gradient_sum(z, centres, weights, workspace=workspace or _GRAPH)

    @override
    def initial_covariance(
        self, x: Float[Tensor, "n d"], z: Float[Tensor, "m d"] | None = None, *, workspace: int | None = None
    ) -> Float[Tensor, "n _"]:
        return torch.cat([covariance.to(x.dtype) for _, covariance in self._blocks(x, z, workspace)])

    @override
    def initial_gradient_square(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """Every layer passes on (1 + gamma^2)/2 of a signal's square, the same for every input [own]."""
        return x.new_full((len(x),), self._weight_square * self._gain**self.depth)

    @override
    def reduced(self, input_dim: int) -> DeepKernel:
        return replace(self, input_dim=input_dim)

    @property
    def _weight_square(self) -> float:
        return 2 / (1 + self.slope**2) if self.sigma_w is None else self.sigma_w**2

    @property
    def _gain(self) -> float:
        """By how much a layer multiplies squared lengths, before its bias."""
        return self._weight_square * (1 + self.slope**2) / 2

    def _is_trained_after(self, layer: int) -> bool:
        return self.trained_readout or layer < self.depth - 1

    def _bias_square_after(self, layer: int) -> float:
        return self.sigma_b**2 if self._is_trained_after(layer) else 0.0

    def _blocks(self, x: Tensor, z: Tensor | None, workspace: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Theta and K after the last layer, in float64, for blocks of rows of x."""
        others = x if z is None else z
        check_pair(x, others)
        right = self._encode(others)
        for part in row_blocks(x, len(others), workspace):
            yield self._through_layers(self._encode(part), right)

    def _encode(self, x: Tensor) -> _Encoded:
        # float64 whatever the inputs' precision: float32 loses half of all digits of a small angle.
        exact = x.double()
        dim = x.shape[1] if self.input_dim is None else self.input_dim
        bias = exact.new_full((len(x), 1), self.sigma_b)
        augmented = torch.cat((exact * math.sqrt(self._weight_square / max(dim, 1)), bias), dim=1)
        squares = augmented.square().sum(dim=1, keepdim=True)
        lengths = _root(squares)
        return _Encoded(exact, augmented / torch.where(squares > 0, lengths, 1.0), lengths)

    def _through_layers(self, left: _Encoded, right: _Encoded) -> tuple[Tensor, Tensor]:
        """Theta and K after the last layer, (n, m) float64.

        Angles are carried as squares of the sine and cosine of their halves, from one layer to the next without a
        difference of numbers that nearly coincide. 1 - K/n would lose all digits of an angle below 1e-8.
        """
        sin2, cos2 = _half_angles(left, right)
        # a and b are square roots of K(x, x) and K(z, z), n their product.
        a, b = left.lengths, right.lengths.T
        product = a * b
        covariance = product * (cos2 - sin2)
        tangent = left.inputs @ right.inputs.T + 1 if self.standard_first_layer else covariance
        square, gain = self._weight_square, self._gain
        kink = square * (1 - self.slope) ** 2
        for layer in range(self.depth):
            bias = self._bias_square_after(layer)
            sin, cos = _root(sin2), _root(cos2)
            angle = 2 * torch.atan2(sin, cos)
            # sin t - t cos t: how K' falls behind a linear layer's.
            lost = product * (2 * sin * cos - angle * (cos2 - sin2)) / math.pi
            # sigma_w^2 [gamma K + (1 - gamma)^2 n (sin t + (pi - t) cos t) / 2 pi], sorted by what vanishes with t.
            covariance_after = gain * covariance + kink / 2 * lost + bias
            tangent = (gain - kink * angle / (2 * math.pi)) * tangent
            if self._is_trained_after(layer):
                tangent = tangent + covariance_after
            if layer < self.depth - 1:
                a_after, b_after = (gain * a.square() + bias).sqrt(), (gain * b.square() + bias).sqrt()
                product_after = a_after * b_after
                # 4 n' sin^2(t'/2) = |phi(x) - phi(z)|^2 - (a' - b')^2: what is left of the difference of lengths, which
                # a bias evens out, and of the angle.
                evened = bias + bias * (gain * (a.square() + b.square()) + bias) / _nonzero(
                    product_after + gain * product
                )
                apart = 2 * gain * ((a - b) / _nonzero(a_after + b_after)).square() * evened
                apart = apart + 4 * gain * product * sin2 - kink * lost
                sin2 = torch.where(product_after > 0, apart / (4 * _nonzero(product_after)), 0.5).clamp(0, 1)
                cos2 = 1 - sin2
                a, b, product = a_after, b_after, product_after
            covariance = covariance_after
        return tangent, covariance


class _Encoded(NamedTuple):
    """Inputs as the first layer sees them, in float64.

    Args:
        inputs: (n, d).
        directions: (sigma_w x / sqrt(d), sigma_b) at length 1; 0 stays 0.
        lengths: square roots of K(x, x), (n, 1).
    """

    inputs: Tensor
    directions: Tensor
    lengths: Tensor


def _half_angles(left: _Encoded, right: _Encoded) -> tuple[Tensor, Tensor]:
    """Squared sine and cosine of half the angles between directions, each to its own relative precision."""
    u, v = left.directions, right.directions
    cosines = u @ v.T
    sin2 = ((1 - cosines) / 2).clamp(0, 1)
    cos2 = ((1 + cosines) / 2).clamp(0, 1)
    for sign, squares in ((-1, sin2), (1, cos2)):
        rows, columns = torch.nonzero(squares.detach() < _NEARLY_PARALLEL, as_tuple=True)
        if len(rows):
            # |u - v|^2 / 4 from the difference itself: 1 - <u, v> keeps no digit of 1e-16.
            step = max(1, _DIFFERENCES // (8 * max(u.shape[1], 1)))
            exact = torch.cat(
                [
                    (u[some] + sign * v[others]).square().sum(dim=1) / 4
                    for some, others in zip(rows.split(step), columns.split(step), strict=True)
                ]
            )
            if sign < 0:
                sin2 = sin2.index_put((rows, columns), exact)
                cos2 = cos2.index_put((rows, columns), 1 - exact)
            else:
                cos2 = cos2.index_put((rows, columns), exact)
                sin2 = sin2.index_put((rows, columns), 1 - exact)
    return sin2, cos2


def _root(squares: Tensor) -> Tensor:
    """The square root, with derivative 0 at 0."""
    # The inner where keeps 1/0 out of the branch that is not taken, whose NaN would reach derivatives.
    return torch.where(squares > 0, torch.where(squares > 0, squares, 1.0).sqrt(), 0.0)


def _nonzero(values: Tensor) -> Tensor:
    """A divisor: 1 where it would be 0, which is where the numerator is 0 as well."""
    return torch.where(values > 0, values, 1.0)
