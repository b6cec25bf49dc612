"""What gradient descent is asked to do, for one network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from perturblearn.classifiers import TwoLayer


@dataclass(frozen=True)
class Descent:
    """Full-batch gradient descent with momentum.

    Args:
        loss: identity, logistic or exponential.
        lr: learning rate, above 0.
        epochs: full-batch steps.
        momentum: heavy ball: v <- momentum v + gradient, w <- w - lr v.
        plateau: whether the plateau rule cuts the learning rate.
    """

    loss: str
    lr: float
    epochs: int
    momentum: float = 0.9
    plateau: bool = True


@dataclass(frozen=True, eq=False)
class Job:
    """One network among those that are trained over the same inputs.

    Args:
        network: as it starts; it is not changed.
        labels: +1 and -1, (N,).
        descent: loss, learning rate, epochs, momentum, plateau rule.
        checkpoints: earlier epochs at which the classifier is wanted as well, each between 1 and ``descent.epochs``.
    """

    network: TwoLayer
    labels: Tensor
    descent: Descent
    checkpoints: tuple[int, ...] = ()

    @property
    def wanted(self) -> tuple[int, ...]:
        """All epochs after which the classifier is wanted, rising."""
        return tuple(sorted({*self.checkpoints, self.descent.epochs}))
