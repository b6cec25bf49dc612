"""The function that a network learns if its tangent kernel stands still, for any loss on the margin or cross-entropy.

A network that is replaced by its linearisation at the start moves in the span of its own kernel: gradient flow on the
mean loss l of the margins is du/dt = -(1/n) K (y l'(y u)), so its output anywhere is the initial one plus a sum of
kernels, one per training sample. With several classes each output moves so, by the derivative of the cross-entropy.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Real
from torch import Tensor
from torch.nn.functional import one_hot

from perturblearn.errors import ConfigError, DataError
from perturblearn.theory.checks import check_finite, check_labels
from perturblearn.theory.kernel import Kernel

TOLERANCE = 1e-3
"""Error of one step of the flow, as a share of 1 plus the largest output."""
_SAFETY, _LEAST, _MOST = 0.9, 0.2, 3.0
"""Usual constants of a step control: aim a little below the tolerance, change a step by bounded factors."""


def kernel_training(
    x: Float[Tensor, "n *d"],
    y: Real[Tensor, "n"],
    initial: Float[Tensor, "n *k"],
    *,
    kernel: Kernel,
    time: float,
    derivative: Callable[[Tensor], Tensor] | None = None,
    tolerance: float = TOLERANCE,
) -> Float[Tensor, "n *k"]:
    r"""Multipliers alpha of a linearised network after gradient flow: :math:`f_0(z) + \sum_n \alpha_n \Theta(x_n, z)`.

    Solves :math:`\dot\alpha_n = -\frac1n y_n \ell'(y_n u_n)`, for several classes :math:`\dot\alpha_n = \frac1n
    (e_{y_n} - \mathrm{softmax}(u_n))`, with :math:`u = u_0 + K \alpha`, K the kernel over x, from alpha = 0, with
    Heun's method in steps whose error is kept below the tolerance. `Kernel.weighted_sum` then predicts anywhere. That a
    wide network follows its linearisation is shown by Lee et al., "Wide Neural Networks of Any Depth Evolve as Linear
    Models Under Gradient Descent", NeurIPS 2019.

    Args:
        x: training inputs (n, ...).
        y: labels +1 and -1, (n,), or 0 .. k-1 for the cross-entropy of k outputs.
        initial: u_0, the network's outputs at its start, (n,), or logits (n, k).
        kernel: the network's kernel, for a finite network `EmpiricalKernel` at its start; evaluated over all pairs. Of
            several outputs each has this kernel, and none sees the others, as at infinite width.
        time: learning rate times steps (with momentum mu, divided by 1 - mu; see `training_time`), 0 or more.
        derivative: l', elementwise; of the logistic loss, -sigmoid(-s). None for the cross-entropy.
        tolerance: error of one step in u, as a share of 1 plus the largest \|u\|.

    Returns:
        alpha, (n,) or (n, k), in float64.

    Raises:
        ConfigError: a time below 0.
        DataError: shapes that do not fit, labels that do not fit, or values that are not finite.
    """
    if not time >= 0:
        raise ConfigError(f"time = {time}, but training goes forward; give a time of 0 or more")
    if derivative is None:
        _check_classes(y, initial, len(x))
    else:
        check_labels(y, len(x), both_classes=False)
        if initial.shape != y.shape:
            raise DataError(
                f"the initial outputs have shape {tuple(initial.shape)} for {len(y)} samples; give one output per "
                "sample, or leave out derivative for the cross-entropy of several"
            )
    check_finite(initial, "initial")
    values = kernel(x)
    check_finite(values, "the kernel's matrix")
    # float64: float32 would lose the small steps of a long, nearly converged training.
    matrix, start = values.double(), initial.double()

    def speed(outputs: Tensor) -> Tensor:
        if derivative is None:
            return (one_hot(y.long(), outputs.shape[1]) - outputs.softmax(dim=1)) / len(y)
        signs = y.double()
        return -signs * derivative(signs * outputs) / len(y)

    learned = torch.zeros_like(start)
    outputs, velocity = start, speed(start)
    check_finite(velocity, "the loss's derivative")
    done, step = 0.0, time
    while done < time:
        step = min(step, time - done)
        change = matrix @ velocity
        ahead = speed(outputs + step * change)
        # The second stage's share of Heun's step is also the error of the first stage alone.
        correction = step / 2 * (matrix @ (ahead - velocity))
        error = float(correction.abs().max() / (tolerance * (1 + outputs.abs().max())))
        if error <= 1:
            learned = learned + step / 2 * (velocity + ahead)
            outputs = outputs + step * change + correction
            velocity = speed(outputs)
            # Exactly the end, where done + step may round to just below it and ask for one more step.
            done = time if step == time - done else done + step
        # The error of a second-order method grows as the square of its step.
        step *= min(_MOST, max(_LEAST, _SAFETY / error**0.5)) if error > 0 else _MOST
    return learned


def _check_classes(y: Tensor, initial: Tensor, n_samples: int) -> None:
    if initial.ndim != 2 or len(initial) != n_samples or y.shape != (n_samples,):
        raise DataError(
            f"the initial outputs have shape {tuple(initial.shape)} for {n_samples} samples; for the cross-entropy "
            "give a logit for each sample and class, and one label for each sample"
        )
    wrong = (y < 0) | (y >= initial.shape[1]) | (y != y.round())
    if bool(wrong.any()):
        raise DataError(
            f"y holds the label {y[wrong][0].item():g}, but {initial.shape[1]} classes have the labels 0 .. "
            f"{initial.shape[1] - 1}; renumber the labels"
        )
