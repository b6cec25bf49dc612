"""Training on outputs of another network instead of labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

SOFT_LOSSES = ("cross_entropy", "squared")


@dataclass(frozen=True)
class SoftLoss:
    """How far a network's outputs are from those that it is to have.

    Args:
        name: ``cross_entropy`` of the softmax of both at the temperature (Hinton et al., "Distilling the Knowledge in a
            Neural Network", 2015; without their factor T^2), or ``squared``, the mean squared difference.
        temperature: T above 0, by which both are divided before the softmax.
    """

    name: str = "cross_entropy"
    temperature: float = 1.0

    def __call__(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Loss of each sample, (n,).

        Args:
            outputs: (n,) for two classes, whose sigmoid is a probability, or (n, q).
            wanted: the same of the other network.
        """
        if self.name == "squared":
            return (outputs - wanted).square().reshape(len(outputs), -1).mean(dim=1)
        given, target = outputs / self.temperature, wanted / self.temperature
        if outputs.ndim == 1:  # -p log sigmoid(s) - (1 - p) log sigmoid(-s)
            return softplus(-given) + (1 - target.sigmoid()) * given
        return cross_entropy(given, target.softmax(dim=1), reduction="none")
