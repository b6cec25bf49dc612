"""What there is to read and see of a figure made again, and of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perturblearn.papers import Analysis
from perturblearn.report.words import (
    html_lines,
    html_table,
    latex_table,
    listed,
    markdown_table,
    plural,
    size_text,
    with_spread,
)
from perturblearn.results import (
    AGREES,
    CHANGED,
    COLUMNS,
    DIFFERS,
    INSIDE,
    NOT_RUN,
    OUTSIDE,
    READING_ERROR,
    SMALLER,
    UNREADABLE,
    PointRow,
    Reproduction,
    Style,
    curve_of,
)
from perturblearn.results.points import DEVIATIONS, TOLERANCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULE = (
    f"A point is inside if it lies within {TOLERANCE:g} of our mean or, with 2 seeds or more, within {DEVIATIONS} "
    "standard deviations of it. The quantile is the share of our seeds that lie below it."
)
SEED_RULE = (
    "At the published seed the experiment starts from the data, weights and targets that the paper's script drew. "
    f"Published values were read off the figure, so a point within {READING_ERROR:g} agrees."
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
        at_seed = "the published seed" if any(panel.seed is not None for panel in found.panels) else ""
        seeds = plural(len(found.seeds), "seed") if found.seeds else ""
        return f"{found.name}, {scale}{changed}; {' and '.join(filter(None, (at_seed, seeds)))}{size_text(found.size)}"

    @property
    def lines(self) -> list[str]:
        """A line for each panel, and where several curves are compared, for each of these; of a study its sentences."""
        found = self.found
        if found.analysis is not None:
            return list(found.analysis.sentences)
        return [
            line
            for panel in found.panels
            for rows in ([row for row in found.rows if row.panel == panel.number],)
            for line in describe_panel(f"panel {panel.number} ({panel.name})", panel.seed, rows)
        ]

    @property
    def summary(self) -> list[str]:
        """What stands beneath the panels' lines: the rule, the controls, and what failed."""
        found = self.found
        lines = [SEED_RULE] if found.readable_at_seed else []
        lines += [RULE] if found.readable else []
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
    def latex(self) -> str:
        """The table in LaTeX and, of a study, those of its analysis."""
        tables = [latex_table(self.title, *self._table, left=(1, 2))]
        for table in () if self.found.analysis is None else self.found.analysis.tables:
            rows = [[_derived(cell) for cell in row] for row in table.rows]
            tables.append(latex_table(f"{self.found.name}: {table.caption.rstrip('.')}", table.heads, rows))
        return "\n".join(tables)

    @property
    def analysis_markdown(self) -> str:
        """The sentences and tables of a study in Markdown."""
        assert self.found.analysis is not None, "a study has an analysis"
        return analysis_markdown(self.found.analysis)

    def plot(self, style: Style | None = None) -> Figure:
        """Our means and spreads with the published points on top."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.figure import figure_picture

        return draw(figure_picture(self.found, self.title), style)

    def plot_analysis(self, style: Style | None = None) -> Figure:
        """The charts of a study side by side."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.figure import study_picture

        assert self.found.analysis is not None, "a study has an analysis"
        return draw(study_picture(self.found.analysis.charts, title=self.title), style)

    @property
    def _table(self) -> tuple[Sequence[str], list[list[str]]]:
        heads = columns_with_values(self.found)
        return heads, [[_cell(getattr(row, name)) for name in heads] for row in self.found.rows]


def compared_with_published(found: Reproduction) -> str:
    """How many published points were met, at the published seed and by our own; empty where none is judged."""
    told = [
        f"{sum(met)} of {plural(len(met), 'readable published point')} {where}."
        for met, where in (
            (
                [row.seed_verdict == AGREES for row in found.readable_at_seed],
                f"within {READING_ERROR:g} at the published seed",
            ),
            ([row.verdict == INSIDE for row in found.readable], "inside our spread"),
        )
        if met
    ]
    return " ".join(told)


def columns_with_values(found: Reproduction) -> list[str]:
    """The columns of a figure's table in which there is anything."""
    return [name for name in COLUMNS[1:] if any(getattr(row, name) not in (None, "") for row in found.rows)]


def describe_panel(what: str, seed: int | None, rows: Sequence[PointRow]) -> Iterator[str]:
    """A panel's agreement with the paper: a line for the published seed, and one for each curve of our own seeds.

    Args:
        what: the panel.
        seed: the published seed, where it was run.
        rows: the panel's rows.
    """
    if seed is not None:
        compared = [row for row in rows if row.seed_verdict in (AGREES, DIFFERS)]
        yield f"{what}, published seed {seed}: {_at_seed(compared)}"
    if all(row.verdict == NOT_RUN for row in rows):
        return
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


def _at_seed(rows: Sequence[PointRow]) -> str:
    if not rows:
        return "no published values to compare with"
    agrees = sum(row.seed_verdict == AGREES for row in rows)
    worst = max(rows, key=lambda row: abs(row.seed_difference or 0.0))
    return (
        f"{agrees} of {len(rows)} readable points within {READING_ERROR:g}; largest difference "
        f"{worst.seed_difference:+.3f} in {worst.measure} at {worst.x}"
    )


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
