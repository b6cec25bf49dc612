"""What a classifier's outputs say, for two classes and for more."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, softplus


def predicted_labels(outputs: Tensor) -> Tensor:
    """The labels that outputs stand for.

    Args:
        outputs: f(x), (n,), of a classifier of two classes, or logits (n, K) of more.

    Returns:
        (n,) int64: the sign, +1 or -1, and 0 for an output of exactly 0 (or NaN), which is neither; or the position of
        the largest logit, 0 .. K-1, the first of equals.
    """
    if outputs.ndim == 1:
        return (outputs > 0).long() - (outputs < 0).long()
    return outputs.argmax(dim=1)


def is_target(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether the predicted labels are the targets, (n,) bool; an output of exactly 0 is neither +1 nor -1."""
    return predicted_labels(outputs) == targets


def label_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of the labels, per sample.

    Args:
        outputs: f(x), (n,), with labels +1 and -1: log(1 + exp(-y f(x))); or logits (n, K) with labels 0 .. K-1: the
            cross-entropy.
        labels: (n,) int64.

    Returns:
        (n,), in the outputs' precision.
    """
    if outputs.ndim == 1:
        return softplus(-labels * outputs)
    return cross_entropy(outputs, labels, reduction="none")
