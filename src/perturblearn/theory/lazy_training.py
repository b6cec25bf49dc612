"""The exact function of lazy training at a finite time, for the identity loss, and what time does to perturbations.

The identity loss sends the same signal back at every step, so a network whose gates do not change moves along one
straight line: its output is the initial one plus training time times the kernel average of its labels [NeurIPS24,
section 3].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perturblearn.errors import ConfigError
from perturblearn.theory.checks import check_labels
from perturblearn.theory.wide_network import perturbation_direction, standard_prediction


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
    for rate in rates:
        velocity = momentum * velocity + 1
        time += rate * velocity
    return time


def lazy_prediction(
    x: Tensor,
    y: Tensor,
    z: Tensor,
    *,
    slope: float,
    time: float,
    initial: Tensor | float = 0.0,
    bias: bool = True,
    workspace: int | None = None,
) -> Tensor:
    r"""The infinitely wide network in lazy training with the identity loss, at a finite time.

    :math:`f_0(z) + \frac{\tau}{N} \sum_n y_n \Phi(x_n, z) (\langle x_n, z \rangle + 1)`, the +1 being the trained
    bias's [NeurIPS24, section 3]. Exact, not up to a factor. With x = x' and y = y' it is the perturbation classifier.

    Args:
        x: training inputs (N, d).
        y: labels +1 and -1, (N,).
        z: where to predict, (M, d).
        slope: negative slope gamma, in [0, 1).
        time: tau, see `training_time`.
        initial: f_0(z), (M,), of the network as it starts; at infinite width it is Gaussian with variance
            (1 + gamma^2)/2 (\|z\|^2/d + 1), and 0 is its mean.
        bias: whether units have a trained bias.
        workspace: bytes for a block of rows of z.

    Returns:
        (M,).

    Raises:
        ConfigError, DataError: as for `standard_prediction`.
    """
    learned = standard_prediction(x, y, z, slope=slope, trained_bias=bias, bias=bias, workspace=workspace)
    return initial + time * learned


def expected_cosine(
    x: Tensor, y: Tensor, *, slope: float, time: float, bias: bool = True, workspace: int | None = None
) -> Tensor:
    r"""How far one-step perturbations have turned towards t_n at a finite time, :math:`1/\sqrt{1 + \rho_n^2}` [own].

    The gradient of f is :math:`G_0 + \tau t_n` with an initial gradient G_0 of random direction and of squared length
    about :math:`(1 + \gamma^2)/2`, so :math:`\rho_n = \sqrt{(1 + \gamma^2)/2}\,/\,(\tau \|t_n\|)`.

    Args:
        x: training inputs (N, d).
        y: labels +1 and -1, (N,).
        slope: negative slope gamma, in [0, 1).
        time: tau, see `training_time`; 0 or more.
        bias: whether units have a bias.
        workspace: bytes for a block of rows.

    Returns:
        \|cos(r_n, t_n)\| for large d, (N,), in [0, 1].

    Raises:
        ConfigError, DataError: as for `perturbation_direction`.
    """
    check_labels(y, len(x))
    moved = time * perturbation_direction(x, y, slope=slope, bias=bias, workspace=workspace).norm(dim=1)
    return moved / torch.sqrt(moved.square() + (1 + slope**2) / 2)


def initial_output_variance(z: Tensor, *, slope: float) -> Tensor:
    r"""Variance of f_0(z) over initialisations of a wide network, (1 + gamma^2)/2 (\|z\|^2/d + 1) [own].

    Args:
        z: inputs (M, d).
        slope: negative slope gamma, in [0, 1).

    Returns:
        (M,), in the dtype of the inputs.
    """
    return (1 + slope**2) / 2 * (z.square().sum(dim=1) / z.shape[1] + 1)
