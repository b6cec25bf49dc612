"""What the parts of a training have added to a network's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from perturblearn.classifiers import Network, TwoLayer

SOURCE, PERTURBATION, DECAY, STATISTICS = "source", "perturbation", "decay", "statistics"


@dataclass(frozen=True, eq=False)
class PathAttribution:
    """What a training has added to a network's outputs, part by part: final = start + the sum of parts, nearly.

    Args:
        start: outputs before training, (M,) or (M, K) in float64.
        parts: by name: what the sources under their target labels taught, what the perturbations taught, and, where
            there is any, what weight decay and the running statistics of normalising layers have done.
        final: outputs of the trained network.
        network: the trained network.
    """

    start: Float[Tensor, "m *k"]
    parts: Mapping[str, Float[Tensor, "m *k"]]
    final: Float[Tensor, "m *k"]
    network: TwoLayer | Network

    @property
    def error(self) -> float:
        """Completeness error: ||start + sum of parts - final|| / ||final - start||; 0 where nothing has moved."""
        moved = float((self.final - self.start).norm())
        missed = float((self.start + sum(self.parts.values()) - self.final).norm())
        return missed / moved if moved > 0 else 0.0
