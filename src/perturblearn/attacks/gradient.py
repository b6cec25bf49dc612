"""Gradients of a classifier in its inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def input_gradient(module: nn.Module, inputs: Tensor, *, block: int = 16384) -> Tensor:
    """Gradient of f for every input, in blocks of rows.

    Args:
        module: a network with one output per input.
        inputs: (n, ...).
        block: inputs per pass; it bounds the memory and changes nothing beyond rounding.

    Returns:
        The gradients, shaped as the inputs.
    """
    gradients = []
    for part in inputs.split(block):
        leaf = part.detach().requires_grad_()
        with torch.enable_grad():
            gradients.append(torch.autograd.grad(module(leaf).sum(), leaf)[0])
    return torch.cat(gradients)
