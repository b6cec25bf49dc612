"""Figures of a run: its measures with the controls, and what the perturbed inputs look like."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from perturblearn.config import ExperimentConfig
from perturblearn.experiment import ClassMeasures, Summaries
from perturblearn.report.words import title
from perturblearn.results import Examples

# Okabe and Ito's palette, which the colour-blind can tell apart.
_BLUE, _VERMILION, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
_SHOWN = {
    "standard_accuracy_heldout": ("f\naccuracy", _BLUE),
    "perturbation_accuracy_heldout": ("g\naccuracy", _VERMILION),
    "agreement": ("f and g\nagreement", _GREEN),
    "linear_probe_heldout": ("linear\nprobe", _GREY),
    "unperturbed_control_heldout": ("unperturbed\ncontrol", _GREY),
    "permuted_control_heldout": ("permuted\ncontrol", _GREY),
}


def plot_result(summary: Summaries, config: ExperimentConfig, *, chance: float) -> Figure:
    """Held-out accuracy of f and g, their agreement, and the controls: a dot per seed or draw, a bar at the mean."""
    shown = [(label, colour, summary[name]) for name, (label, colour) in _SHOWN.items() if name in summary]
    figure = Figure(figsize=(1.6 + 1.15 * len(shown), 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(chance, color="black", linewidth=0.8, linestyle=":")
    for position, (_, colour, values) in enumerate(shown):
        dots = values["values"]
        # Spread evenly over a narrow band, so that equal values stay visible.
        across = [position + 0.5 * ((index + 0.5) / len(dots) - 0.5) for index in range(len(dots))]
        axes.plot(across, dots, "o", color=colour, markersize=4, alpha=0.6, markeredgewidth=0)
        axes.plot([position - 0.32, position + 0.32], [values["mean"]] * 2, color=colour, linewidth=2)
    axes.set_xticks(range(len(shown)), [label for label, _, _ in shown])
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("share of held-out inputs")
    axes.set_title(title(config), fontsize=8, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_confusion(classes: Sequence[ClassMeasures], config: ExperimentConfig) -> Figure:
    """What g takes each class for: shares of the held-out inputs of a true class (rows), mean over the seeds.

    Args:
        classes: per seed.
        config: what the title says.
    """
    names = classes[0].names
    counts = torch.tensor([of_seed.confusion for of_seed in classes], dtype=torch.float64)
    present = torch.tensor([of_seed.n_heldout for of_seed in classes], dtype=torch.float64)
    shares = (counts / present.clamp_min(1)[:, :, None]).mean(dim=0)
    side = min(12.0, 2.2 + 0.42 * len(names))
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 20:
        for row, of_row in enumerate(shares.tolist()):
            for column, share in enumerate(of_row):
                colour = "white" if share > 0.6 else "black"
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("label that g gives")
    axes.set_ylabel("true class")
    axes.set_title(f"{title(config)}\nheld-out inputs, % of each true class", fontsize=8, wrap=True)
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


def draw_examples(examples: Examples, config: ExperimentConfig) -> Figure:
    """Sources, perturbations scaled to be seen, and perturbed inputs, with true and target labels.

    Args:
        examples: what to draw.
        config: what the title says.
    """
    steps = examples.perturbations
    rows = (
        ("source", examples.sources),
        ("perturbation,\nscaled", steps),
        ("perturbed\ninput", examples.inputs),
    )
    size = float(steps.abs().max()) or 1.0
    count = len(steps)
    figure = Figure(figsize=(1.25 * count + 0.9, 5.0), layout="constrained")
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
                axes.set_title(_labels(examples, column), fontsize=8)
    figure.suptitle(title(config), fontsize=9, wrap=True)
    return figure


def _draw_image(axes: Axes, image: Tensor, limits: tuple[float, float], signed: bool) -> None:
    low, high = limits
    if image.shape[0] != 3:  # of other numbers of channels the first one
        axes.imshow(image[0].numpy(), cmap="RdBu_r" if signed else "gray", vmin=low, vmax=high, interpolation="nearest")
    else:
        scaled = ((image - low) / ((high - low) or 1.0)).clamp(0, 1)
        axes.imshow(scaled.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_vector(axes: Axes, vector: Tensor, limits: tuple[float, float], signed: bool, *, numbered: bool) -> None:
    low, high = limits
    margin = 0.05 * ((high - low) or 1.0)
    axes.plot(vector.numpy(), color=_VERMILION if signed else _BLUE, linewidth=0.7)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xticks([])
    axes.tick_params(labelsize=6, labelleft=numbered)


def _labels(examples: Examples, column: int) -> str:
    target = examples.target_labels[column]
    if examples.true_labels is None:
        return f"noise\ntarget {target}"
    return f"true {examples.true_labels[column]}\ntarget {target}"
