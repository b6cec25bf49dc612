"""The tangent kernel of a finite network at its parameters, for any `torch.nn.Module`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap
from typing_extensions import override

from perturblearn.classifiers import differentiable_forward
from perturblearn.theory.kernel import Centres, ClassSums, ClassWeights, Kernel, Points, Sums, Weights

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
        module: any network that treats the inputs of a batch one by one; put it into evaluation mode first. One that
            knows its gradients has a method ``parameter_gradients``, which takes inputs and returns a matrix
            (n, outputs * size) for each trainable parameter.
        x, z: inputs (n, ...) and (m, ...); z is x by default.
        workspace: bytes for the gradients of a block of inputs.

    Returns:
        (n, m).
    """
    parameters = trainable(module)
    others = x if z is None else z
    outputs = int(call(module, parameters, x[:1]).numel())
    size = outputs * sum(tensor.numel() * tensor.element_size() for tensor in parameters.values())
    block = max(1, workspace // (2 * max(size, 1)))  # the gradients of two blocks are alive at once
    symmetric = z is None
    parts = list(x.split(block))
    columns = parts if symmetric else list(others.split(block))
    rows = []
    for i, part in enumerate(parts):
        left = _gradients(module, parameters, part)
        row: list[Tensor] = []
        for j, column in enumerate(columns):
            if symmetric and j < i:  # already known from above the diagonal
                row.append(rows[j][i].T)
                continue
            right = left if symmetric and i == j else _gradients(module, parameters, column)
            row.append(sum((a @ b.T for a, b in zip(left, right, strict=True)), x.new_zeros(len(part), len(column))))
        rows.append(row)
    return torch.cat([torch.cat(row, dim=1) for row in rows])


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that training moves, by name, cut off from autograd."""
    return {name: tensor.detach() for name, tensor in module.named_parameters() if tensor.requires_grad}


def call(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """The network's outputs with other parameters."""
    with differentiable_forward():
        return functional_call(module, dict(parameters), (inputs,))


def _gradients(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> list[Tensor]:
    """Gradients of every input's outputs in the parameters, one matrix (n, outputs * size) per parameter."""
    # A closed form, where the network has one, is several times faster than a backward pass per sample.
    own = getattr(module, "parameter_gradients", None)
    if own is not None:
        return own(inputs)

    def of_one(sample: Tensor) -> dict[str, Tensor]:
        pulled = vjp(lambda values: call(module, values, sample[None]).flatten(), dict(parameters))
        outputs, pull_back = pulled[0], pulled[1]
        return vmap(lambda row: pull_back(row)[0])(torch.eye(len(outputs), dtype=outputs.dtype, device=outputs.device))

    per_sample = vmap(of_one)(inputs)
    return [tensor.flatten(1) for tensor in per_sample.values()]
