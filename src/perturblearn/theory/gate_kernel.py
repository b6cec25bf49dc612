"""The kernel of NeurIPS24: how much two inputs share the gates of a wide two-layer network."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from perturblearn.theory.checks import check_pair, check_slope
from perturblearn.theory.deep_kernel import DeepKernel
from perturblearn.theory.kernel import Centres, ClassSums, ClassWeights, Kernel, Points, Sums, Weights, row_blocks

_SAMPLES = 2**29
"""Bytes of a block of sampled units."""


def gate_kernel(
    x: Float[Tensor, "n d"], z: Float[Tensor, "m d"], *, slope: float, bias: bool = True, workspace: int | None = None
) -> Float[Tensor, "n m"]:
    r"""Overlap of two leaky-ReLU gates at infinite width, :math:`\Phi(x, z)` [NeurIPS24, section 4].

    :math:`E[\phi'(w^T x + b)\, \phi'(w^T z + b)]` over :math:`w \sim N(0, I/d)`, :math:`b \sim N(0, 1)`, in closed form
    :math:`(1 + \gamma^2)/2 - (1 - \gamma)^2 \theta / 2\pi`, where :math:`\theta` is the angle between
    :math:`(x/\sqrt d, 1)` and :math:`(z/\sqrt d, 1)`.

    Differentiable, also by `torch.func`. The angle has a kink where inputs are parallel; the gradient there is 0, the
    one of smallest norm.

    Args:
        x, z: inputs (n, d) and (m, d), one per row, in any units.
        slope: negative slope gamma of the activation, in [0, 1).
        bias: whether units have a bias b; without one the angle is that between x and z (a right angle where either
            is 0), as for the networks of ICLR24.
        workspace: bytes for a block of rows, beside the result; it changes nothing beyond rounding.

    Returns:
        (n, m), in [slope, (1 + slope^2) / 2], in the dtype of the inputs.

    Raises:
        ConfigError: slope outside [0, 1).
        DataError: x and z of different dimension or precision.
    """
    return GateKernel(slope, bias).gates(x, z, workspace=workspace)


@dataclass(frozen=True)
class GateKernel(Kernel):
    r"""Tangent kernel of a wide two-layer network whose readout is fixed, :math:`\Phi(x, z) \langle x, z \rangle`.

    With the trained bias's share it is :math:`\Phi(x, z) (\langle x, z \rangle + 1)`, the exact limit [NeurIPS24,
    section 3]; the paper's predictions leave that share out [NeurIPS24, section 4]. Gradients are the paper's as well:
    they hold the gates :math:`\Phi` fixed, as a network's own gradient does.

    Args:
        slope: negative slope gamma of the activation, in [0, 1).
        bias: whether units have a bias that enters the gates; see `gate_kernel`.
        trained_bias: whether the trained bias's +1 is included.
        input_dim: d, where inputs are given by fewer coordinates with the same inner products (see
            `DecisionPlane.reduce`); by default the number of their columns.

    Raises:
        ConfigError: slope outside [0, 1).
    """

    slope: float
    bias: bool = True
    trained_bias: bool = False
    input_dim: int | None = None

    def __post_init__(self) -> None:
        check_slope(self.slope)

    def gates(
        self, x: Float[Tensor, "n d"], z: Float[Tensor, "m d"], *, workspace: int | None = None
    ) -> Float[Tensor, "n m"]:
        r"""The overlap of gates :math:`\Phi(x, z)`, (n, m); see `gate_kernel`."""
        check_pair(x, z)
        directions = self._directions(z)
        blocks = row_blocks(x, len(z), workspace)
        turned = torch.cat([self._angles(part, directions).to(x.dtype) for part in blocks])
        return torch.add(self._full, turned, alpha=-self._lost_per_radian)

    @override
    def __call__(
        self, x: Float[Tensor, "n d"], z: Float[Tensor, "m d"] | None = None, *, workspace: int | None = None
    ) -> Float[Tensor, "n _"]:
        others = x if z is None else z
        return self.gates(x, others, workspace=workspace) * (x @ others.T + float(self.trained_bias))

    @override
    def diagonal(self, x: Float[Tensor, "n d"], *, workspace: int | None = None) -> Float[Tensor, "n"]:
        # An input shares all its gates with itself; only where every gate is at its kink (x = 0, no bias) this differs
        # from the closed form, and there the product is 0.
        return self._full * (x.square().sum(dim=1) + float(self.trained_bias))

    @override
    def weighted_sum(
        self, z: Points, centres: Centres, weights: ClassWeights, *, workspace: int | None = None
    ) -> ClassSums:
        if weights.ndim > 1:  # several classes share the values
            return super().weighted_sum(z, centres, weights, workspace=workspace)
        return self.expanded_sum(z, centres, weights, centres, workspace=workspace)

    @override
    def gradient_sum(self, z: Points, centres: Centres, weights: Weights, *, workspace: int | None = None) -> Points:
        directions, vectors = self._directions(centres), weights[:, None] * centres
        blocks = row_blocks(z, len(centres), workspace)
        return torch.cat([self._gated(part, directions, vectors) for part in blocks])

    @override
    def directional_sum(self, z: Points, centres: Centres, vectors: Centres, *, workspace: int | None = None) -> Sums:
        directions = self._directions(centres)
        blocks = row_blocks(z, len(centres), workspace)
        return torch.cat([(self._gated(part, directions, vectors) * part).sum(dim=1) for part in blocks])

    @override
    def expanded_sum(
        self, z: Points, centres: Centres, weights: Weights, points: Centres, *, workspace: int | None = None
    ) -> Sums:
        # With the gates of the centres held fixed the kernel is linear in its argument: the expansion is
        # sum_n alpha_n Phi(c_n, z) (<p_n, z> + 1), whatever the distance of p_n from c_n.
        if not self.trained_bias:
            return self.directional_sum(z, centres, weights[:, None] * points, workspace=workspace)
        directions = self._directions(centres)
        vectors = torch.cat((weights[:, None] * points, weights[:, None]), dim=1)
        parts = []
        for part in row_blocks(z, len(centres), workspace):
            sums = self._gated(part, directions, vectors)
            parts.append((sums[:, :-1] * part).sum(dim=1) + sums[:, -1])
        return torch.cat(parts)

    @override
    def initial_gradient_square(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """E ||sum_j a_j phi'(h_j) w_j||^2 = (1 + gamma^2)/2 for large d [own], the same for every input."""
        return x.new_full((len(x),), self._full)

    @override
    def initial_covariance(
        self, x: Float[Tensor, "n d"], z: Float[Tensor, "m d"] | None = None, *, workspace: int | None = None
    ) -> Float[Tensor, "n _"]:
        """Of NeurIPS24's network; its diagonal is (1 + gamma^2)/2 (||x||^2/d + 1)."""
        deep = DeepKernel(1, self.slope, 1.0, float(self.bias), trained_readout=False, input_dim=self.input_dim)
        return deep.initial_covariance(x, z, workspace=workspace)

    @override
    def reduced(self, input_dim: int) -> GateKernel:
        return replace(self, input_dim=input_dim)

    @property
    def _full(self) -> float:
        """Phi(x, x): half of the gates pass 1, the other half slope."""
        return (1 + self.slope**2) / 2

    @property
    def _lost_per_radian(self) -> float:
        return (1 - self.slope) ** 2 / (2 * math.pi)

    def _directions(self, x: Tensor) -> Tensor:
        """(x / sqrt(d), 1), or x without a bias, at length 1 in float64; 0 stays 0."""
        # float64 whatever the inputs' precision: the arc cosine of near-parallel inputs loses half of all digits.
        exact = x.double()
        dim = x.shape[1] if self.input_dim is None else self.input_dim
        # Scaled first, so that the squares of entries near 1e200 or 1e-200 stay finite and above 0.
        largest = exact.detach().abs().amax(dim=1, keepdim=True) if x.shape[1] else exact.new_zeros(len(x), 1)
        if self.bias:
            largest = largest.clamp_min(1.0)
            exact = torch.cat((exact / largest / math.sqrt(dim), 1 / largest), dim=1)
        else:
            exact = exact / torch.where(largest > 0, largest, 1.0)
        squares = exact.square().sum(dim=1, keepdim=True)
        return exact / torch.where(squares > 0, squares, 1.0).sqrt()

    def _angles(self, x: Tensor, directions: Tensor) -> Tensor:
        """Angles theta of a block of rows with unit directions, (n, m) float64."""
        return _Angle.apply(self._directions(x) @ directions.T)

    def _gated(self, x: Tensor, directions: Tensor, vectors: Tensor) -> Tensor:
        """sum_n Phi(x, c_n) v_n for a block of rows, given the unit directions of the centres c; (m, j)."""
        # Phi is linear in the angle, so the sum is taken over angles: one product, and Phi itself is never made.
        turned = self._angles(x, directions).to(vectors.dtype)
        return self._full * vectors.sum(dim=0) - self._lost_per_radian * (turned @ vectors)


def sampled_gate_kernel(
    x: Float[Tensor, "n d"],
    z: Float[Tensor, "m d"],
    *,
    slope: float,
    draws: int,
    generator: torch.Generator,
    bias: bool = True,
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """The gate kernel by Monte Carlo [NeurIPS24, section 4], as the papers' code takes it; it checks the closed form.

    Args:
        x, z: inputs (n, d) and (m, d).
        slope: negative slope gamma, in [0, 1).
        draws: units (w, b) to average over, 2 or more.
        generator: where they come from.
        bias: as for `gate_kernel`.

    Returns:
        The mean over the draws and its standard error, both (n, m) float64.

    Raises:
        ConfigError: slope outside [0, 1).
        DataError: x and z of different dimension or precision.
    """
    check_slope(slope)
    check_pair(x, z)
    assert draws >= 2, draws
    dim = x.shape[1]
    total = torch.zeros(len(x), len(z), dtype=torch.float64)
    squares = torch.zeros_like(total)
    block = max(1, _SAMPLES // (32 * (dim + len(x) + len(z))))
    for start in range(0, draws, block):
        count = min(block, draws - start)
        weights = torch.randn(count, dim, generator=generator, dtype=torch.float64) / math.sqrt(dim)
        biases = torch.randn(count, generator=generator, dtype=torch.float64) * bias
        first, second = (slope + (1 - slope) * (inputs.double() @ weights.T + biases > 0).double() for inputs in (x, z))
        total += first @ second.T
        squares += first.square() @ second.square().T
    mean = total / draws
    # Rounding can take the variance of a pair whose gates never part below 0.
    return mean, ((squares / draws - mean.square()).clamp_min(0) / (draws - 1)).sqrt()


class _Angle(torch.autograd.Function):
    """The arc cosine, with derivative 0 where inputs are parallel or opposite up to rounding."""

    generate_vmap_rule = True

    @staticmethod
    def forward(cosines: Tensor) -> Tensor:
        return cosines.clamp(-1, 1).acos_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * _slope_of_angle(*ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return tangents[0] * _slope_of_angle(*ctx.saved_tensors)


def _slope_of_angle(cosines: Tensor) -> Tensor:
    """-1 / sqrt(1 - c^2), and 0 where that is a division of rounding errors."""
    # (1 - c)(1 + c), not 1 - c^2: the latter cancels near 1.
    squares = (1 - cosines) * (1 + cosines)
    free = squares > 8 * torch.finfo(cosines.dtype).eps
    # The inner where keeps 1/0 out of the branch that is not taken, whose NaN would reach second derivatives.
    return torch.where(free, -torch.where(free, squares, 1.0).rsqrt(), 0.0)
