"""The page of a paper's figure, or of a study: our curves with their spread, the published points, the verdicts."""

from __future__ import annotations

import base64
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perturblearn.pages.page import render
from perturblearn.papers import STUDIES, published
from perturblearn.report.charts.figure import PanelChart, curve_looks, curve_name, panel_charts, study_charts
from perturblearn.report.reproduction import RULE, SEED_RULE, ReproductionReport, columns_with_values, describe_panel
from perturblearn.report.words import plural, with_spread
from perturblearn.results import READING_ERROR, Reproduction

_MOST_BYTES = 6 * 2**20
"""Of all pictures together; further ones are named."""
_MOST_ROWS = 40
"""Of a table that is open from the start."""
_MOST_SENTENCES = 16
"""Of an answer that are seen from the start."""


def reproduction_page(found: Reproduction, folder: Path) -> str:
    """The page of a reproduction.

    Args:
        found: what came of it.
        folder: where its pictures lie now.
    """
    known = published(found.name)
    uncertainty = 0.0 if known is None else known.uncertainty
    panels = [] if found.analysis is not None else panel_charts(found)
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
        most_sentences=_MOST_SENTENCES,
        panels=[panel for each in panels for panel in each.panels],
        panel_charts=[(each.chart, [panel.number for panel in each.panels], _lines(found, each)) for each in panels],
        legend=[(measure, curve_name(measure), look) for measure, look in curve_looks(found).items()],
        rules=[SEED_RULE] * bool(found.readable_at_seed) + [RULE] * bool(found.readable),
        uncertainty=uncertainty,
        controls=_controls(found),
        failed=[(run.panel, run.x, run.way or "-", run.seed, run.error) for run in found.failed],
        columns=columns_with_values(found),
        rows=[{name: value for name, value in asdict(row).items() if name != "figure"} for row in found.rows],
        verdicts=list(dict.fromkeys(row.verdict for row in found.rows)),
        seed_verdicts=list(dict.fromkeys(row.seed_verdict for row in found.rows if row.seed_verdict)),
        charts=[] if found.analysis is None else study_charts(found.analysis.charts),
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
    seeds = f"{plural(len(found.seeds), 'seed')} per point"
    told = [answer for answer in (_answer_at_seed(found), _answer_of_own(found, seeds)) if answer]
    if told:
        return " ".join(told)
    default = "".join(
        f" At the default setting{' (' + control.way + ')' if control.way else ''}: "
        + ", ".join(f"{name} {with_spread(values)}" for name, values in control.measures.items())
        + "."
        for control in found.controls
    )
    if any(row.published is not None for row in found.rows):
        other = "This problem is smaller than the paper's" if found.smaller else "This is not the paper's problem"
        return f"{other}, so published points are shown but not judged; {seeds}.{default}"
    return f"There are no published values to compare with; {seeds}.{default}"


def _answer_at_seed(found: Reproduction) -> str:
    judged, share = found.readable_at_seed, found.share_at_seed
    if share is None:
        return ""
    worst = max(judged, key=lambda row: abs(row.seed_difference or 0.0))
    return (
        f"At the published seed, {round(share * len(judged))} of {len(judged)} readable published points ({share:.0%}) "
        f"are met within {READING_ERROR:g}; the largest difference is {worst.seed_difference:+.3f}, in {worst.measure} "
        f"in panel {worst.panel} at {worst.x}."
    )


def _answer_of_own(found: Reproduction, seeds: str) -> str:
    judged, share = found.readable, found.share_inside
    if share is None:
        return ""
    inside = round(share * len(judged))
    worst = max(judged, key=lambda row: abs(row.difference or 0.0))
    return (
        f"{inside} of {len(judged)} readable published points ({share:.0%}) lie inside our spread, with {seeds}. "
        f"The largest difference is {worst.difference:+.3f}, in {worst.measure} in panel {worst.panel} at {worst.x}."
    )


def _lines(found: Reproduction, shown: PanelChart) -> list[str]:
    """How well the panels agree with the paper."""
    return [
        line
        for panel in shown.panels
        for line in describe_panel(
            f"Panel {panel.number}", panel.seed, [row for row in found.rows if row.panel == panel.number]
        )
    ]


def _controls(found: Reproduction) -> list[tuple[str, ...]]:
    """A line for each measure of the default setting, way by way."""
    setting = "not as in the paper" if found.smaller or found.changed else "as in the paper"
    if found.analysis is not None:
        setting = "-"  # a study has no paper
    return [
        (control.way or setting, name, with_spread(values))
        for control in found.controls
        for name, values in control.measures.items()
    ]


def _table(table: Any) -> dict[str, Any]:
    def cell(value: Any) -> str:
        return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    used = [place for place in range(len(table.heads)) if any(row[place] not in (None, "") for row in table.rows)]
    heads = [table.heads[place] for place in used]
    rows = [[cell(row[place]) for place in used] for row in table.rows]
    numbers = [
        number
        for number, place in enumerate(used)
        if number and all(row[place] is None or isinstance(row[place], (int, float)) for row in table.rows)
    ]
    shown = {"heads": heads, "rows": rows, "numbers": numbers, "is_long": len(rows) > _MOST_ROWS}
    return {"name": table.name, "caption": table.caption, **shown}


def _pictures(found: Reproduction, folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Pictures of a figure that has no curves, embedded; and the names of those which cannot be or have no room."""
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
    drawn = {path.stem for path in folder.glob("*.png")}
    others = sorted(path.name for kind in ("pdf", "svg") for path in folder.glob(f"*.{kind}") if path.stem not in drawn)
    return shown, left_out + others
