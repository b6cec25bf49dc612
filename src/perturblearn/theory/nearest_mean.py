"""The classifier that labels an input by the nearest class mean of a training set."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from perturblearn.errors import DataError


def nearest_mean(
    x: Float[Tensor, "n *d"], y: Int[Tensor, "n"], z: Float[Tensor, "m *d"], *, n_classes: int = 2
) -> Float[Tensor, "m *k"]:
    r"""Outputs of the nearest-class-mean classifier of (x, y), a linear function of z [own].

    With the class means :math:`\mu_k`, class k of several has the output :math:`\langle z, \mu_k \rangle -
    \|\mu_k\|^2/2`, which is largest where :math:`\|z - \mu_k\|` is smallest. Two classes have the difference of theirs,
    :math:`\langle z, \mu_+ - \mu_- \rangle - (\|\mu_+\|^2 - \|\mu_-\|^2)/2`.

    Args:
        x: training inputs.
        y: their labels, +1 and -1 for two classes, 0 .. n_classes - 1 for more.
        z: inputs to classify.
        n_classes: 2 or more.

    Returns:
        (m,) for two classes, (m, n_classes) for more, in float64.

    Raises:
        DataError: a class without samples, which has no mean.
    """
    labels = (1, -1) if n_classes == 2 else range(n_classes)
    missing = [str(label) for label in labels if not bool((y == label).any())]
    if missing:
        raise DataError(f"no sample has the label {', '.join(missing)}, so its mean does not exist; add samples of it")
    # float64: the means of many noisy samples differ by little.
    samples, points = x.flatten(1).double(), z.flatten(1).double()
    means = torch.stack([samples[y == label].mean(dim=0) for label in labels])
    outputs = points @ means.T - means.square().sum(dim=1) / 2
    return outputs[:, 0] - outputs[:, 1] if n_classes == 2 else outputs
