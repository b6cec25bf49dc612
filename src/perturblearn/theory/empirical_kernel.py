"""The tangent kernel of a finite network at its parameters, for any `torch.nn.Module`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import jvp, vjp
from typing_extensions import override

from perturblearn.theory.kernel import Centres, ClassSums, ClassWeights, Kernel, Points, Sums, Weights
from perturblearn.theory.parameter_gradients import GradientsOf, call, trainable

WORKSPACE = 2**31
"""Bytes that the gradients of a block of inputs may take."""


@dataclass(frozen=True, eq=False)
class EmpiricalKernel(Kernel):
    """`empirical_kernel` of a network as a kernel that predictions take.

    Its sums over training inputs are derivatives of the network along one direction in parameter space, so that
    gradients need no matrix and no gradient per sample, whatever the number of training inputs.

    Args:
        network: any network that treats the inputs of a batch one by one; put it into evaluation mode first.
    """

    network: nn.Module

    @override
    def __call__(
        self, x: Float[Tensor, "n *d"], z: Float[Tensor, "m *d"] | None = None, *, workspace: int | None = None
    ) -> Float[Tensor, "n _"]:
        return empirical_kernel(self.network, x, z, workspace=workspace or WORKSPACE)

    @override
    def weighted_sum(
        self, z: Points, centres: Centres, weights: ClassWeights, *, workspace: int | None = None
    ) -> ClassSums:
        # Whole: each block of rows of z would take the gradients at all centres anew.
        return self(z, centres, workspace=workspace).to(weights.dtype) @ weights

    @override
    def gradient_sum(self, z: Points, centres: Centres, weights: Weights, *, workspace: int | None = None) -> Points:
        parameters = trainable(self.network)

        def gradient(output: int) -> Tensor:
            # sum_n alpha_n <grad f(c_n), grad f(z)> is f's derivative at z along sum_n alpha_n grad f(c_n).
            direction = self._pulled(lambda values: self._output(values, centres, output) @ weights.to(centres.dtype))
            along, pull_back = vjp(
                lambda points: jvp(lambda values: self._output(values, points, output), (parameters,), (direction,))[1],
                z,
            )[:2]
            return pull_back(torch.ones_like(along))[0]

        return sum((gradient(output) for output in range(self._n_outputs(z))), torch.zeros_like(z))

    @override
    def directional_sum(self, z: Points, centres: Centres, vectors: Centres, *, workspace: int | None = None) -> Sums:
        parameters = trainable(self.network)

        def derivative(output: int) -> Tensor:
            direction = self._pulled(
                lambda values: jvp(lambda points: self._output(values, points, output), (centres,), (vectors,))[1].sum()
            )
            return jvp(lambda values: self._output(values, z, output), (parameters,), (direction,))[1]

        return sum((derivative(output) for output in range(self._n_outputs(z))), z.new_zeros(len(z)))

    @override
    def initial_gradient_square(self, x: Float[Tensor, "n *d"]) -> Float[Tensor, "n"]:
        r"""Squared length of this network's own input gradient, (n,); of several outputs, the sum."""
        parameters = trainable(self.network)

        def squares(output: int) -> Tensor:
            values, pull_back = vjp(lambda points: self._output(parameters, points, output), x)[:2]
            return pull_back(torch.ones_like(values))[0].flatten(1).square().sum(dim=1)

        return sum((squares(output) for output in range(self._n_outputs(x))), x.new_zeros(len(x)))

    def _n_outputs(self, inputs: Tensor) -> int:
        return call(self.network, trainable(self.network), inputs[:1]).numel()

    def _output(self, parameters: dict[str, Tensor], inputs: Tensor, output: int) -> Tensor:
        return call(self.network, parameters, inputs).reshape(len(inputs), -1)[:, output]

    def _pulled(self, function: Callable[[dict[str, Tensor]], Tensor]) -> dict[str, Tensor]:
        """Gradient in the parameters of a number that depends on them."""
        value, pull_back = vjp(function, trainable(self.network))[:2]
        return pull_back(torch.ones_like(value))[0]


def empirical_kernel(
    module: nn.Module, x: Float[Tensor, "n *d"], z: Float[Tensor, "m *d"] | None = None, *, workspace: int = WORKSPACE
) -> Float[Tensor, "n _"]:
    r"""Kernel of a finite network at its parameters, :math:`\langle \nabla_\theta f(x), \nabla_\theta f(z) \rangle`.

    Of a network with several outputs, the sum over outputs. Only trainable parameters count. It is the kernel of Jacot,
    Gabriel and Hongler, "Neural Tangent Kernel: Convergence and Generalization in Neural Networks", NeurIPS 2018.

    Args:
        module: any network that treats the inputs of a batch one by one; put it into evaluation mode first. Fully
            connected layers are cheap, whatever their width; the gradients in all other parameters are taken sample
            by sample.
        x, z: inputs (n, ...) and (m, ...); z is x by default.
        workspace: bytes for the gradients of a block of inputs.

    Returns:
        (n, m).
    """
    gradients = GradientsOf(module, x[:1])
    # The gradients of two blocks are alive at once.
    block = max(1, workspace // (2 * max(gradients.bytes_per_input, 1)))
    parts = x.split(block)
    rows: list[list[Tensor]] = []
    for i, part in enumerate(parts):
        left = gradients(part)
        if z is None:  # what is below the diagonal is already known
            row = [rows[j][i].T for j in range(i)] + [left.inner(left)]
            row += [left.inner(gradients(column)) for column in parts[i + 1 :]]
        else:
            row = [left.inner(gradients(column)) for column in z.split(block)]
        rows.append(row)
    return torch.cat([torch.cat(row, dim=1) for row in rows])
