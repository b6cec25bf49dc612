"""The exact function of lazy training at a finite time, for the identity loss, and what time does to perturbations.

The identity loss sends the same signal back at every step, so a network whose gates do not change moves along one
straight line: its output is the initial one plus the training time times the kernel average of its labels [NeurIPS24,
section 3].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Real
from torch import Tensor

from perturblearn.errors import ConfigError
from perturblearn.theory.kernel import Kernel
from perturblearn.theory.predictions import perturbation_direction, standard_prediction


def training_time(lr: float | Sequence[float], epochs: int, momentum: float = 0.9) -> float:
    r"""Time tau that heavy-ball descent covers: the weights move by tau times a constant negative gradient.

    For a constant rate :math:`\tau = \frac{\eta}{1 - \mu} (E - \mu (1 - \mu^E)/(1 - \mu))`, which is
    :math:`10\,\eta\,(E - 9 (1 - 0.9^E))` at the papers' momentum.

    Args:
        lr: the learning rate eta, or one per epoch where a rule has cut it.
        epochs: full-batch epochs E.
        momentum: mu in [0, 1).

    Raises:
        ConfigError: another number of rates than epochs.
    """
    rates = [lr] * epochs if isinstance(lr, (int, float)) else list(lr)
    if len(rates) != epochs:
        raise ConfigError(f"{len(rates)} learning rates for {epochs} epochs; give one rate, or one per epoch")
    time = velocity = 0.0
    # A loop instead of the closed form: a plateau rule cuts rates and keeps the velocity.
    for rate in rates:
        velocity = momentum * velocity + 1
        time += rate * velocity
    return time


def lazy_prediction(
    x: Float[Tensor, "n d"],
    y: Real[Tensor, "n"],
    z: Float[Tensor, "m d"],
    *,
    kernel: Kernel,
    time: float,
    initial: Float[Tensor, "m"] | float = 0.0,
    workspace: int | None = None,
) -> Float[Tensor, "m"]:
    r"""The infinitely wide network in lazy training with the identity loss, at a finite time.

    :math:`f_0(z) + \frac{\tau}{N} \sum_n y_n \Theta(x_n, z)` [NeurIPS24, section 3]. Exact, not up to a factor, if the
    kernel is: for NeurIPS24's network ``GateKernel(slope, trained_bias=True)``. With x = x' and y = y' it is the
    perturbation classifier.

    Args:
        x: training inputs (n, d).
        y: labels +1 and -1, (n,).
        z: where to predict, (m, d).
        kernel: the network's kernel, with the trained bias's share if the network has one.
        time: tau, see `training_time`.
        initial: f_0(z), (m,), of the network as it starts; at infinite width it is Gaussian with the covariance
            `Kernel.initial_covariance`, and 0 is its mean.
        workspace: bytes for a block of rows of z.

    Returns:
        (m,).

    Raises:
        DataError: as for `standard_prediction`.
    """
    return initial + time * standard_prediction(x, y, z, kernel=kernel, workspace=workspace)


def expected_cosine(
    x: Float[Tensor, "n d"], y: Real[Tensor, "n"], *, kernel: Kernel, time: float, workspace: int | None = None
) -> Float[Tensor, "n"]:
    r"""How far one-step perturbations have turned towards t_n at a finite time, :math:`1/\sqrt{1 + \rho_n^2}` [own].

    The gradient of f is :math:`G_0 + \tau t_n`, the initial gradient G_0 of random direction, so
    :math:`\rho_n = \sqrt{E\|G_0\|^2}\,/\,(\tau \|t_n\|)`; for `GateKernel` :math:`E\|G_0\|^2 = (1 + \gamma^2)/2`.

    Args:
        x: training inputs (n, d).
        y: labels +1 and -1, (n,).
        kernel: f's kernel, one that knows the network's start (`Kernel.initial_gradient_square`).
        time: tau, see `training_time`; 0 or more.
        workspace: bytes for a block of rows.

    Returns:
        \|cos(r_n, t_n)\| for large d, (n,), in [0, 1].

    Raises:
        ConfigError: a kernel that knows nothing of the network's start.
        DataError: as for `perturbation_direction`.
    """
    moved = time * perturbation_direction(x, y, kernel=kernel, workspace=workspace).norm(dim=1)
    # Not 1/sqrt(1 + rho^2) itself: rho is infinite where nothing has moved.
    return moved / torch.sqrt(moved.square() + kernel.initial_gradient_square(x))
