"""What an attack returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class AttackResult:
    """Perturbed inputs, each with the network's outputs there in the network's own precision.

    Args:
        inputs: x', shaped as the sources; of an attack that searches within the bound and the range exactly, not up to
            rounding.
        outputs: f(x'), (n,), or logits (n, K).
        losses: the target loss at x', (n,).
        success: whether the predicted label is the target, (n,) bool.
        sizes: norm of x' - u in the attack's norm, (n,); in l0 the number of changed coordinates. u is the source,
            clipped into the range if rounding had left it outside.
        coefficients, basis: C (n, q) and Q (q, d) with orthonormal rows, if the inputs, flattened, are C Q by
            construction; else None.
    """

    inputs: Tensor
    outputs: Tensor
    losses: Tensor
    success: Tensor
    sizes: Tensor
    coefficients: Tensor | None = None
    basis: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @classmethod
    def joined(cls, parts: Sequence[AttackResult], sources: Tensor) -> AttackResult:
        """The parts, results of successive blocks, as one; without any, the result of attacking no sources."""
        if not parts:
            none = sources.new_empty(0)
            return cls(sources.clone(), none, none, none.bool(), none)
        columns = ("inputs", "outputs", "losses", "success", "sizes")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in columns))

    def to(self, device: torch.device | str) -> AttackResult:
        """The same result on another device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in values.items() if value is not None})
