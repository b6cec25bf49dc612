"""Gradients of a classifier in its inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perturblearn.attacks.frozen import frozen
from perturblearn.attacks.objective import Objective, name_of_network, target_loss
from perturblearn.attacks.slices import pass_slices
from perturblearn.errors import ModelError


def input_gradient(
    module: nn.Module, inputs: Tensor, targets: Tensor | None = None, *, block: int | None = None
) -> Tensor:
    """Gradient of f for every input, or the direction from there towards target labels [NeurIPS24, section 4].

    Args:
        module: f, with outputs (n,) or (n, 1) for two classes, or logits (n, K).
        inputs: (n, ...).
        targets: y', (n,); needed for logits.
        block: inputs per pass; it bounds the memory and changes nothing beyond rounding.

    Returns:
        Shaped as the inputs: without targets grad f; with targets y' grad f, and for logits minus the gradient of the
        cross-entropy at the target, which for two logits is a positive multiple of the gradient of their difference.

    Raises:
        ModelError: logits without targets, targets that f has no class for, outputs of the wrong shape or NaN.
    """
    name = name_of_network(module)
    gradients = torch.empty_like(inputs)

    def output(outputs: Tensor, labels: Tensor) -> Tensor:
        if outputs.ndim == 2:
            raise ModelError(
                f"{name} has {outputs.shape[1]} outputs per input, whose gradient depends on the target; give targets"
            )
        return outputs

    loss = output if targets is None else target_loss
    with frozen(module):
        for part in pass_slices(inputs, block):
            points = inputs[part].detach().flatten(1)
            labels = points.new_ones(len(points)) if targets is None else targets[part]
            objective = Objective(module, name, labels.to(points.device).long(), inputs.shape[1:], loss)
            # Of the output itself rather than of a loss: a saturated loss has no direction left.
            _, _, gradient = objective.differentiate(points)
            gradients[part] = (gradient if targets is None else -gradient).view_as(inputs[part])
    return gradients
