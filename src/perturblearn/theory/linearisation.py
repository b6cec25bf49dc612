"""Is a network in the lazy regime? How far it has left its linearisation, for any `torch.nn.Module`."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.func import jvp

from perturblearn.errors import DataError
from perturblearn.theory.empirical_kernel import WORKSPACE, empirical_kernel
from perturblearn.theory.parameter_gradients import call, trainable


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


def linearised_outputs(
    initial: nn.Module, trained: nn.Module, inputs: Float[Tensor, "m *d"]
) -> tuple[Float[Tensor, "m *k"], Float[Tensor, "m *k"]]:
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
    start, end = trainable(initial), trainable(trained)
    if {name: tensor.shape for name, tensor in start.items()} != {name: tensor.shape for name, tensor in end.items()}:
        raise DataError(
            "the initial and the trained network differ in their parameters' names or shapes; "
            "give the same network before and after training"
        )
    # One forward derivative, whatever the number of parameters: the Jacobian itself is never made.
    steps = {name: end[name] - tensor for name, tensor in start.items()}
    derivative = jvp(lambda parameters: call(initial, parameters, inputs), (start,), (steps,))
    outputs, change = derivative[0], derivative[1]
    return outputs, outputs + change


def lazy_regime(
    initial: nn.Module, trained: nn.Module, inputs: Float[Tensor, "m *d"], *, workspace: int = WORKSPACE
) -> LazyRegime:
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
    final = call(trained, trainable(trained), inputs)
    # Both kernels whole: their difference has no shorter form. Frobenius norms, as for the outputs.
    before = empirical_kernel(initial, inputs, workspace=workspace)
    after = empirical_kernel(trained, inputs, workspace=workspace)
    return LazyRegime(
        _ratio((after - before).norm(), before.norm()),
        _ratio((final - linear).norm(), (final - first).norm()),
        len(inputs),
    )


def _ratio(above: Tensor, below: Tensor) -> float:
    # A network that has not moved, or has no kernel, is lazy: 0 / 0 counts as 0.
    return float(above / below) if float(below) > 0 else 0.0
