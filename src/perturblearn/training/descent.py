"""Full-batch gradient descent: what it is asked to do, for one network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Shaped
from torch import Tensor

from perturblearn.classifiers import Classifier, TwoLayer
from perturblearn.training.form import Form

Report = Callable[[int, int, str], None]


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

    def train(
        self,
        network: TwoLayer,
        inputs: Float[Tensor, "n ..."],
        labels: Shaped[Tensor, "n"],
        *,
        factors: tuple[Tensor, Tensor] | None = None,
        form: Form | None = None,
        bfloat16: bool = False,
        report: Report | None = None,
    ) -> Classifier[TwoLayer]:
        """Train one network; see `train_side_by_side`.

        Raises:
            DivergenceError: a loss, a weight or a bias is no longer finite.
        """
        # Imported here: many descents at once, of which this is one, need to know what a descent is.
        from perturblearn.training.full_batch import train_side_by_side

        job = Job(network, labels, self)
        ((_, outcome),) = train_side_by_side(
            [job], inputs, factors=factors, form=form, bfloat16=bfloat16, report=report
        )
        return outcome.after(self.epochs)


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
