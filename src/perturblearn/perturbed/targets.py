"""The labels that perturbed inputs are moved towards and trained with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perturblearn.errors import DataError


def draw_targets(
    rule: str,
    count: int,
    label_values: Sequence[int],
    *,
    seed: int,
    labels: Tensor | None = None,
    given: Tensor | None = None,
) -> Tensor:
    """Target labels y' by one of the rules of the papers.

    Args:
        rule: ``uniform`` over all classes, ``other`` (uniform over the classes other than the label's), ``next``
            ((y + 1) mod K, which is -y for two classes), ``given``, ``true`` (y itself), or ``original`` (the same, of
            inputs that are rebuilt from others).
        count: how many.
        label_values: the label of each class: [1, -1], or 0 .. K-1.
        seed: fixes the draws.
        labels: true labels y, (count,), which ``other``, ``next``, ``true`` and ``original`` need.
        given: the labels to use by the rule ``given``: (count,), or another number to draw from with replacement.

    Returns:
        (count,) int64.

    Raises:
        DataError: the rule needs labels or targets that are missing.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = len(label_values)
    values = torch.tensor(label_values)
    if rule == "uniform":
        return values[torch.randint(classes, (count,), generator=generator)]
    if rule == "given":
        if given is None:
            raise DataError(
                "attack.targets is 'given', but the data contain no targets; add an array named targets to the npz "
                "file, pass targets= in Python, or choose another rule"
            )
        return given if len(given) == count else given[torch.randint(len(given), (count,), generator=generator)]
    if labels is None:
        raise DataError(f"attack.targets = {rule!r} needs true labels, which the sources do not have; choose uniform")
    if rule in ("original", "true"):
        return labels.cpu()
    index = (labels.cpu()[:, None] == values).int().argmax(dim=1)
    if rule == "next":
        return values[(index + 1) % classes]
    assert rule == "other", rule
    return values[(index + torch.randint(1, classes, (count,), generator=generator)) % classes]
