"""A paper's figure made again: every point beside the published one."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perturblearn.errors import StoreError
from perturblearn.papers import Analysis
from perturblearn.report.grid import plural, with_spread
from perturblearn.report.points import INSIDE, OUTSIDE, RULE, PointRow, ShownPanel, curve_of, describe_panel
from perturblearn.report.study import analysis_content, analysis_of, write_analysis
from perturblearn.store import ArtefactStore, versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPRODUCTION_SCHEMA = 1
"""Version of the JSON form; raised when a key changes its meaning or goes."""
COLUMNS = ("figure", "panel", "x", "measure", "mean", "std", "n_seeds", "published", "difference", "verdict")
"""Columns of ``table.csv``."""
SHOWN_ERRORS = 5
"""Failed runs whose sentence is printed; the files hold all."""


@dataclass(frozen=True)
class FailedRun:
    """A run that failed.

    Args:
        panel: its panel; 0 for the default setting with controls.
        x: where along the axis.
        way: how it was computed.
        seed: its seed.
        error: the sentence that it failed with.
    """

    panel: int
    x: Any
    way: str
    seed: int
    error: str


@dataclass(frozen=True)
class Reproduction:
    """What came of a figure.

    Args:
        name: the figure's.
        caption: what it shows.
        scale: ``quick`` or ``full``.
        smaller: what is smaller than in the paper, in one line; empty where nothing is.
        changed: keys of a configuration that differ from the paper's because somebody asked for it.
        key: hash of all runs' stages.
        seeds: of every point.
        panels: those that were run.
        rows: every point and measure, panel by panel.
        controls: the default setting way by way: ``way``, and ``measures``, g and both controls with mean, standard
            deviation and values.
        failed: runs that failed; their points have fewer seeds.
        analysis: of a study, what its runs say together.
        command: makes it again.
        folder: where it was written to; None if nowhere.
        seconds: how long it took this time.
        versions: of the packages that made it.
    """

    name: str
    caption: str
    scale: str
    smaller: str
    key: str
    seeds: Sequence[int]
    panels: Sequence[ShownPanel]
    rows: Sequence[PointRow]
    controls: Sequence[Mapping[str, Any]] = ()
    failed: Sequence[FailedRun] = ()
    analysis: Analysis | None = None
    changed: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    folder: Path | None = None
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=versions)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Reproduction:
        """The reproduction that lies in a folder.

        Raises:
            StoreError: there is none, it is damaged, or another version wrote it.
        """
        path = Path(folder) / "result.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != REPRODUCTION_SCHEMA:
                raise StoreError(f"{path} was written by another version of perturblearn; reproduce the figure again")
            return cls(
                panels=[ShownPanel(**panel) for panel in content["panels"]],
                rows=[PointRow(**row) for row in content["rows"]],
                failed=[FailedRun(**run) for run in content["failed"]],
                analysis=analysis_of(content["analysis"]) if content["analysis"] else None,
                folder=path.parent,
                command=content.get("command", ""),
                **{name: content[name] for name in _PLAIN},
            )
        except OSError as error:
            raise StoreError(f"cannot read {path} ({error.strerror}); name the folder of a figure") from None
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged ({error!r}); reproduce the figure again with --force") from None

    @property
    def readable(self) -> list[PointRow]:
        """The rows whose published value can be read and is compared with ours, computed as in the paper if any are."""
        judged = [row for row in self.rows if row.verdict in (INSIDE, OUTSIDE) and row.n_seeds]
        first = next((curve_of(row.measure)[1] for row in judged), "")
        return [row for row in judged if curve_of(row.measure)[1] == first]

    @property
    def share_inside(self) -> float | None:
        """Share of the readable rows that are inside; None if there are none."""
        readable = self.readable
        return sum(row.verdict == INSIDE for row in readable) / len(readable) if readable else None

    @property
    def lines(self) -> list[str]:
        """A line for each panel, and where several curves are compared, for each of these; of a study its sentences."""
        if self.analysis is not None:
            return list(self.analysis.sentences)
        return [
            line
            for panel in self.panels
            for line in describe_panel(
                f"panel {panel.number} ({panel.name})", [row for row in self.rows if row.panel == panel.number]
            )
        ]

    @property
    def summary(self) -> list[str]:
        """What stands beneath the panels' lines: the rule, the controls, and what failed."""
        lines = [RULE] if self.readable else []
        for control in self.controls:
            way = f" ({control['way']})" if control["way"] else ""
            numbers = [f"{name} {with_spread(values)}" for name, values in control["measures"].items()]
            lines.append(f"Default setting{way}: {', '.join(numbers)}.")
        if self.failed:
            lines.append(f"{plural(len(self.failed), 'run')} failed; the same command with --retry repeats them:")
            lines += [
                f"  panel {run.panel}, {run.x}, {f'{run.way}, ' if run.way else ''}seed {run.seed}: {run.error}"
                for run in self.failed[:SHOWN_ERRORS]
            ]
        return lines

    @property
    def title(self) -> str:
        """The figure's name, its scale, and how many seeds, in one line."""
        scale = f"{self.scale}: {self.smaller}" if self.smaller else self.scale
        changed = "".join(f", {name} = {value}" for name, value in self.changed.items())
        return f"{self.name}, {scale}{changed}; {plural(len(self.seeds), 'seed')}"

    def to_dict(self) -> dict[str, Any]:
        """The reproduction as JSON values: the content of ``result.json`` and of ``--json``."""
        return {
            "schema": REPRODUCTION_SCHEMA,
            "kind": "reproduction",
            "command": self.command,
            "folder": None if self.folder is None else str(self.folder),
            **{name: getattr(self, name) for name in _PLAIN},
            "seeds": list(self.seeds),
            "controls": [dict(control) for control in self.controls],
            "analysis": analysis_content(self.analysis) if self.analysis else None,
            "versions": dict(self.versions),
            "share_inside": self.share_inside,
            "lines": self.lines,
            "panels": [asdict(panel) for panel in self.panels],
            "rows": [asdict(row) for row in self.rows],
            "failed": [asdict(run) for run in self.failed],
        }

    def plot(self) -> Figure:
        """Our means and spreads with the published points on top, as a matplotlib figure."""
        from perturblearn.report.charts import draw
        from perturblearn.report.charts.figure import figure_picture

        return draw(figure_picture(self))

    def write(self, store: ArtefactStore, folder: Path, pictures: Mapping[str, Figure] | None = None) -> Reproduction:
        """Write ``result.json``, ``table.csv``, ``table.md``, pictures and the analysis of a study, all at once.

        Args:
            store: lends the scratch space, on the same disk as the folder.
            folder: where to; an older one in its place is replaced.
            pictures: by the file's name without its ending; None for ``figure``, the curves.

        Returns:
            The reproduction, which now knows its folder.

        Raises:
            StoreError: the folder cannot be written.
        """
        finished = replace(self, folder=folder)
        with store.scratch() as scratch:
            inside = scratch / folder.name
            inside.mkdir()
            text = json.dumps(finished.to_dict(), indent=1, allow_nan=False) + "\n"
            (inside / "result.json").write_text(text, encoding="utf-8")
            (inside / "table.md").write_text(self.markdown(), encoding="utf-8")
            with (inside / "table.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                writer.writerows([getattr(row, name) for name in COLUMNS] for row in self.rows)
            for name, figure in ({"figure": self.plot()} if pictures is None else pictures).items():
                figure.savefig(inside / f"{name}.png", dpi=100)
            if self.analysis is not None:
                write_analysis(self.analysis, inside, title=self.title)
            store.move_into_place(inside, folder, replace=True)
        return finished

    def markdown(self) -> str:
        """The table as Markdown, under its title and the lines of the panels."""
        heads = COLUMNS[1:]
        table = [heads, ["---"] * len(heads), *([_cell(getattr(row, name)) for name in heads] for row in self.rows)]
        lines = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
        told = "\n".join(f"- {line.strip()}" for line in (*self.lines, *self.summary))
        return f"# {self.title}\n\n{self.caption}\n\n{told}\n\n{lines}\n"

    def __str__(self) -> str:
        return "\n".join((self.title, self.caption, "", *self.lines, "", *self.summary)).rstrip()


_PLAIN = ("name", "caption", "scale", "smaller", "changed", "key", "seeds", "controls", "seconds", "versions")
"""What is the same in JSON."""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) >= 0.01 else f"{value:.3g}"
