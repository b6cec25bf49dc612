"""The page of a paper's figure, or of a study: our curves with their spread, the published points, the verdicts."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perturblearn.papers import STUDIES, published
from perturblearn.report.pages.curves import analysis_chart, legend_of, panel_chart
from perturblearn.report.pages.page import render
from perturblearn.report.reproduction import RULE, ReproductionReport, describe_panel
from perturblearn.report.words import plural, with_spread
from perturblearn.results import COLUMNS, OUTSIDE, Reproduction

_MOST_BYTES = 6 * 2**20
"""Of all pictures together; further ones are named."""


def reproduction_page(found: Reproduction, folder: Path) -> str:
    """The page of a reproduction.

    Args:
        found: what came of it.
        folder: where its pictures lie now.
    """
    known = published(found.name)
    uncertainty = 0.0 if known is None else known.uncertainty
    curves = list(dict.fromkeys(row.measure for row in found.rows))
    pictures, left_out = _pictures(found, folder)
    return render(
        "reproduction.html",
        ["reproduction.js"],
        kind="Study" if found.name in STUDIES else "Figure",
        name=found.name,
        title=ReproductionReport(found).title,
        question=found.caption,
        answer=_answer(found),
        sentences=[] if found.analysis is None else found.analysis.sentences,
        panels=list(_panels(found, curves, uncertainty)),
        legend=legend_of(curves),
        rule=RULE if found.readable else "",
        uncertainty=uncertainty,
        has_published=any(row.published is not None for row in found.rows),
        controls=_controls(found),
        failed=[(run.panel, run.x, run.way or "-", run.seed, run.error) for run in found.failed],
        columns=COLUMNS[1:],
        rows=[{name: value for name, value in asdict(row).items() if name != "figure"} for row in found.rows],
        verdicts=list(dict.fromkeys(row.verdict for row in found.rows)),
        charts=[] if found.analysis is None else [(each.title, analysis_chart(each)) for each in found.analysis.charts],
        tables=[] if found.analysis is None else [_table(table) for table in found.analysis.tables],
        pictures=pictures,
        left_out=left_out,
        command=found.command or shlex.join(("perturblearn", "reproduce", found.name, "--scale", found.scale)),
        key=found.key,
        made_with=found.versions,
        seconds=found.seconds,
    )


def _answer(found: Reproduction) -> str:
    """What came out, in two sentences at most; of a study its analysis tells."""
    if found.analysis is not None:
        return ""
    seeds = f"{plural(len(found.seeds), 'seed')} of each point"
    judged, share = found.readable, found.share_inside
    if share is not None:
        inside = round(share * len(judged))
        worst = max(judged, key=lambda row: abs(row.difference or 0.0))
        where = f"{worst.measure} in panel {worst.panel} at {worst.x}"
        return (
            f"{inside} of {len(judged)} readable published points ({share:.0%}) lie inside our spread, with {seeds}. "
            f"The largest difference is {worst.difference:+.3f}, in {where}."
        )
    default = "".join(
        f" At the default setting{' (' + control.way + ')' if control.way else ''}: "
        + ", ".join(f"{name} {with_spread(values)}" for name, values in control.measures.items())
        + "."
        for control in found.controls
    )
    if any(row.published is not None for row in found.rows):
        other = "A smaller problem than the paper's" if found.smaller else "Not the paper's problem"
        return f"{other}, so its points are shown and not judged; {seeds}.{default}"
    return f"There are no published values to compare with; {seeds}.{default}"


def _panels(found: Reproduction, curves: list[str], uncertainty: float) -> Iterator[dict[str, Any]]:
    for panel in found.panels:
        rows = [row for row in found.rows if row.panel == panel.number]
        if panel.x is None or not rows or found.analysis is not None:
            continue
        lines = list(describe_panel(f"Panel {panel.number}", rows))
        misses = [row for row in rows if row.verdict == OUTSIDE]
        yield {
            "number": panel.number,
            "name": panel.name,
            "lines": lines,
            "misses": len(misses),
            "chart": panel_chart(panel, rows, curves, uncertainty=uncertainty),
        }


def _controls(found: Reproduction) -> list[tuple[str, ...]]:
    """A line for each measure of the default setting, way by way."""
    return [
        (control.way or "as in the paper", name, with_spread(values))
        for control in found.controls
        for name, values in control.measures.items()
    ]


def _table(table: Any) -> dict[str, Any]:
    def cell(value: Any) -> str:
        return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    rows = [[cell(value) for value in row] for row in table.rows]
    numbers = [
        place
        for place in range(1, len(table.heads))
        if all(row[place] is None or isinstance(row[place], (int, float)) for row in table.rows)
    ]
    return {"name": table.name, "caption": table.caption, "heads": table.heads, "rows": rows, "numbers": numbers}


def _pictures(found: Reproduction, folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Pictures of a figure that has no curves, embedded; and the names of those for which there is no room."""
    if any(panel.x is not None for panel in found.panels):
        return [], []
    shown: list[dict[str, str]] = []
    left_out: list[str] = []
    room = _MOST_BYTES
    for path in sorted(folder.glob("*.png"), key=lambda path: (len(path.name), path.name)):
        content = path.read_bytes()
        room -= len(content)
        if room < 0:
            left_out.append(path.name)
            continue
        address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        shown.append({"address": address, "name": path.stem.replace("-", " ").replace("_", " ")})
    return shown, left_out
