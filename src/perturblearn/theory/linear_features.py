"""Linear features of data, and which of them are robustly useful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from perturblearn.data import Components


@dataclass(frozen=True, eq=False)
class LinearFeatures:
    r"""The principal components of clean inputs as features [Goh19].

    :math:`f_a(x) = \langle a, x - \mu \rangle / \sigma_a` for a component a of standard deviation :math:`\sigma_a`: of
    mean 0 and variance 1 on the inputs that it was found with.

    [Goh19] Goh, "A Discussion of 'Adversarial Examples Are Not Bugs, They Are Features': Robust Feature Leakage",
    Distill 2019.

    Args:
        components: of clean inputs.
    """

    components: Components

    def __call__(self, inputs: Tensor) -> Float[Tensor, "n k"]:
        """Features of inputs (n, ...), float64."""
        own = self.components
        return (
            (inputs.flatten(1).double() - own.mean.to(inputs.device))
            @ own.directions.T.to(inputs.device)
            / (own.deviations.to(inputs.device))
        )

    def usefulness(
        self, inputs: Tensor, labels: Int[Tensor, " n"], label_values: Sequence[int]
    ) -> Float[Tensor, "c k"]:
        """E[y f_a] of each feature for each class against the rest, y = +1 in the class and -1 outside.

        Args:
            inputs: clean, (n, ...).
            labels: theirs.
            label_values: of the classes; for two classes one row says all.
        """
        features = self(inputs)
        values = label_values[:1] if len(label_values) == 2 else label_values
        signs = torch.stack([2.0 * (labels == value) - 1 for value in values]).to(features)
        return signs @ features / len(features)

    def robust(self, usefulness: Float[Tensor, "c k"], epsilon: float) -> Bool[Tensor, "c k"]:
        r"""Which features are still useful when every input moves by epsilon in L2 against them.

        A move along a changes :math:`f_a` by :math:`\epsilon / \sigma_a` at most, so those with
        :math:`|E[y f_a]| > \epsilon / \sigma_a`.

        Args:
            usefulness: of every feature for every class.
            epsilon: length of the moves, 0 or more.
        """
        return usefulness.abs() > epsilon / self.components.deviations.to(usefulness.device)
