"""Charts and examples as matplotlib figures, which look the same whatever settings of matplotlib are in force.

Matplotlib is imported here, when something is drawn: it reads settings of the user's, which may keep it from loading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perturblearn.report.charts.description import Picture
from perturblearn.report.charts.theory import map_charts, plane_names
from perturblearn.results import Examples, ShownFeatures, Style, own_settings, settings_of
from perturblearn.theory import DecisionMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(picture: Picture, style: Style | None = None) -> Figure:
    """A picture as a figure.

    Args:
        picture: its charts, title and caption.
        style: what it looks like where that is not ours, see `Style`.

    Raises:
        ConfigError: the style cannot be used.
    """
    settings = settings_of(style)
    with own_settings(settings):
        from perturblearn.report.charts.to_matplotlib import figure_of

        return figure_of(picture, settings)


def draw_examples(examples: Examples, title: str, style: Style | None = None) -> Figure:
    """Sources, perturbations scaled to be seen, and perturbed inputs, with true and target labels.

    Args:
        examples: what to draw.
        title: of the whole.
        style: as for `draw`.

    Raises:
        ConfigError: the style cannot be used.
    """
    settings = settings_of(style)
    with own_settings(settings):
        from perturblearn.report.charts.examples import figure_of

        return figure_of(examples, title, settings)


def draw_features(features: ShownFeatures, title: str, style: Style | None = None) -> Figure:
    """Features as pictures, with what f, the perturbations and g have of each.

    Args:
        features: what to draw.
        title: of the whole.
        style: as for `draw`.

    Raises:
        ConfigError: the style cannot be used.
    """
    settings = settings_of(style)
    with own_settings(settings):
        from perturblearn.report.charts.features import figure_of

        return figure_of(features, title, settings)


def draw_map_of(drawn: DecisionMap, *, has_bias: bool, title: str, style: Style | None = None) -> Figure:
    """`draw_decision_map` with the axes and lines of a run's map; see `plane_names`."""
    return draw_decision_map(drawn, title=title, style=style, **plane_names(has_bias=has_bias))


def draw_decision_map(
    drawn: DecisionMap,
    *,
    title: str = "",
    axes_names: tuple[str, str] = ("a", "b"),
    line_names: tuple[str, str] = ("f̂ = 0", "ĝ = 0"),
    style: Style | None = None,
) -> Figure:
    """`map_charts` as a matplotlib figure.

    Args:
        drawn: a map with the values ``f`` and ``g``, and possibly ``fhat`` and ``ghat``.
        title: above the panels.
        axes_names: of the two coordinates.
        line_names: of the dashed and of the dotted line, for the legend.
        style: as for `draw`.

    Raises:
        ConfigError: the style cannot be used.
    """
    charts = map_charts(drawn, axes_names=axes_names, line_names=line_names)
    # The first two panels share a note.
    notes = dict.fromkeys(chart.note for chart in charts)
    return draw(Picture(charts, title, " ".join(notes)), style)
