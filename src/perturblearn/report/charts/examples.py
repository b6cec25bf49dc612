"""Sources, perturbations and perturbed inputs as a matplotlib figure; pages draw the same `Examples` with sliders."""

from __future__ import annotations

from matplotlib import RcParams, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from perturblearn.report.charts.to_matplotlib import LETTER, OwnFigure, colour_of, evenly_wrapped, plain, points_of
from perturblearn.results import Examples


def figure_of(examples: Examples, title: str, settings: RcParams) -> OwnFigure:
    """Sources, perturbations scaled to be seen, and perturbed inputs, with true and target labels.

    Args:
        examples: what to draw.
        title: of the whole.
        settings: of a style; these are in force. ``figure.figsize`` sets the width, and the height follows; where it
            is too narrow for the labels of all examples, fewer are drawn.
    """
    steps = examples.perturbations
    rows = [("source", examples.sources), ("perturbation,\nscaled", steps), ("perturbed\ninput", examples.inputs)]
    if examples.originals is not None:
        rows = [("original", examples.originals), *rows[:-1], ("rebuilt\ninput", examples.inputs)]
    size = float(steps.abs().max())
    if size == 0:  # sources as they are, under labels that are not theirs
        rows = [("input", examples.inputs)]
    labels = [_labels(examples, number) for number in range(len(steps))]
    count, width = len(steps), 1.25 * len(steps) + 0.9
    if "figure.figsize" in settings:
        width = settings["figure.figsize"][0]
        letters = max(len(line) for label in labels for line in label.split("\n"))
        label_width = 0.1 + LETTER * points_of("legend.fontsize") * letters
        count = min(count, max(1, int((width - 0.9) / label_width)))
    shown = [number * len(steps) // count for number in range(count)]  # far apart: neighbours have the same target
    own_width = 1.25 * count + 0.9
    # Images are square, and rows of them lie close together.
    layout = "constrained" if examples.image_shape is None else "compressed"
    figure = OwnFigure(settings, figsize=(width, 0.9 + 1.3 * len(rows) * width / own_width), layout=layout)
    grid = figure.subplots(len(rows), count, squeeze=False)
    for row, (label, tensors) in enumerate(rows):
        for column, number in enumerate(shown):
            axes: Axes = grid[row][column]
            sample = tensors[number]
            signed = tensors is steps
            limits = (-size, size) if signed else examples.limits
            if examples.image_shape is None:
                draw_vector(axes, sample.flatten(), limits, signed=signed, numbered=column == 0)
            else:
                draw_image(axes, sample.reshape(examples.image_shape), limits, signed=signed)
            if column == 0:
                axes.set_ylabel(label, rotation=0, ha="right", va="center")
            if row == 0:
                axes.set_title(plain(labels[number]), fontsize=points_of("legend.fontsize"))
    figure.suptitle(plain("\n".join(evenly_wrapped(title, 0.9 * width, points_of("figure.titlesize")))))
    return figure


def draw_image(axes: Axes, image: Tensor, limits: tuple[float, float], *, signed: bool) -> None:
    """An image (channels, height, width) between limits; signed: blue below the middle, orange above."""
    low, high = limits
    if image.shape[0] != 3:  # of other numbers of channels the first one
        ends = [colour_of(name) for name in ("f", "paper", "g")]  # blue takes away, orange adds, as on pages
        colours = LinearSegmentedColormap.from_list("signed", ends) if signed else "gray"
        axes.imshow(image[0].numpy(), cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    else:
        scaled = ((image - low) / ((high - low) or 1.0)).clamp(0, 1)
        axes.imshow(scaled.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def draw_vector(axes: Axes, vector: Tensor, limits: tuple[float, float], *, signed: bool, numbered: bool) -> None:
    """A sample that is no image, (d,), as a line between limits."""
    low, high = limits
    margin = 0.05 * ((high - low) or 1.0)
    axes.plot(vector.numpy(), color=colour_of("g" if signed else "f"), linewidth=rcParams["lines.linewidth"] / 2)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xticks([])
    axes.tick_params(labelsize="x-small", labelleft=numbered)


def _labels(examples: Examples, number: int) -> str:
    target = examples.target_labels[number]
    if examples.true_labels is None:
        return f"noise\ntarget {target}"
    return f"true {examples.true_labels[number]}\ntarget {target}"
