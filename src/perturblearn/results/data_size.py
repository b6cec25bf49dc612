"""How much data a result was measured on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from perturblearn.data import Outline

SIZE_COLUMNS = ("n_samples", "input_dim", "n_heldout")
"""The fields of a `DataSize`, as tables call them."""


@dataclass(frozen=True)
class DataSize:
    """The size of a data set, the same for every seed.

    Args:
        n_samples: clean samples that f is trained on, N.
        input_dim: coordinates of an input, d.
        n_heldout: held-out inputs.
    """

    n_samples: int
    input_dim: int
    n_heldout: int

    @classmethod
    def of(cls, outline: Outline) -> DataSize:
        """The size that an outline tells."""
        return cls(outline.n_samples, outline.signature.input_dim, outline.n_heldout)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None) -> DataSize | None:
        """What `to_dict` gave; None for a result that does not know it."""
        return None if content is None else cls(**content)

    def to_dict(self) -> dict[str, int]:
        """The size as JSON values, and as columns of a table."""
        return asdict(self)


def only_size(sizes: Iterable[tuple[Any, ...]]) -> DataSize | None:
    """The size that all of these are; None where they differ, or one is not known.

    Args:
        sizes: values of `SIZE_COLUMNS`.
    """
    different = set(sizes)
    only: tuple[Any, ...] = different.pop() if len(different) == 1 else (None,)
    return None if None in only else DataSize(*only)
