"""The meaning of a classifier's outputs, for two classes and for more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

LOGITS = "logits"
_NAMES = (LOGITS, "output", "outputs", "out", "scores")
"""Under which networks that return several values keep their outputs, in the order of preference."""


def unwrapped(returned: Any) -> tuple[Tensor | None, str]:
    """A network's outputs among what it returns.

    Args:
        returned: a tensor; an object with the attribute ``logits``, as of Hugging Face; a mapping with a tensor under
            one of the usual names, or with one tensor alone; a tuple or list that begins with a tensor.

    Returns:
        The outputs, None if there are none; and where they were, empty for a tensor.
    """
    if isinstance(returned, Tensor):
        return returned, ""
    named = getattr(returned, LOGITS, None)
    if isinstance(named, Tensor):
        return named, f"the attribute {LOGITS}"
    if isinstance(returned, Mapping):
        tensors = {str(name): value for name, value in returned.items() if isinstance(value, Tensor)}
        known = [name for name in _NAMES if name in tensors] or (list(tensors) if len(tensors) == 1 else [])
        return (tensors[known[0]], f"the entry {known[0]!r}") if known else (None, "")
    if isinstance(returned, (tuple, list)) and returned and isinstance(returned[0], Tensor):
        return returned[0], "the first entry"
    return None, ""


def outputs_by_class(outputs: Tensor, indices: Sequence[Sequence[int]]) -> Tensor:
    """The outputs of some classes of a network that has others too.

    Those of a class with several are joined by their log-sum-exp: the softmax over the classes is then the network's
    own, given that the input is of one of them.

    Args:
        outputs: logits (n, M).
        indices: which of the M each class is.

    Returns:
        (n, K), in the precision of the outputs.
    """
    columns = [outputs[:, each[0]] if len(each) == 1 else outputs[:, list(each)].logsumexp(dim=1) for each in indices]
    return torch.stack(columns, dim=1)


def predicted_labels(outputs: Tensor) -> Tensor:
    """The predicted labels.

    Args:
        outputs: f(x), (n,), for two classes, or logits (n, K) for more.

    Returns:
        (n,) int64. For two classes the sign, +1 or -1, or 0 (neither class) for an output of exactly 0 or NaN. For more
        classes the index of the largest logit, 0 .. K-1, the first of equals.
    """
    if outputs.ndim == 1:
        return (outputs > 0).long() - (outputs < 0).long()
    return outputs.argmax(dim=1)


def is_target(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether the predicted labels equal the targets, (n,) bool; an output of exactly 0 is neither +1 nor -1."""
    return predicted_labels(outputs) == targets


def label_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of the labels, per sample.

    Args:
        outputs: f(x), (n,), with labels +1 and -1 (loss log(1 + exp(-y f(x)))), or logits (n, K) with labels 0 .. K-1
            (cross-entropy).
        labels: (n,) int64.

    Returns:
        (n,), in the precision of the outputs.
    """
    if outputs.ndim == 1:
        return softplus(-labels * outputs)
    return cross_entropy(outputs, labels, reduction="none")
