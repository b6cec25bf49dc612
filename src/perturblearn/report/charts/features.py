"""Features with what f, the perturbations and g have of each, as a matplotlib figure; pages draw the same ones."""

from __future__ import annotations

from matplotlib import RcParams
from matplotlib.axes import Axes

from perturblearn.report.charts.examples import draw_image, draw_vector
from perturblearn.report.charts.palette import LOOK_OF_PARTY
from perturblearn.report.charts.to_matplotlib import OwnFigure, colour_of, plain, points_of, wrapped
from perturblearn.report.features import FEATURES_NOTE
from perturblearn.results import ShownFeatures


def figure_of(features: ShownFeatures, title: str, settings: RcParams) -> OwnFigure:
    """Each feature as a picture above three bars.

    Args:
        features: what to draw.
        title: of the whole.
        settings: of a style; these are in force. ``figure.figsize`` sets the width, and the height follows.
    """
    count, size = len(features.names), features.size
    width = settings["figure.figsize"][0] if "figure.figsize" in settings else 1.3 * count + 1.2
    small = points_of("legend.fontsize")
    caption = wrapped(FEATURES_NOTE, width, small)
    height = 0.9 + 1.85 * (width - 1.2) / count + 0.021 * small * len(caption)
    figure = OwnFigure(settings, figsize=(width, height), layout="constrained")
    grid = figure.subplots(2, count, squeeze=False, height_ratios=(1, 0.7))
    largest = max((value for values in features.shares.values() for value in values), default=0.0) or 1.0
    for column, name in enumerate(features.names):
        axes: Axes = grid[0][column]
        pattern = features.patterns[column]
        if features.image_shape is None:
            draw_vector(axes, pattern, (-size, size), signed=True, numbered=column == 0)
        else:
            draw_image(axes, pattern.reshape(features.image_shape), (-size, size), signed=True)
        axes.set_title(plain(name.replace(", ", ",\n")), fontsize=small)
        bars: Axes = grid[1][column]
        for place, (party, values) in enumerate(features.shares.items()):
            bars.barh(place, values[column], color=colour_of(LOOK_OF_PARTY[party]), height=0.7)
            bars.text(
                values[column] + 0.03 * largest, place, f"{100 * values[column]:.0f} %", va="center", fontsize=small
            )
        bars.set_yticks(range(len(features.shares)), list(features.shares) if column == 0 else [])
        bars.tick_params(length=0)
        bars.invert_yaxis()
        bars.set_xlim(0, 1.45 * largest)
        bars.set_xticks([])
        bars.spines["bottom"].set_visible(False)
    figure.suptitle(plain("\n".join(wrapped(title, 0.9 * width, points_of("figure.titlesize")))))
    figure.supxlabel("\n".join(caption), fontsize=small)
    return figure
