"""What the papers' figures show, as numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Published:
    """Values read off a published figure.

    Args:
        uncertainty: how far a value may be off, either way.
        sweeps: of every panel, the values of its varied settings.
        values: of every panel by measure, one for each of its points, None where it cannot be read; or None for a panel
            of which nothing was given.
    """

    uncertainty: float
    sweeps: Sequence[Mapping[str, Sequence[Any]]]
    values: Sequence[Mapping[str, Sequence[float | None]] | None]

    @property
    def is_given(self) -> bool:
        """Whether there are values of any panel."""
        return any(values is not None for values in self.values)

    def series(self, panel: int, measure: str) -> Sequence[float | None] | None:
        """A panel's values of one measure; None if they were not given.

        Args:
            panel: its number, counted from 1.
            measure: the published name.
        """
        return (self.values[panel - 1] or {}).get(measure)


def published(figure: str) -> Published | None:
    """What was published of a figure's curves; None for pictures and studies.

    Args:
        figure: its name, such as ``neurips2024/shifted_gauss_a``.
    """
    content = _read()["figures"].get(figure)
    if content is None:
        return None
    panels = content["panels"]
    sweeps, values = ([panel[part] for panel in panels] for part in ("sweep", "values"))
    return Published(content["uncertainty"], sweeps, values)


@cache
def _read() -> dict[str, Any]:
    return json.loads((files("perturblearn.papers") / "published.json").read_text(encoding="utf-8"))
