"""What a linear classifier learns from the perturbed set: how much leaks without any deep feature."""

from __future__ import annotations

from inspect import unwrap

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from perturblearn.classifiers import label_loss
from perturblearn.data import Dataset
from perturblearn.experiment.measures import accuracy
from perturblearn.perturbed import PerturbedSet

PENALTY = 1e-4
"""Of the squared weights of standardised inputs, half of it: enough for the optimum to exist."""
ITERATIONS = 200
"""Of L-BFGS at most."""
_LEAST_SIZE = 1e-5
"""Of a direction, over that of the largest, from which on it is more than the rounding of float32."""


def measure_linear_probe(perturbed: PerturbedSet, data: Dataset, *, device: str = "cpu") -> dict[str, float]:
    """Accuracy on clean data of the linear classifier that fits the perturbed set best.

    Args:
        perturbed: inputs and target labels; nothing else is seen.
        data: where it is measured.
        device: where to compute.

    Returns:
        ``linear_probe`` on f's training set and ``linear_probe_heldout``.
    """
    probe = LinearProbe(perturbed.inputs.to(device), perturbed.target_labels.to(device), data.label_values)
    return {
        "linear_probe": accuracy(probe(data.inputs.to(device)), data.labels.to(device)),
        "linear_probe_heldout": accuracy(probe(data.heldout_inputs.to(device)), data.heldout_labels.to(device)),
    }


class _LBFGS(torch.optim.LBFGS):
    # As it is before PyTorch wraps it for its compiler, whose import takes a second.
    add_param_group = unwrap(torch.optim.LBFGS.add_param_group)


class LinearProbe:
    """Multinomial logistic regression on standardised inputs, by L-BFGS on all samples.

    Args:
        inputs: (n, ...).
        labels: (n,), +1 and -1, or 0 .. K-1.
        label_values: the label of each class.
        kept: which coordinates each output may look at, (outputs, d) bool; None for all.
        has_one_scale: bring all coordinates to a scale in common, so that those that hardly vary count little.
    """

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        label_values: list[int],
        *,
        kept: Tensor | None = None,
        has_one_scale: bool = False,
    ) -> None:
        flat = inputs.flatten(1)
        self._mean = flat.mean(dim=0)
        # Coordinates that never change (a corner that is always black) stay as they are.
        deviation = flat.std(dim=0, correction=0)
        if has_one_scale:
            deviation = deviation.square().mean().sqrt().expand_as(deviation)
        self._scale = torch.where(deviation > 1e-6 * deviation.max().clamp_min(1e-30), deviation, 1)
        outputs = 1 if len(label_values) == 2 else len(label_values)
        self._weight = flat.new_zeros(outputs, flat.shape[1]).requires_grad_()
        self._bias = flat.new_zeros(outputs).requires_grad_()
        self._kept = kept
        self._fit((flat - self._mean) / self._scale, labels)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs (n,) for two classes, or logits (n, K)."""
        with torch.no_grad():
            return self._outputs((inputs.flatten(1) - self._mean) / self._scale)

    @property
    def directions(self) -> Float[Tensor, "k d"]:
        """Orthonormal rows that span what it looks at, (k, d) float64; k is at most 1 for two classes, K - 1 for K."""
        weight = self._weight.detach().double() / self._scale
        if len(weight) > 1:  # what moves all logits alike decides nothing
            weight = weight - weight.mean(dim=0)
        _, sizes, rows = torch.linalg.svd(weight, full_matrices=False)
        # Of the centred rows one is a combination of the others, but for the rounding of what has been fitted.
        return rows[: max(1, len(weight) - 1)][sizes[: max(1, len(weight) - 1)] > _LEAST_SIZE * sizes[0]]

    def _outputs(self, standardised: Tensor) -> Tensor:
        weight = self._weight if self._kept is None else self._weight * self._kept
        outputs = linear(standardised, weight, self._bias)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _fit(self, standardised: Tensor, labels: Tensor) -> None:
        optimiser = _LBFGS(
            [self._weight, self._bias],
            max_iter=ITERATIONS,
            tolerance_grad=1e-6,
            tolerance_change=1e-10,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            self._weight.grad = self._bias.grad = None
            loss = label_loss(self._outputs(standardised), labels).mean()
            loss = loss + PENALTY / 2 * self._weight.square().sum()
            loss.backward()
            return loss

        with torch.enable_grad():
            optimiser.step(closure)
