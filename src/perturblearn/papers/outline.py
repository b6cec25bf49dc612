"""What a figure is, for a list of all."""

from __future__ import annotations

from typing import Any

from perturblearn.papers.figure import Figure
from perturblearn.papers.published import published


def outline_of(figure: Figure) -> dict[str, Any]:
    """A figure in JSON values: name, caption, panels, points by scale, whether published values are known, time."""
    known = published(figure.name)
    points = {scale: sum(len(panel.points) for panel in figure.at(scale).panels) for scale in figure.scales}
    return {
        "name": figure.name,
        "caption": figure.caption,
        "draws": figure.draws,
        "panels": len(figure.panels),
        "points": {scale: count * len(figure.ways) for scale, count in points.items()},
        "published": known is not None and known.is_given,
        "smaller": figure.at("quick").smaller,
        "full_takes": figure.full_takes,
    }
