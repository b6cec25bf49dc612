"""The learning rate over a training by minibatches."""

from __future__ import annotations

import math

from perturblearn.training.plateau import Plateau

SCHEDULES = ("plateau", "constant", "one_cycle", "cosine", "linear")
"""The schedules by their names."""
RISING_SHARE = 0.3
START_DIVISOR = 25.0
END_DIVISOR = 1e4


class Schedule:
    """Learning rates, by the epochs' losses (``plateau``), by the steps (all others) or ``constant``.

    ``cosine`` falls from lr to 0. ``linear`` rises from 0 to lr over the warm-up, then falls to 0, both in a line.
    ``one_cycle`` is PyTorch's ``OneCycleLR`` with its defaults: a rise from lr / 25 to lr over the first 30 % of the
    steps, then a fall to lr / 250,000, both along half a cosine [Smith19].

    Args:
        name: one of `SCHEDULES`.
        lr: the rate to start with; the largest of ``one_cycle`` and ``linear``.
        steps: of the whole training.
        warmup: steps of them in which the rate of ``linear`` rises.

    [Smith19] Smith and Topin, Super-convergence: very fast training of neural networks using large learning rates.
    """

    def __init__(self, name: str, lr: float, steps: int, warmup: int = 0) -> None:
        self._name = name
        self._steps = steps
        self._warmup = warmup
        self._plateau = Plateau(lr)

    @property
    def lr(self) -> float:
        """The rate that was given, or that the plateau rule left of it."""
        return self._plateau.lr

    def update(self, loss: float) -> None:
        """Take note of an epoch's mean loss at its end."""
        if self._name == "plateau":
            self._plateau.update(loss)

    def rate(self, step: int) -> float:
        """The rate of a step, the first of which is 0."""
        if self._name == "cosine":
            return _along_cosine(self.lr, 0.0, step / self._steps)
        if self._name == "one_cycle":
            return self._one_cycle(step)
        if self._name == "linear":
            if step < self._warmup:
                return self.lr * step / self._warmup
            return self.lr * (self._steps - step) / (self._steps - self._warmup)
        return self.lr

    def _one_cycle(self, step: int) -> float:
        start = self.lr / START_DIVISOR
        top, end = RISING_SHARE * self._steps - 1, self._steps - 1
        if step <= top:
            return _along_cosine(start, self.lr, step / top)
        return _along_cosine(self.lr, start / END_DIVISOR, (step - top) / (end - top))


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
