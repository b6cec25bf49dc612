"""The norms that bound a perturbation: the step of a given size that follows a gradient best."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from perturblearn.errors import ConfigError

ORDERS = {"l2": 2.0, "linf": math.inf}


def steepest_step(gradient: Tensor, norm: str, *, epsilon: float, pixels: int | None = None) -> Tensor:
    r"""The step of size epsilon along a gradient, per sample [NeurIPS24, section 4 and appendix].

    L2: epsilon g / \|g\|_2. L-infinity: epsilon sign(g). L0: the entries of g largest in size, scaled to L2 length
    epsilon, all others 0. Where the gradient is 0 the step is 0.

    Args:
        gradient: g, (n, ...); every sample is taken as one vector.
        norm: ``l0``, ``l2`` or ``linf``.
        epsilon: size, 0 or more.
        pixels: coordinates that an L0 step changes, between 1 and the number of coordinates.

    Returns:
        The steps, shaped as the gradient.

    Raises:
        ConfigError: unknown norm, or pixels missing or more than there are.
    """
    check_norm(norm)
    flat = gradient.flatten(1)
    if norm == "linf":
        return (epsilon * flat.sign()).view_as(gradient)
    if norm == "l0":
        flat = _largest(flat, pixels)
    return (epsilon * normalised(flat, 2.0)).view_as(gradient)


def normalised(rows: Tensor, order: float) -> Tensor:
    """Rows (n, d) divided by their norm of order 2 or infinity; rows of zeros stay what they are."""
    # Divided by the largest entry first: squares of gradients below 1e-19 would vanish in float32.
    scaled = rows / _or_one(row_norms(rows, math.inf))
    return scaled if order == math.inf else scaled.div_(_or_one(row_norms(scaled, order)))


def row_norms(rows: Tensor, order: float) -> Tensor:
    """Norms of rows (n, d), (n, 1)."""
    return torch.linalg.vector_norm(rows, order, dim=1, keepdim=True)


def check_norm(norm: str) -> None:
    """Refuse a norm that is none of the three.

    Raises:
        ConfigError: it is none of them.
    """
    if norm not in ("l0", *ORDERS):
        raise ConfigError(
            f"attack.norm = {norm!r}, but perturbations are bounded in l0, l2 or linf; choose one of these"
        )


def check_l2_or_linf(norm: str, attack: str) -> None:
    """Refuse a norm that an attack does not have.

    Raises:
        ConfigError: it is neither L2 nor L-infinity.
    """
    if norm not in ORDERS:
        raise ConfigError(
            f"attack.norm = {norm!r}, but {attack} bounds perturbations in l2 or linf; choose one of these, or for l0 "
            "radial_pgd"
        )


def check_pixels(pixels: int | None, coordinates: int) -> int:
    """The number of coordinates that an L0 perturbation may change.

    Raises:
        ConfigError: it is missing, or more than there are.
    """
    if pixels is None or not 1 <= pixels <= coordinates:
        raise ConfigError(
            f"attack.pixels = {pixels}, but inputs have {coordinates} coordinates; choose between 1 and that number"
        )
    return pixels


def _largest(flat: Tensor, pixels: int | None) -> Tensor:
    index = flat.abs().topk(check_pixels(pixels, flat.shape[1]), dim=1).indices
    return torch.zeros_like(flat).scatter_(1, index, flat.gather(1, index))


def _or_one(lengths: Tensor) -> Tensor:
    return torch.where(lengths == 0, 1, lengths)
