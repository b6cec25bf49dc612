"""The meaning of a classifier's outputs, for two classes and for more."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, softplus


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
