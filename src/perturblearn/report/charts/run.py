"""Charts of a run: accuracies with controls, training, classes, learning rates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from perturblearn.experiment import HELDOUT
from perturblearn.report.charts.description import SHARE_LIMITS, Axis, Chart, Level, Picture
from perturblearn.report.charts.marks import Curve, Heat, Strip
from perturblearn.report.charts.palette import CHANCE, OF_MEASURES, Look
from perturblearn.report.conclusion import told_part
from perturblearn.report.words import how_many, plural, title
from perturblearn.results import Result

_MOST_POINTS = 400
"""Of a training curve; more could not be told apart."""


def run_picture(result: Result) -> Picture:
    """A run's accuracies, as a picture of their own."""
    return Picture([accuracies_chart(result)], title(result.config, result.size))


def confusion_picture(result: Result) -> Picture:
    """What g takes each class for, as a picture of its own."""
    return Picture([confusion_chart(result)], title(result.config, result.size))


def accuracies_chart(result: Result) -> Chart:
    """Every seed and every draw of the controls as a dot, with their mean and one standard deviation."""
    summary, part = result.summary, told_part(result)
    # Agreement is always that on held-out inputs.
    shown = [
        (part.standard, "f, accuracy", "standard_accuracy"),
        (part.perturbation, "g, accuracy", "perturbation_accuracy"),
        ("agreement", "f and g agree", "agreement"),
        (part.linear_probe, "linear classifier", "linear_probe"),
        (part.controls["unperturbed"], "unperturbed control", "unperturbed_control"),
        (part.controls["permuted"], "permuted control", "permuted_control"),
    ]
    strips: list[Strip] = []
    for name, label, look in shown:
        if (values := summary.get(name)) is not None:
            dots = [value for value in values["values"] if value is not None]
            strips.append(Strip(label, len(strips), dots, values["mean"], values["std"], OF_MEASURES[look]))
    names = {strip.place: f"{strip.name}\n{percent_text(strip.mean, strip.std)}" for strip in strips}
    where = "clean held-out inputs" if part.is_heldout else "the clean samples of f (agreement: held-out)"
    has_controls = any("control" in strip.name for strip in strips)
    draws = ", or draws of a control" if has_controls else ""
    controls = " Controls are trained like g: on unperturbed inputs, and under permuted labels." if has_controls else ""
    return Chart(
        "Accuracy of f and g, their agreement, and the controls" if has_controls else "Accuracy of f and g",
        Axis(f"share of {where}", limits=SHARE_LIMITS, is_share=True),
        Axis("", ticks=names, limits=(len(strips) - 0.4, -0.6)),
        strips,
        [Level("chance", result.chance, CHANCE, axis="x")],
        note=f"Dots are seeds{draws}; bars are means ± one standard deviation.{controls} {how_many(result)}.",
        size=(5.6, 0.5 + 0.52 * len(strips)),
    )


def losses_chart(curves: Sequence[tuple[int, str, Tensor]]) -> Chart:
    """Mean training loss before each epoch's step.

    Args:
        curves: seed, role (``f`` or ``g``) and losses, (epochs,).
    """
    marks: list[Curve] = []
    for _, role, losses in curves:
        places = _thinned(len(losses))
        line = Look(role, "solid" if role == "f" else "dash")
        marks.append(Curve(role, [place + 1.0 for place in places], losses[places], line))
    note = "Mean training loss of f on clean inputs and of g on what it sees, at the chosen learning rates; "
    note += f"{plural(len({seed for seed, *_ in curves}), 'seed')}."
    return Chart("Training loss of f and g", Axis("epoch"), Axis("mean training loss"), marks, note=note)


def confusion_chart(result: Result) -> Chart:
    """What g takes each class for: shares of the held-out inputs of a true class (rows), mean over the seeds."""
    names = _class_names(result)
    counts, present = _confusion(result)
    shares = (counts / present.clamp_min(1)[:, :, None]).mean(dim=0)
    side = min(9.0, 1.8 + 0.42 * len(names))
    return Chart(
        "What g takes each class for",
        Axis.of_names("label that g gives", names),
        Axis.of_names("true class", names, down=True),
        [Heat(names, names, shares, None, 0.0, "share of each true class", ("of true", "called"))],
        note=f"Clean held-out inputs of each true class, in %, by the label that g gives; means. {how_many(result)}.",
        size=(side + 1.2, side),
    )


def rates_chart(result: Result) -> Chart:
    """Accuracy of g on held-out inputs for every pair of learning rates, mean over the seeds."""
    found = _accuracies_by_rates(result)
    rows, columns = (list(dict.fromkeys(pair[place] for pair in found)) for place in (0, 1))
    means = torch.tensor([[statistics.fmean(found[row, column]) for column in columns] for row in rows])
    of_f, of_g = ([f"{rate:g}" for rate in rates] for rates in (rows, columns))
    label = "accuracy of g on clean held-out inputs"
    return Chart(
        "Accuracy of g by learning rate",
        Axis.of_names("learning rate of g", of_g),
        Axis.of_names("learning rate of f", of_f, down=True),
        [Heat(of_f, of_g, means, None, 0.0, label, ("f", "g"))],
        note="Accuracy of g on clean held-out inputs, in %, for every pair of learning rates; means. "
        f"{how_many(result)}. The rates were chosen without these numbers.",
    )


def percent_text(mean: float | None, std: float | None) -> str:
    """Mean and standard deviation in percent, in one piece."""
    if mean is None:
        return "not measured"
    spread = "" if std is None else f" ± {100 * std:.1f}"
    return f"{100 * mean:.1f}{spread} %".replace(" ", "\u00a0")


def _thinned(count: int) -> list[int]:
    """Places of a curve, half of them evenly, half densely at the start where most happens; first and last are in."""
    if count <= _MOST_POINTS:
        return list(range(count))
    even = torch.linspace(0, count - 1, _MOST_POINTS // 2).round().long()
    dense = torch.logspace(0, math.log10(count), _MOST_POINTS // 2).round().long() - 1
    return torch.cat((even, dense)).clamp(0, count - 1).unique().tolist()


def _class_names(result: Result) -> list[str]:
    return list(result.seeds[0].classes.names)


def _confusion(result: Result) -> tuple[Tensor, Tensor]:
    """Held-out inputs by true class and label that g gives, (seeds, K, K), and by true class, (seeds, K)."""
    classes = [seed.classes for seed in result.seeds]
    counts = torch.tensor([of_seed.confusion for of_seed in classes], dtype=torch.float64)
    present = torch.tensor([of_seed.n_heldout for of_seed in classes], dtype=torch.float64)
    return counts, present


def _accuracies_by_rates(result: Result) -> dict[tuple[float, float], list[float]]:
    """Accuracy of g on held-out inputs, seed by seed, by the learning rates of f and of g."""
    found: dict[tuple[float, float], list[float]] = {}
    for seed in result.seeds:
        for pair in seed.grid:
            found.setdefault((pair.standard_lr, pair.perturbation_lr), []).append(pair.measures[HELDOUT.perturbation])
    return found
