"""What there is to read and see of a figure made again, and of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perturblearn.papers import Analysis
from perturblearn.report.words import html_lines, html_table, listed, markdown_table, plural, with_spread
from perturblearn.results import (
    CHANGED,
    COLUMNS,
    INSIDE,
    OUTSIDE,
    SMALLER,
    UNREADABLE,
    PointRow,
    Reproduction,
    curve_of,
)
from perturblearn.results.points import DEVIATIONS, TOLERANCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULE = (
    f"A point is inside if it lies within {TOLERANCE:g} of our mean or, with 2 seeds or more, within {DEVIATIONS} "
    "standard deviations of it."
)
SHOWN_ERRORS = 5
"""Failed runs whose sentence is printed; the files hold all."""
_PROBLEMS = {SMALLER: "a smaller problem than the paper's", CHANGED: "a problem other than the paper's"}


@dataclass(frozen=True)
class ReproductionReport:
    """Sentences, tables and pictures of a figure made again.

    Args:
        found: what came of it.
    """

    found: Reproduction

    @property
    def title(self) -> str:
        """The figure's name, its scale, and how many seeds, in one line."""
        found = self.found
        scale = f"{found.scale}: {found.smaller}" if found.smaller else found.scale
        changed = "".join(f", {name} = {value}" for name, value in found.changed.items())
        return f"{found.name}, {scale}{changed}; {plural(len(found.seeds), 'seed')}"

    @property
    def lines(self) -> list[str]:
        """A line for each panel, and where several curves are compared, for each of these; of a study its sentences."""
        found = self.found
        if found.analysis is not None:
            return list(found.analysis.sentences)
        return [
            line
            for panel in found.panels
            for line in describe_panel(
                f"panel {panel.number} ({panel.name})", [row for row in found.rows if row.panel == panel.number]
            )
        ]

    @property
    def summary(self) -> list[str]:
        """What stands beneath the panels' lines: the rule, the controls, and what failed."""
        found = self.found
        lines = [RULE] if found.readable else []
        lines += self.controls
        if found.failed:
            runs = plural(len(found.failed), "run")
            lines.append(f"{runs} failed; run the same command with --retry to repeat them:")
            lines += [
                f"  panel {run.panel}, {run.x}, {f'{run.way}, ' if run.way else ''}seed {run.seed}: {run.error}"
                for run in found.failed[:SHOWN_ERRORS]
            ]
        return lines

    @property
    def controls(self) -> list[str]:
        """The default setting with its controls, a line for each way of computing it."""
        return [
            f"Default setting{f' ({control.way})' if control.way else ''}: "
            + ", ".join(f"{name} {with_spread(values)}" for name, values in control.measures.items())
            + "."
            for control in self.found.controls
        ]

    @property
    def text(self) -> str:
        """Title, panels and what stands beneath them."""
        return "\n".join((self.title, self.found.caption, "", *self.lines, "", *self.summary)).rstrip()

    @property
    def html(self) -> str:
        """The same for a notebook, with the table."""
        heads, rows = self._table
        return html_lines([self.title, self.found.caption, *self.lines, *self.summary]) + html_table(heads, rows)

    @property
    def markdown(self) -> str:
        """The table in Markdown, under its title and the lines of the panels."""
        told = "\n".join(listed([line.strip() for line in (*self.lines, *self.summary)]))
        return f"# {self.title}\n\n{self.found.caption}\n\n{told}\n\n{markdown_table(*self._table)}\n"

    @property
    def analysis_markdown(self) -> str:
        """The sentences and tables of a study in Markdown."""
        assert self.found.analysis is not None, "a study has an analysis"
        return analysis_markdown(self.found.analysis)

    def plot(self) -> Figure:
        """Our means and spreads with the published points on top."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.figure import figure_picture

        return draw(figure_picture(self.found, self.title))

    def plot_analysis(self) -> Figure:
        """The charts of a study side by side."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.figure import study_picture

        assert self.found.analysis is not None, "a study has an analysis"
        return draw(study_picture(self.found.analysis.charts, title=self.title))

    @property
    def _table(self) -> tuple[Sequence[str], list[list[str]]]:
        heads = COLUMNS[1:]
        return heads, [[_cell(getattr(row, name)) for name in heads] for row in self.found.rows]


def describe_panel(what: str, rows: Sequence[PointRow]) -> Iterator[str]:
    """A panel's agreement with the paper in one line, or one for each of its curves.

    Args:
        what: the panel.
        rows: its rows.
    """
    for curve in dict.fromkeys(curve_of(row.measure)[1] for row in rows):
        of_curve = [row for row in rows if curve_of(row.measure)[1] == curve]
        name = f"{what}, {curve}" if curve else what
        readable = [row for row in of_curve if row.verdict in (INSIDE, OUTSIDE)]
        if not readable:
            other = next((row.verdict for row in of_curve if row.verdict in (SMALLER, CHANGED)), None)
            unreadable = any(row.verdict == UNREADABLE for row in of_curve)
            yield f"{name}: " + (
                f"{_PROBLEMS[other]}, so not judged"
                if other
                else "no published point can be read"
                if unreadable
                else "no published values"
            )
            continue
        inside = sum(row.verdict == INSIDE for row in readable)
        worst = max(readable, key=lambda row: abs(row.difference or 0.0))
        share = f"{inside} of {len(readable)} readable points inside"
        yield f"{name}: {share}; largest difference {worst.difference:+.3f} in {worst.measure} at {worst.x}"


def analysis_markdown(analysis: Analysis) -> str:
    """The sentences and tables of a study in Markdown."""
    parts = ["\n".join(listed(analysis.sentences))]
    for table in analysis.tables:
        rows = [[_derived(cell) for cell in row] for row in table.rows]
        parts.append(f"**{table.name}.** {table.caption}\n\n{markdown_table(table.heads, rows)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) >= 0.01 else f"{value:.3g}"


def _derived(value: str | float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
