"""What an analysis of a study says, for people: sentences, tables and charts."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from perturblearn.papers import Analysis, Chart, Line, Table

# Okabe and Ito's palette, which the colour-blind can tell apart; black and dashed is what was not measured.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_FEW = 8
"""Places along an axis up to which each is marked."""


def draw_analysis(analysis: Analysis, *, title: str) -> Figure:
    """All charts of an analysis side by side; bands are standard deviations over the seeds.

    Args:
        analysis: with at least one chart.
        title: of the whole figure.
    """
    columns = math.ceil(math.sqrt(len(analysis.charts)))
    rows = -(-len(analysis.charts) // columns)
    figure = Figure(figsize=(4.4 * columns, 0.5 + 3.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, chart in zip(panels, analysis.charts, strict=False):
        _draw(axes, chart)
    for axes in panels[len(analysis.charts) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=9, wrap=True)
    return figure


def analysis_markdown(analysis: Analysis) -> str:
    """Sentences and tables as Markdown."""
    parts = ["\n".join(f"- {sentence}" for sentence in analysis.sentences)]
    for table in analysis.tables:
        rule = "|".join("---" for _ in table.heads)
        lines = [" | ".join(_cell(cell) for cell in row) for row in (table.heads, *table.rows)]
        rows = [f"| {line} |" for line in lines]
        parts.append("\n".join((f"**{table.name}.** {table.caption}", "", rows[0], f"|{rule}|", *rows[1:])))
    return "\n\n".join(part for part in parts if part) + "\n"


def analysis_content(analysis: Analysis) -> dict[str, Any]:
    """An analysis as JSON values."""
    return asdict(analysis)


def analysis_of(content: Mapping[str, Any]) -> Analysis:
    """The analysis that `analysis_content` gave."""

    def chart(fields: Mapping[str, Any]) -> Chart:
        lines = [Line(**line) for line in fields["lines"]]
        return replace(Chart(**fields), lines=lines)

    tables = [Table(**fields) for fields in content["tables"]]
    return Analysis(content["sentences"], tables, [chart(fields) for fields in content["charts"]])


def write_analysis(analysis: Analysis, folder: Path, *, title: str) -> None:
    """Write ``analysis.md``, ``analysis.png`` and a CSV file per table into a folder that is being put together."""
    (folder / "analysis.md").write_text(analysis_markdown(analysis), encoding="utf-8")
    for table in analysis.tables:
        (folder / f"{table.name}.csv").write_text(table_csv(table), encoding="utf-8")
    if analysis.charts:
        draw_analysis(analysis, title=title).savefig(folder / "analysis.png", dpi=110)


def table_csv(table: Table) -> str:
    """A table as CSV; empty cells where a number does not exist."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.heads)
    writer.writerows(table.rows)
    return text.getvalue()


def _cell(cell: object) -> str:
    if cell is None:
        return "-"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _draw(axes: Axes, chart: Chart) -> None:
    measured = [line for line in chart.lines if not line.is_reference]
    for number, line in enumerate(measured):
        colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
        axes.plot(line.x, line.y, marker=marker, color=colour, markersize=4, linewidth=1.2, label=line.label)
        if line.spread is not None:
            band = list(zip(line.y, line.spread, strict=True))
            # A logarithmic axis has no place for a band that reaches 0.
            low = [max(y - std, y / 2) if chart.log_y else y - std for y, std in band]
            axes.fill_between(line.x, low, [y + std for y, std in band], color=colour, alpha=0.15, linewidth=0)
    for line, style in zip((line for line in chart.lines if line.is_reference), ("--", ":", "-."), strict=False):
        axes.plot(line.x, line.y, color="black", linestyle=style, linewidth=1, label=line.label)
    if chart.log_x:
        axes.set_xscale("log")
        places = sorted({place for line in measured for place in line.x})
        if 1 < len(places) <= _FEW:
            axes.set_xticks(places, [f"{place:,.4g}" for place in places])
            axes.xaxis.set_minor_locator(NullLocator())
    if chart.log_y:
        axes.set_yscale("log")
    axes.set_title(chart.title, fontsize=9)
    axes.set_xlabel(chart.x, fontsize=8)
    axes.set_ylabel(chart.y, fontsize=8)
    axes.tick_params(which="both", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=6, frameon=False)
