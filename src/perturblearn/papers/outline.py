"""What a figure is, for a list of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perturblearn.papers.figure import Figure, Scale
from perturblearn.papers.published import published


@dataclass(frozen=True)
class Outline:
    """A figure in a few values.

    Args:
        name, caption, draws: as in `Figure`.
        panels: how many.
        points: by scale, how many in all ways.
        published: whether published values are known.
        smaller: what is smaller at the scale ``quick``, in one line.
        full_takes: how long the scale ``full`` takes for one seed, in words.
    """

    name: str
    caption: str
    draws: str
    panels: int
    points: Mapping[Scale, int]
    published: bool
    smaller: str
    full_takes: str

    @classmethod
    def of(cls, figure: Figure) -> Outline:
        """The outline of a figure."""
        known = published(figure.name)
        return cls(
            name=figure.name,
            caption=figure.caption,
            draws=figure.draws,
            panels=len(figure.panels),
            points={
                scale: len(figure.ways) * sum(len(panel.points) for panel in figure.at(scale).panels)
                for scale in figure.scales
            },
            published=known is not None and known.is_given,
            smaller=figure.at("quick").smaller,
            full_takes=figure.full_takes,
        )
