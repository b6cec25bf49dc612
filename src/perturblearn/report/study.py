"""What an analysis of a study says, for people: sentences, tables and charts."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from perturblearn.papers import Analysis, Chart, Line, Table


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
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.figure import study_picture

        draw(study_picture(analysis.charts, title=title)).savefig(folder / "analysis.png", dpi=110)


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
