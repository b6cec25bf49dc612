"""What an attack found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Found:
    """Perturbed inputs, each with what the network makes of it in its own precision.

    Args:
        inputs: x', shaped as the sources; within the bound and the range exactly, not up to rounding.
        outputs: f(x'), (n,), or logits (n, K).
        losses: the target loss there, (n,).
        success: whether the predicted label is the target, (n,) bool.
        sizes: norm of x' - u in the attack's norm, (n,); in l0 the number of changed coordinates. u is the source,
            clipped into the range where a rounding had left it outside.
    """

    inputs: Tensor
    outputs: Tensor
    losses: Tensor
    success: Tensor
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    @classmethod
    def joined(cls, parts: Sequence[Found], sources: Tensor) -> Found:
        """Blocks of samples, the parts, one after the other; of no parts, what is found from no sources."""
        if not parts:
            none = sources.new_empty(0)
            return cls(sources.clone(), none, none, none.bool(), none)
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))
