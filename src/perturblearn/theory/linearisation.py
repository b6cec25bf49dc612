"""Is a network in the lazy regime? Its linearisation and empirical kernel, for any `torch.nn.Module`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap

from perturblearn.errors import DataError

WORKSPACE = 2**31
"""Bytes that the gradients of a block of inputs may take."""


@dataclass(frozen=True)
class LazyRegime:
    """How far training has left the lazy regime; both numbers are 0 for a network that is linear in its parameters.

    Args:
        kernel_drift: relative change of the empirical kernel from the start to the end of training,
            ||K_T - K_0|| / ||K_0|| (Frobenius) over pairs of the inputs.
        linearisation_distance: ||f_T - f_lin|| / ||f_T - f_0|| over the inputs, f_lin the network's linearisation at
            its start, taken at its final parameters.
        n_inputs: on how many inputs both were taken.
    """

    kernel_drift: float
    linearisation_distance: float
    n_inputs: int


def linearised_outputs(initial: nn.Module, trained: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    r"""Outputs of a network at its start, and of its linearisation there at the trained parameters.

    :math:`f_{lin}(z) = f_0(z) + \nabla_\theta f_0(z) \cdot (\theta_T - \theta_0)`, by one forward derivative
    (Chizat, Oyallon and Bach, "On Lazy Training in Differentiable Programming", NeurIPS 2019).

    Args:
        initial: the network as it started.
        trained: the same network after training.
        inputs: (M, ...).

    Returns:
        f_0 and f_lin, shaped as the network's outputs.

    Raises:
        DataError: networks whose parameters are not the same by name and shape.
    """
    start, end = _parameters(initial), _parameters(trained)
    if {name: tensor.shape for name, tensor in start.items()} != {name: tensor.shape for name, tensor in end.items()}:
        raise DataError(
            "the initial and the trained network have other parameters; give the same network before and after training"
        )
    steps = {name: end[name] - tensor for name, tensor in start.items()}
    derivative = jvp(lambda parameters: _call(initial, parameters, inputs), (start,), (steps,))
    outputs, change = derivative[0], derivative[1]
    return outputs, outputs + change


def empirical_kernel(module: nn.Module, x: Tensor, z: Tensor | None = None, *, workspace: int = WORKSPACE) -> Tensor:
    r"""Kernel of a finite network at its parameters, :math:`\langle \nabla_\theta f(x), \nabla_\theta f(z) \rangle`.

    Of a network with several outputs, the sum over outputs. Only trainable parameters count. It is the kernel of Jacot,
    Gabriel and Hongler, "Neural Tangent Kernel: Convergence and Generalization in Neural Networks", NeurIPS 2018.

    Args:
        module: any network that treats the inputs of a batch one by one; put it into evaluation mode first. One that
            knows its gradients has a method ``parameter_gradients``, which takes inputs and returns a matrix
            (n, outputs * size) for each trainable parameter.
        x, z: inputs (N, ...) and (M, ...); z is x by default.
        workspace: bytes for the gradients of a block of inputs.

    Returns:
        (N, M).
    """
    parameters = _parameters(module)
    others = x if z is None else z
    outputs = int(_call(module, parameters, x[:1]).numel())
    size = outputs * sum(tensor.numel() * tensor.element_size() for tensor in parameters.values())
    block = max(1, workspace // (2 * max(size, 1)))
    symmetric = z is None
    parts = list(x.split(block))
    columns = parts if symmetric else list(others.split(block))
    rows = []
    for i, part in enumerate(parts):
        left = _gradients(module, parameters, part)
        row: list[Tensor] = []
        for j, column in enumerate(columns):
            if symmetric and j < i:
                row.append(rows[j][i].T)
                continue
            right = left if symmetric and i == j else _gradients(module, parameters, column)
            row.append(sum((a @ b.T for a, b in zip(left, right, strict=True)), x.new_zeros(len(part), len(column))))
        rows.append(row)
    return torch.cat([torch.cat(row, dim=1) for row in rows])


def lazy_regime(initial: nn.Module, trained: nn.Module, inputs: Tensor, *, workspace: int = WORKSPACE) -> LazyRegime:
    """Kernel drift and distance from the linearisation, over given inputs.

    Both are 0 in the lazy regime of Chizat, Oyallon and Bach, "On Lazy Training in Differentiable Programming",
    NeurIPS 2019.

    Args:
        initial: the network as it started.
        trained: the same network after training.
        inputs: (M, ...); the kernel is taken over all pairs, so a few hundred are enough.
        workspace: bytes for the gradients of a block of inputs.

    Raises:
        DataError: networks whose parameters are not the same by name and shape, or no inputs.
    """
    if len(inputs) == 0:
        raise DataError("there are no inputs; give at least one")
    first, linear = linearised_outputs(initial, trained, inputs)
    final = _call(trained, _parameters(trained), inputs)
    before = empirical_kernel(initial, inputs, workspace=workspace)
    after = empirical_kernel(trained, inputs, workspace=workspace)
    return LazyRegime(
        _ratio((after - before).norm(), before.norm()),
        _ratio((final - linear).norm(), (final - first).norm()),
        len(inputs),
    )


def _ratio(above: Tensor, below: Tensor) -> float:
    return float(above / below) if float(below) > 0 else 0.0


def _parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in module.named_parameters() if tensor.requires_grad}


def _call(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    return functional_call(module, dict(parameters), (inputs,))


def _gradients(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> list[Tensor]:
    """Gradients of every input's outputs in the parameters, one matrix (n, outputs * size) per parameter."""
    own = getattr(module, "parameter_gradients", None)
    if own is not None:
        return own(inputs)

    def of_one(sample: Tensor) -> dict[str, Tensor]:
        pulled = vjp(lambda values: _call(module, values, sample[None]).flatten(), dict(parameters))
        outputs, pull_back = pulled[0], pulled[1]
        return vmap(lambda row: pull_back(row)[0])(torch.eye(len(outputs), dtype=outputs.dtype, device=outputs.device))

    per_sample = vmap(of_one)(inputs)
    return [tensor.flatten(1) for tensor in per_sample.values()]
