"""What there is to read and see of theory beside experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perturblearn.experiment import COMPARISONS, Number, Summary
from perturblearn.report.words import framed, html_lines, html_table, latex_table, title
from perturblearn.results import Style, TheoryComparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROLES = (("standard", "f"), ("perturbation", "g"))
HEADS = ("theory beside experiment", "mean", "std", "n", "what is compared")
_LAZY = 0.1
"""Below this kernel drift and distance from the linearisation a network counts as lazy."""


@dataclass(frozen=True)
class TheoryReport:
    """Sentences, tables and pictures of a comparison.

    Args:
        comparison: of a run with what both papers predict of it.
    """

    comparison: TheoryComparison

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The table's rows under `HEADS`."""
        return [_cells(name, values) for name, values in self.comparison.summary.items()]

    @property
    def conclusion(self) -> str:
        """How well the predictions hold, in sentences."""
        summary = self.comparison.summary

        def mean(name: str) -> Number:
            return summary[name]["mean"] if name in summary else None

        cosine, chance = mean("cosine_similarity"), mean("cosine_similarity_random")
        sentences = [
            f"Perturbations follow the predicted directions tₙ with a cosine of {cosine:.2f} in size "
            f"(random directions: {chance:.2f})."
        ]
        sentences.append(
            f"The prediction f̂ has the sign of f on {_percent(mean('standard_sign_agreement'))} of the held-out "
            f"inputs, "
            f"ĝ that of g on {_percent(mean('perturbation_sign_agreement'))}."
        )
        full = mean("perturbation_sign_agreement_full")
        if full is not None:
            sentences.append(f"With the terms that the paper leaves out of ĝ it is {_percent(full)}.")
        timed = {name: mean(f"{role}_sign_agreement_time") for role, name in _ROLES}
        if all(share is not None for share in timed.values()):
            shares = " and ".join(f"{name} on {_percent(share)}" for name, share in timed.items())
            sentences.append(f"Lazy training for the networks' own time, from their own start, agrees with {shares}.")
        for role, name in _ROLES:
            drift, distance = mean(f"{role}_kernel_drift"), mean(f"{role}_linearisation_distance")
            if drift is not None and distance is not None:
                regime = "lazy" if max(drift, distance) < _LAZY else "not lazy"
                sentences.append(
                    f"{name} is {regime}: its kernel moved by {_percent(drift)}, and it ended {_percent(distance)} of "
                    "its way from its linearisation."
                )
        factor = mean("training_orthogonality_factor")
        if factor is not None:
            holds = "holds" if factor < 1 else f"is missed by a factor of {factor:.1e}"
            sentences.append(f"The condition of nearly orthogonal training samples {holds}.")
        return " ".join(sentences)

    @property
    def text(self) -> str:
        """Table, conclusion and notes."""
        table = framed(
            title(self.comparison.config, self.comparison.size), [HEADS, *self.rows], left=(0, len(HEADS) - 1)
        )
        return "\n".join((*table, "", self.conclusion, *self.comparison.notes))

    @property
    def html(self) -> str:
        """The same for a notebook."""
        return html_table(HEADS, self.rows) + html_lines([self.conclusion, *self.comparison.notes])

    @property
    def latex(self) -> str:
        """The table in LaTeX."""
        caption = title(self.comparison.config, self.comparison.size)
        return latex_table(caption, HEADS, self.rows, left=(0, len(HEADS) - 1))

    def plot(self, style: Style | None = None) -> Figure:
        """Three panels for the first seed: f against fhat, g against ghat, and the cosines of its perturbations."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.theory import theory_picture

        return draw(theory_picture(self.comparison), style)

    def plot_map(self, style: Style | None = None) -> Figure:
        """The decision map of the first seed."""
        from perturblearn.report.charts import draw_map_of

        found = self.comparison
        return draw_map_of(found.drawn, has_bias=found.has_bias, title=title(found.config, found.size), style=style)


def _cells(name: str, values: Summary) -> tuple[str, ...]:
    known = sum(value is not None for value in values["values"])
    return (name, _number(values["mean"]), _number(values["std"]), str(known), COMPARISONS[name])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.2e}"
