"""Learners of scikit-learn in the place of a network's body."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from perturblearn.config import (
    EstimatorConfig,
    GradientBoostingConfig,
    LogisticRegressionConfig,
    NearestNeighboursConfig,
)

_LEAST = 1e-12
"""Probability of a class that a learner excludes: its logarithm stays finite."""


class Estimator(nn.Module):
    """A learner of scikit-learn, kept as what it is fitted to.

    A fitted learner could only be stored by pickling it, and nothing is unpickled here. Fitting is deterministic, so
    that the samples are as good: a learner that was read back is fitted again when it is first asked.

    Args:
        config: which learner.
        n_classes: K.
    """

    samples: Tensor
    labels: Tensor

    def __init__(self, config: EstimatorConfig, n_classes: int) -> None:
        super().__init__()
        self._config, self._n_classes = config, n_classes
        self._fitted: Any = None
        self.make_room(0, 0)

    def make_room(self, count: int, input_dim: int) -> None:
        """Make room for samples to fit to, which are still to be filled in.

        Args:
            count: how many.
            input_dim: numbers of each.
        """
        self.register_buffer("samples", torch.zeros(count, input_dim))
        self.register_buffer("labels", torch.zeros(count, dtype=torch.int64))
        self._fitted = None

    def fit(self, samples: Tensor, classes: Tensor) -> None:
        """Learn.

        Args:
            samples: (n, ...), as the body of a network receives them.
            classes: 0 .. K-1, (n,).
        """
        self.samples = samples.detach().flatten(1).clone()
        self.labels = classes.clone()
        self._fitted = None

    def forward(self, values: Tensor) -> Tensor:
        """Logarithms of the classes' probabilities, (n, K); all equal as long as nothing was learned."""
        if len(self.samples) == 0:
            return values.new_zeros(len(values), self._n_classes)
        if self._fitted is None:
            self._fitted = _learner(self._config, len(self.samples))
            self._fitted.fit(self.samples.numpy(force=True), self.labels.numpy(force=True))
        found = self._fitted.predict_proba(values.detach().flatten(1).numpy(force=True))
        probabilities = np.full((len(values), self._n_classes), _LEAST)
        probabilities[:, self._fitted.classes_] = np.maximum(found, _LEAST)
        return torch.from_numpy(np.log(probabilities)).to(values)


def _learner(config: EstimatorConfig, count: int) -> Any:
    # Imported here: it takes as long as a small experiment.
    match config:
        case NearestNeighboursConfig():
            from sklearn.neighbors import KNeighborsClassifier

            return KNeighborsClassifier(min(config.neighbours, count))
        case LogisticRegressionConfig():
            from sklearn.linear_model import LogisticRegression

            return LogisticRegression(C=1 / config.penalty, max_iter=1000)
        case GradientBoostingConfig():
            from sklearn.ensemble import HistGradientBoostingClassifier

            options: dict[str, Any] = {"early_stopping": False}  # a bool, whatever its type says
            return HistGradientBoostingClassifier(max_iter=config.trees, random_state=0, **options)
        case _:
            raise AssertionError(f"{config.name} has no learner")
