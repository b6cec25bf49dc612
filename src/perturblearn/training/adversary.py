"""The inner problem of adversarial training: inputs moved to where the network errs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from perturblearn.attacks import InnerAttack, target_loss

RANGE_SLACK = 1e-6
"""Share of the range by which rounding may put centred data outside it."""


@dataclass(frozen=True)
class Adversary:
    """What moves inputs before a step of training.

    The inner maximisation of Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018.

    Args:
        attack: how they are moved.
        value_range: least and largest value that a moved input may have; infinite bounds do not clip.
        warmup_epochs: epochs in which epsilon rises from 0, in a line: where it is large, a network that knows nothing
            yet may learn nothing but to give all inputs one output.
    """

    attack: InnerAttack
    value_range: tuple[float, float] = (-math.inf, math.inf)
    warmup_epochs: int = 0

    @classmethod
    def for_inputs(
        cls, attack: InnerAttack, inputs: Tensor, value_range: tuple[float, float], *, warmup_epochs: int = 0
    ) -> Adversary:
        """The adversary that keeps within the data's range, if the training inputs do: bare perturbations do not.

        Args:
            attack: how inputs are moved.
            inputs: all training inputs, (n, ...).
            value_range: of the data.
            warmup_epochs: see the class.
        """
        low, high = value_range
        least, largest = (float(bound) for bound in inputs.aminmax())
        slack = RANGE_SLACK * (high - low) if math.isfinite(high - low) else 0.0
        is_inside = low - slack <= least and largest <= high + slack
        return cls(attack, value_range if is_inside else (-math.inf, math.inf), warmup_epochs)

    def move(
        self,
        outputs: Callable[[Tensor], Tensor],
        inputs: Float[Tensor, "n ..."],
        labels: Int[Tensor, "n"],
        generator: torch.Generator,
        *,
        epochs: float = math.inf,
    ) -> Float[Tensor, "n ..."]:
        """Inputs away from their labels.

        Args:
            outputs: f, whose parameters are constants; one sample's outputs depend on no other sample.
            inputs: (n, ...).
            labels: (n,), +1 and -1 or 0 .. K-1.
            generator: of random starts, on the CPU.
            epochs: of training that are done.
        """
        share = min(1.0, epochs / self.warmup_epochs) if self.warmup_epochs else 1.0

        def gradient(points: Tensor) -> Tensor:
            leaf = points.detach().requires_grad_()
            with torch.enable_grad():
                # The loss that all attacks follow, upwards: of one output its margin, which never saturates. The clone
                # is for networks that work on their inputs in place.
                rises = -target_loss(outputs(leaf.clone().view_as(inputs)), labels).sum()
                (found,) = torch.autograd.grad(rises, leaf)
            return found

        flat = inputs.detach().flatten(1)
        moved = self.attack.last_iterate(gradient, flat, self.value_range, generator, share=share)
        return moved.view_as(inputs)

    def settings(self) -> dict[str, str | float | bool]:
        """What fixes it, as JSON values: the attack, its norm and its numbers."""
        numbers = {key: value for key, value in vars(self.attack).items() if key != "norm"}
        named = {"attack": type(self.attack).__name__, "norm": self.attack.norm.name}
        return {**named, **numbers, "warmup_epochs": self.warmup_epochs}
