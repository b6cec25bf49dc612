"""The norms that bound a perturbation: the step of a given size that follows a gradient best."""

from __future__ import annotations

import torch
from torch import Tensor

from perturblearn.errors import ConfigError


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
    flat = gradient.flatten(1)
    if norm == "linf":
        return (epsilon * flat.sign()).view_as(gradient)
    if norm == "l0":
        flat = _largest(flat, pixels)
    elif norm != "l2":
        raise ConfigError(
            f"attack.norm = {norm!r}, but perturbations are bounded in l0, l2 or linf; choose one of these"
        )
    # Divided by the largest entry first: squares of gradients below 1e-19 would vanish in float32.
    largest = flat.abs().amax(dim=1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1)
    length = scaled.norm(dim=1, keepdim=True)
    return (epsilon * scaled / torch.where(length > 0, length, 1)).view_as(gradient)


def _largest(flat: Tensor, pixels: int | None) -> Tensor:
    if pixels is None or not 1 <= pixels <= flat.shape[1]:
        raise ConfigError(
            f"attack.pixels = {pixels}, but inputs have {flat.shape[1]} coordinates; choose between 1 and that number"
        )
    index = flat.abs().topk(pixels, dim=1).indices
    return torch.zeros_like(flat).scatter_(1, index, flat.gather(1, index))
