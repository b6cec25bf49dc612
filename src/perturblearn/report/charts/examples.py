"""Sources, perturbations and perturbed inputs as a matplotlib figure; pages draw the same `Examples` with sliders."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor

from perturblearn.report.charts.to_matplotlib import OwnFigure, colour_of, plain
from perturblearn.results import Examples


def figure_of(examples: Examples, title: str) -> OwnFigure:
    """Sources, perturbations scaled to be seen, and perturbed inputs, with true and target labels.

    Args:
        examples: what to draw.
        title: of the whole.
    """
    steps = examples.perturbations
    rows = (("source", examples.sources), ("perturbation,\nscaled", steps), ("perturbed\ninput", examples.inputs))
    size = float(steps.abs().max()) or 1.0
    count = len(steps)
    figure = OwnFigure(figsize=(1.25 * count + 0.9, 5.0), layout="constrained")
    grid = figure.subplots(len(rows), count, squeeze=False)
    for row, (label, tensors) in enumerate(rows):
        for column, sample in enumerate(tensors):
            axes: Axes = grid[row][column]
            signed = row == 1
            limits = (-size, size) if signed else examples.limits
            if examples.image_shape is None:
                _draw_vector(axes, sample.flatten(), limits, signed, numbered=column == 0)
            else:
                _draw_image(axes, sample.reshape(examples.image_shape), limits, signed)
            if column == 0:
                axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
            if row == 0:
                axes.set_title(plain(_labels(examples, column)), fontsize=8)
    figure.suptitle(plain(title), fontsize=9, wrap=True)
    return figure


def _draw_image(axes: Axes, image: Tensor, limits: tuple[float, float], signed: bool) -> None:
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


def _draw_vector(axes: Axes, vector: Tensor, limits: tuple[float, float], signed: bool, *, numbered: bool) -> None:
    low, high = limits
    margin = 0.05 * ((high - low) or 1.0)
    axes.plot(vector.numpy(), color=colour_of("g" if signed else "f"), linewidth=0.7)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xticks([])
    axes.tick_params(labelsize=6, labelleft=numbered)


def _labels(examples: Examples, column: int) -> str:
    target = examples.target_labels[column]
    if examples.true_labels is None:
        return f"noise\ntarget {target}"
    return f"true {examples.true_labels[column]}\ntarget {target}"
