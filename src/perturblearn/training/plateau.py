"""The learning-rate rule of both papers: cut it when the loss stops improving."""

from __future__ import annotations

import math

FACTOR = 0.1
PATIENCE = 10
RELATIVE_THRESHOLD = 1e-4
LEAST_CUT = 1e-8


class Plateau:
    """PyTorch's ``ReduceLROnPlateau`` with its defaults [NeurIPS24, appendix; ICLR24, section 5].

    A loss is better if it is below best (1 - 1e-4). For negative losses that is a *higher* bar than best itself, so an
    equal or slightly worse loss then counts as better, as it does in PyTorch. At the 11th epoch in a row that is not
    better the rate is divided by 10 and the count restarts; a cut below 1e-8 is not made.

    Args:
        lr: the rate to start with, above 0.
    """

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self._best = math.inf
        self._bad_epochs = 0

    def update(self, loss: float) -> None:
        """Take note of an epoch's mean loss before its step; ``lr`` then holds for the next epoch."""
        if loss < self._best * (1 - RELATIVE_THRESHOLD):
            self._best = loss
            self._bad_epochs = 0
        else:
            self._bad_epochs += 1
        if self._bad_epochs > PATIENCE:
            cut = self.lr * FACTOR
            if self.lr - cut > LEAST_CUT:
                self.lr = cut
            self._bad_epochs = 0
