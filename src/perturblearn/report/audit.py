"""What there is to read and see of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perturblearn.experiment import BEATEN_SHARE, HELDOUT
from perturblearn.report.attribution import attribution_remarks
from perturblearn.report.conclusion import FEW_DRAWS, near_chance, weak_standard
from perturblearn.report.why import WHY_HEADS, WHY_LEGEND, WHY_TITLE, why_lines, why_sentences
from perturblearn.report.words import (
    TARGETS,
    attack_text,
    data_text,
    framed,
    html_answer,
    html_lines,
    html_table,
    interval_text,
    latex_table,
    listed,
    mean_text,
    network_text,
    percent,
    percent_range,
    percent_with_spread,
    plural,
    seen_text,
    size_text,
    source_text,
    with_spread,
)
from perturblearn.results import Audit, Result, Style, size_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADS = (
    "learner",
    "norm",
    "epsilon",
    "success",
    "f",
    "g",
    "95 %",
    "unperturbed",
    "permuted",
    "linear",
    "beats controls",
)
"""Of the table."""
LINEAR_SHARE = 0.5
"""Where a linear classifier of g's perturbed set stays below this share of g's gain over chance, in every seed, most of
what g has learned is beyond linear leakage. Half, because the sentence says "most"; every seed, because the mean over a
few can be the doing of one."""
_HARDLY_SUCCEEDS = 0.1
"""Below this share of targets reached, f's outputs have hardly moved, so its perturbations can tell little."""
_NAMED = 3
"""Attacks that a warning names at most."""


@dataclass(frozen=True)
class AuditReport:
    """Sentences, tables and pictures of an audit.

    Args:
        audit: what it has measured.
    """

    audit: Audit

    @property
    def title(self) -> str:
        """What was audited, in one line."""
        audit, first = self.audit, self.audit.cells[0]
        attacks = " and ".join(dict.fromkeys(cell.config.attack.name for cell in audit.cells))
        return (
            f"{audit.name}: perturbations of {audit.short_names[audit.model]}, {data_text(first.config)}, "
            f"{attacks}, {source_text(first.config.attack)}, targets {first.config.attack.targets}, "
            f"{plural(len(first.seeds), 'seed')}{size_text(first.size)}"
        )

    @property
    def verdict(self) -> str:
        """Whether perturbations teach the classes, the numbers that say so, and what a linear classifier reaches.

        They are those of the combination with the largest margin of g's mean accuracy over the larger of its controls'
        means, on held-out inputs; of those that beat their controls, if any does.
        """
        best = self._best
        if not best.controls:
            answer = "Without controls, this audit cannot tell whether this model's perturbations teach its classes."
        elif not best.has_learned:
            answer = "No, this audit does not show that this model's perturbations teach its classes."
        elif min(_draws([best])) < FEW_DRAWS:
            answer = "Probably, this model's perturbations teach its classes."
        else:
            answer = "Yes, this model's perturbations teach its classes."
        return f"{answer} {self._reached(best)} {_linear(best)}"

    @property
    def details(self) -> list[str]:
        """What holds for all combinations."""
        cells = self.audit.cells
        learned = [cell for cell in cells if cell.has_learned]
        found: list[str] = []
        if self._best.controls:
            beaten = f"g beats its controls and chance in {len(learned)} of {plural(len(cells), 'combination')}"
            found.append(f"{beaten}: more than {100 * BEATEN_SHARE:.0f} % of the draws of each.")
        probed = [cell for cell in learned if HELDOUT.linear_probe in cell.summary]
        if probed:
            shares = percent_range([_linear_gain(cell) for cell in probed])
            more = sum(map(_is_more_than_linear, probed))
            found.append(
                f"A linear classifier reaches {shares} % of g's gain over chance there; it is less than half in every "
                f"seed in {more} of {plural(len(probed), 'combination')}."
            )
        short = self.audit.short_names
        for cell in cells:
            where = f"{short[cell.learner]}, {attack_text(cell.config.attack)}"
            found += [f"{where}: {remark}" for remark in attribution_remarks(cell)]
        return found

    @property
    def warnings(self) -> list[str]:
        """What makes the numbers weaker than they look."""
        cells = self.audit.cells
        found = (_weak_model(cells), _one_seed(cells), _few_draws(cells), _weak_attacks(cells))
        return [warning for warning in found if warning is not None]

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The table's lines under `HEADS`."""
        short = self.audit.short_names
        return [_line(cell, short[cell.learner]) for cell in self.audit.cells]

    @property
    def legend(self) -> list[str]:
        """What the table's columns mean."""
        return [
            "success: targets reached on f; the other numbers: accuracy on clean held-out inputs, where chance is "
            f"{self.audit.cells[0].chance:.3f}",
            "g: mean ± standard deviation over the seeds; 95 %: Wilson's interval, for sampling the held-out inputs",
            "linear: a linear classifier of g's perturbed set; beats controls: g beats "
            f"{100 * BEATEN_SHARE:.0f} % of the draws of each, and chance",
        ]

    @property
    def why_lines(self) -> list[tuple[str, ...]]:
        """The routes' table under `WHY_HEADS`."""
        return why_lines(self.audit.routes, self.audit.short_names)

    @property
    def why(self) -> list[str]:
        """A verdict for every route, or why it could not be run."""
        return list(why_sentences(self.audit.routes, self.audit.short_names))

    @property
    def text(self) -> str:
        """The table, the verdict, and what qualifies it."""
        table = framed(self.title, [HEADS, *self.lines])
        found = (*table, *self.legend, "", self.verdict, *listed([*self.details, *self.warnings]))
        if not self.audit.routes:
            return "\n".join(found)
        why = framed(WHY_TITLE, [WHY_HEADS, *self.why_lines], left=(0, 1, 2, 6))
        return "\n".join((*found, "", *why, WHY_LEGEND, "", *listed(self.why)))

    @property
    def html(self) -> str:
        """The same for a notebook."""
        table = html_lines([self.title]) + html_table(HEADS, self.lines) + html_lines(self.legend)
        found = table + html_answer(self.verdict) + html_lines([*self.details, *self.warnings])
        if not self.audit.routes:
            return found
        why = html_lines([WHY_TITLE]) + html_table(WHY_HEADS, self.why_lines)
        return found + why + html_lines([WHY_LEGEND, *self.why])

    @property
    def latex(self) -> str:
        """The table in LaTeX."""
        return latex_table(f"{self.title}. {'; '.join(self.legend)}", HEADS, self.lines, left=(0, 1))

    def plot(self, style: Style | None = None) -> Figure:
        """Accuracy of g over epsilon, a panel per norm and a line per learner."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.grid import audit_picture

        return draw(audit_picture(self.audit, self.title), style)

    def plot_why(self, style: Style | None = None) -> Figure:
        """Accuracy of every route beside its control."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.grid import why_picture

        return draw(why_picture(self.audit, self.title), style)

    @property
    def _best(self) -> Result:
        cells = self.audit.cells
        return max([cell for cell in cells if cell.has_learned] or cells, key=_margin)

    def _reached(self, best: Result) -> str:
        """What g reaches in a cell, and everything that it has to be compared with."""
        attack = best.config.attack
        network = network_text(self.audit.short_names[best.learner])
        where = attack_text(attack)
        if len(self.audit.cells) > 1:
            where += f"; the best of {len(self.audit.cells)} combinations"
        n_heldout = sum(best.seeds[0].classes.n_heldout)
        reached = percent_with_spread(best.summary[HELDOUT.perturbation])
        compared = [
            f"f {percent(best.summary[HELDOUT.standard]['mean'])} %",
            f"chance {percent(best.chance)} %",
            *(f"{name} control {percent(values['mean'])} %" for name, values in best.controls.items()),
        ]
        return (
            f"{network[0].upper()}{network[1:]} trained only on {_training_set(best)} ({where}) classifies {reached} "
            f"of clean held-out inputs correctly ({plural(len(best.seeds), 'seed')}, {plural(n_heldout, 'input')}); "
            f"{', '.join(compared)}."
        )


def _training_set(cell: Result) -> str:
    attack = cell.config.attack
    what = "perturbations" if attack.is_bare else f"{seen_text(attack)} perturbed"
    return f"{what} towards {TARGETS[attack.targets].classes}"


def _linear(best: Result) -> str:
    if HELDOUT.linear_probe not in best.summary:
        return "What a linear classifier of the same set reaches was not measured; set controls.linear_probe = true."
    reached = percent(best.summary[HELDOUT.linear_probe]["mean"])
    start = f"A linear classifier trained on the same set reaches {reached} %"
    if not best.has_learned:
        return f"{start}."
    if _is_more_than_linear(best):
        return f"{start}: most of the effect is more than one linear pattern per class."
    return f"{start}: most of the effect may be one linear pattern per class."


def _margin(cell: Result) -> float:
    rivals = [values["mean"] for values in cell.controls.values()]
    return cell.summary[HELDOUT.perturbation]["mean"] - max(rivals, default=cell.chance)


def _linear_gain(cell: Result) -> float:
    """The linear classifier's gain over chance, as a share of g's; 0 where it has none."""
    gain = cell.summary[HELDOUT.linear_probe]["mean"] - cell.chance
    return max(0.0, gain) / (cell.summary[HELDOUT.perturbation]["mean"] - cell.chance)


def _is_more_than_linear(cell: Result) -> bool:
    g, linear = (cell.summary[name]["values"] for name in (HELDOUT.perturbation, HELDOUT.linear_probe))
    return all(
        max(0.0, low - cell.chance) < LINEAR_SHARE * (high - cell.chance) for high, low in zip(g, linear, strict=True)
    )


def _weak_model(cells: Sequence[Result]) -> str | None:
    # All cells have the same f.
    accuracy, chance = cells[0].summary[HELDOUT.standard]["mean"], cells[0].chance
    weak = weak_standard(cells[0])
    if weak is not None:
        return f"{weak}."
    if accuracy >= near_chance(chance):
        return None
    return (
        f"f itself is near chance on held-out inputs ({percent(accuracy)} %, chance {percent(chance)} %), so its "
        "perturbations have little to teach; audit a network that has learned its task."
    )


def _one_seed(cells: Sequence[Result]) -> str | None:
    if min(len(cell.seeds) for cell in cells) > 1:
        return None
    return "One seed shows no spread, and the best of many combinations can be lucky; run --seeds 3 or more."


def _draws(cells: Sequence[Result]) -> list[int]:
    """Over all seeds, of each control of each cell."""
    return [len(values["values"]) for cell in cells for values in cell.controls.values()]


def _few_draws(cells: Sequence[Result]) -> str | None:
    draws = _draws(cells)
    if not draws or min(draws) >= FEW_DRAWS:
        return None
    return (
        f"A control has {plural(min(draws), 'draw')} over all seeds, too few to show how far chance reaches; raise "
        "controls.draws if time allows."
    )


def _weak_attacks(cells: Sequence[Result]) -> str | None:
    reached = {attack_text(cell.config.attack): cell.summary["attack_success"]["mean"] for cell in cells}
    weak = {name: share for name, share in reached.items() if share is not None and share < _HARDLY_SUCCEEDS}
    if not weak:
        return None
    named = "; ".join(f"{name}: {percent(share)} %" for name, share in list(weak.items())[:_NAMED])
    more = f" and {len(weak) - _NAMED} more" if len(weak) > _NAMED else ""
    return (
        f"{plural(len(weak), 'attack')} of {len(reached)} hardly reach{'es' * (len(weak) == 1)} the targets on f "
        f"({named}{more}); perturbations that do not move f teach little, so raise epsilon there."
    )


def _line(cell: Result, learner: str) -> tuple[str, ...]:
    """A line of the printed table."""
    attack, summary, controls = cell.config.attack, cell.summary, cell.controls
    return (
        learner,
        attack.norm,
        size_of(attack)[1],
        mean_text(summary["attack_success"]),
        mean_text(summary[HELDOUT.standard]),
        with_spread(summary[HELDOUT.perturbation]),
        interval_text(summary[HELDOUT.perturbation], digits=2),
        mean_text(controls.get("unperturbed")),
        mean_text(controls.get("permuted")),
        mean_text(summary.get(HELDOUT.linear_probe)),
        {True: "yes", False: "no", None: "-"}[cell.has_learned],
    )
