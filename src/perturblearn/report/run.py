"""What there is to read and see of a run."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perturblearn.experiment import (
    COMPARISONS,
    FEATURE_NUMBERS,
    HELDOUT,
    MEASURES,
    NETWORK_COMPARISONS,
    TRAINING,
    AccuracyNames,
    ClassMeasures,
    ControlSummary,
    GroupMeasures,
    Summaries,
    Summary,
    controls_of,
)
from perturblearn.report.attribution import attribution_lines
from perturblearn.report.conclusion import ask, conclude, remarks, told_part
from perturblearn.report.words import aligned, framed, html_lines, html_table, interval_text, latex_table, listed, title
from perturblearn.results import Examples, Result, ShownFeatures, Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADS = ("measure", "mean", "std", "median", "n", "95 % interval", "measured on")
"""Of the table; the interval is Wilson's, for sampling the held-out inputs."""
MOST_CLASSES = 20
"""Classes, or groups, up to which there is a line for each; the result's dictionary holds all."""
_MEASURED_ON = {**COMPARISONS, **NETWORK_COMPARISONS, **FEATURE_NUMBERS}


@dataclass(frozen=True)
class RunReport:
    """Sentences, tables and pictures of a run.

    Args:
        result: what it has measured.
    """

    result: Result

    @property
    def question(self) -> str:
        """What the run asks, in one sentence."""
        return ask(self.result.config, self.result.seeds[0].classes.names)

    @property
    def conclusion(self) -> str:
        """What the numbers mean, in two sentences."""
        return conclude(self.result)

    @property
    def told_part(self) -> AccuracyNames:
        """The inputs whose accuracies the conclusion tells of: held-out ones, or f's clean samples."""
        return told_part(self.result)

    @property
    def remarks(self) -> list[str]:
        """What a careful reader should know besides: controls off chance, one seed only, a perturbation of 0."""
        return list(remarks(self.result))

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The table's rows under `HEADS`, in the order of the experiment; a maximum over a grid of one is left out."""
        summary = self.result.summary
        controls = {
            part.controls[name]: values
            for part in (TRAINING, HELDOUT)
            for name, values in controls_of(summary, part).items()
        }
        return [
            _row(name, summary[name], controls.get(name))
            for name in {**MEASURES, **_MEASURED_ON}
            if name in summary and not (name.endswith("_max") and _is_of_one_rate(summary, name))
        ]

    @property
    def class_lines(self) -> list[tuple[str, ...]]:
        """Heads, and a line per class in means over the seeds; nothing for two classes and for very many."""
        classes = [seed.classes for seed in self.result.seeds]
        return class_lines(classes) if 2 < len(classes[0].names) <= MOST_CLASSES else []

    @property
    def group_lines(self) -> list[tuple[str, ...]]:
        """Heads, and a line per group in means over the seeds; nothing for no groups and for very many."""
        groups = [seed.groups for seed in self.result.seeds if seed.groups is not None]
        return group_lines(groups) if groups and len(groups[0].names) <= MOST_CLASSES else []

    @property
    def attribution_lines(self) -> list[tuple[str, ...]]:
        """Heads, and what taught g each class; nothing if that was not asked for, and for very many classes."""
        measured = [seed.attribution for seed in self.result.seeds if seed.attribution is not None]
        return attribution_lines(measured) if measured and len(measured[0].names) <= MOST_CLASSES else []

    @property
    def _short_rows(self) -> list[tuple[str, ...]]:
        """The rows without attribution and features, which remarks tell of in words; the page has all."""
        return [row for row in self.rows if not row[0].startswith(("attribution_", "features_"))]

    @property
    def text(self) -> str:
        """Tables, conclusion and remarks."""
        rows = [HEADS, *self._short_rows]
        lines = framed(title(self.result.config, self.result.size), rows, left=(0, len(HEADS) - 1))
        for more in (self.class_lines, self.group_lines):
            lines += ["", *aligned(more)] if more else []
        return "\n".join((*lines, "", self.conclusion, *listed(self.remarks)))

    @property
    def html(self) -> str:
        """The same for a notebook."""
        name = html.escape(self.result.config.name)
        answer = f"<p><b>{name}</b>: {html.escape(self.conclusion)}</p>"
        return answer + html_table(HEADS, self._short_rows) + html_lines(self.remarks)

    @property
    def latex(self) -> str:
        """The table in LaTeX."""
        left = (0, len(HEADS) - 1)
        return latex_table(title(self.result.config, self.result.size), HEADS, self.rows, left=left)

    def plot(self, style: Style | None = None) -> Figure:
        """Accuracy of f and g, their agreement and every draw of the controls, seed by seed."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.run import run_picture

        return draw(run_picture(self.result), style)

    def plot_confusion(self, style: Style | None = None) -> Figure:
        """What g takes each class for on the held-out inputs, mean over the seeds."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.run import confusion_picture

        return draw(confusion_picture(self.result), style)

    def plot_examples(self, examples: Examples, style: Style | None = None) -> Figure:
        """What perturbed inputs look like.

        Args:
            examples: what to draw.
            style: as for `Result.plot`.
        """
        from perturblearn.report.charts import draw_examples

        return draw_examples(examples, title(self.result.config, self.result.size), style)

    def plot_features(self, features: ShownFeatures, name: str, style: Style | None = None) -> Figure:
        """Features as pictures, with what f, the perturbations and g have of each.

        Args:
            features: what to draw.
            name: what they are called.
            style: as for `Result.plot`.
        """
        from perturblearn.report.charts import draw_features

        return draw_features(features, f"{name}; {title(self.result.config, self.result.size)}", style)


def _is_of_one_rate(summary: Summaries, name: str) -> bool:
    """Whether a maximum over the learning rates is the measure itself."""
    return summary[name]["values"] == summary[name.removesuffix("_max")]["values"]


def class_lines(classes: Sequence[ClassMeasures]) -> list[tuple[str, ...]]:
    """Heads, and a line per class in means over the seeds: count, accuracies, agreement, attack success, what g says.

    Args:
        classes: per seed.
    """
    names = classes[0].names
    lines: list[tuple[str, ...]] = [("class (held-out)", "n", "f", "g", "agreement", "success", "g says")]
    for row, (name, start) in enumerate(zip(names, _group_cells(classes), strict=True)):
        success = _mean(of_seed.attack_success[row] for of_seed in classes)
        counts = [sum(of_seed.confusion[row][column] for of_seed in classes) for column in range(len(names))]
        total = sum(of_seed.n_heldout[row] for of_seed in classes)
        often = max(range(len(names)), key=counts.__getitem__)
        says = f"{names[often]} ({100 * counts[often] / total:.0f} %)" if total else "-"
        lines.append((name, *start, _short(success), says))
    return lines


def group_lines(groups: Sequence[GroupMeasures]) -> list[tuple[str, ...]]:
    """Heads, and a line per group, in means over the seeds: how many, accuracies and agreement.

    Args:
        groups: per seed.
    """
    heads = ("group (held-out)", "n", "f", "g", "agreement")
    return [heads, *((name, *cells) for name, cells in zip(groups[0].names, _group_cells(groups), strict=True))]


def _group_cells(groups: Sequence[GroupMeasures]) -> list[tuple[str, ...]]:
    """How many, accuracies and agreement of each group."""
    columns = (
        [of_seed.standard_accuracy for of_seed in groups],
        [of_seed.perturbation_accuracy for of_seed in groups],
        [of_seed.agreement for of_seed in groups],
    )
    return [
        (str(count), *(_short(_mean(of_seed[row] for of_seed in column)) for column in columns))
        for row, count in enumerate(groups[0].n_heldout)
    ]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _row(name: str, values: Summary, control: ControlSummary | None) -> tuple[str, ...]:
    """A measure, its numbers, and what it was measured on; for a control with the share of its draws that g beats."""
    measured_on = MEASURES[name].measured_on if name in MEASURES else _MEASURED_ON[name]
    if control is not None:
        measured_on += f"; g beats {100 * control['beaten']:.0f} % of draws"
        if control["at_chance"] is False:
            measured_on += "; mean NOT at chance"
    known = sum(value is not None for value in values["values"])
    numbers = (values["mean"], values["std"], values["median"])
    return (
        name,
        *("-" if number is None else f"{number:.4f}" for number in numbers),
        str(known),
        interval_text(values),
        measured_on,
    )
