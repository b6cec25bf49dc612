"""An artefact: JSON values and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Artefact:
    """The stored result of a stage.

    Args:
        content: JSON values. Writing refuses numbers that are not finite.
        tensors: named tensors of any shape and type.
    """

    content: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
