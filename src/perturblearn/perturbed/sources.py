"""What is perturbed: training inputs, noise, or nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from perturblearn.data import Dataset
from perturblearn.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Sources:
    """Sources u_n, and the points at which the attack looks at the classifier.

    Args:
        inputs: u, (n, ...): what the perturbation is added to; 0 for the source ``none``.
        points: where perturbations are computed, (n, ...): the sources, or the data inputs for ``none``.
        labels: true labels of the data inputs behind the sources, (n,); None for noise, which has none.
        index: position of each source in its part of the data, (n,); for noise, the number of the draw.
    """

    inputs: Tensor
    points: Tensor
    labels: Tensor | None
    index: Tensor


def draw_sources(source: str, data: Dataset, *, heldout: bool, count: int | None, seed: int) -> Sources:
    """The sources of a perturbed set.

    Args:
        source: ``natural``, ``none``, ``uniform`` (over the data's value range) or ``gauss`` (N(0, 1)).
        data: the data set.
        heldout: use the held-out part instead of the training part.
        count: how many: noise is drawn so often, of the part's samples so many are taken, evenly spaced; None for as
            many as the part has samples.
        seed: fixes the noise, which is drawn in float32 on the CPU.

    Raises:
        ConfigError: uniform noise over data without bounds.
    """
    inputs = data.heldout_inputs if heldout else data.inputs
    labels = data.heldout_labels if heldout else data.labels
    if source in ("natural", "none"):
        index = torch.arange(len(inputs))
        if count is not None and count < len(inputs):
            index = torch.linspace(0, len(inputs) - 1, count).round().long()
            chosen = index.to(inputs.device)
            inputs, labels = inputs[chosen], labels[chosen]
        # One zero that looks like as many as there are inputs.
        nothing = inputs.new_zeros(()).expand_as(inputs)
        return Sources(inputs if source == "natural" else nothing, inputs, labels, index)
    shape = (len(inputs) if count is None else count, *inputs.shape[1:])
    generator = torch.Generator().manual_seed(seed)
    if source == "gauss":
        noise = torch.randn(shape, generator=generator, dtype=torch.float32)
    else:
        low, high = data.value_range
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ConfigError(
                "attack.source = 'uniform' draws over the data's value range, but these data have none; choose gauss"
            )
        noise = torch.rand(shape, generator=generator, dtype=torch.float32) * (high - low) + low
    noise = noise.to(inputs)
    return Sources(noise, noise, None, torch.arange(len(noise)))
