"""A paper's figure made again: every point beside the published one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from perturblearn.config import JSON, Keys
from perturblearn.experiment import Summary
from perturblearn.results.data_size import SIZE_COLUMNS, DataSize, only_size
from perturblearn.results.drawing import DrawFigure, Style
from perturblearn.results.files import File, Form, csv_text, json_text
from perturblearn.results.finished import Finished
from perturblearn.results.points import AGREES, DIFFERS, INSIDE, OUTSIDE, PointRow, ShownPanel, curve_of
from perturblearn.results.shown import report_on

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from perturblearn.papers import Analysis

COLUMNS = (
    "figure", "panel", "x", "measure", "published", "at_seed", "seed_difference", "seed_verdict", "mean", "std",
    "low", "high", "n_seeds", "quantile", "difference", "verdict", *SIZE_COLUMNS,
)  # fmt: skip
"""Columns of ``table.csv``: what was published, beside it the published seed, then our own seeds."""
_PLAIN = ("name", "caption", "scale", "smaller", "changed", "key", "seeds", "seconds")
"""What is the same in JSON."""


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
class ControlsOfWay:
    """The default setting with controls, as one way computes it.

    Args:
        way: how it was computed; empty for the paper's own way.
        measures: by measure, g and both controls over the seeds.
    """

    way: str
    measures: Mapping[str, Summary]


@dataclass(frozen=True, repr=False)
class Reproduction(Finished):
    """What came of a figure.

    Args:
        name: the figure's.
        caption: what it shows.
        scale: ``quick`` or ``full``.
        smaller: what is smaller than in the paper, in one line; empty where nothing is.
        changed: keys of a configuration that differ from the paper's because somebody asked for it.
        key: hash of all runs' stages.
        seeds: our own, of every point; none if the published seed alone was run.
        panels: those that were run.
        rows: every point and measure, panel by panel.
        controls: the default setting, way by way.
        failed: runs that failed; their points have fewer seeds.
        analysis: of a study, what its runs say together.
        command: makes it again.
    """

    form: ClassVar[Form] = Form("result.json", "reproduction", 2, "figure", "reproduce the figure again")

    name: str
    caption: str
    scale: str
    smaller: str
    key: str
    seeds: Sequence[int]
    panels: Sequence[ShownPanel]
    rows: Sequence[PointRow]
    controls: Sequence[ControlsOfWay] = ()
    failed: Sequence[FailedRun] = ()
    analysis: Analysis | None = None
    changed: Keys = field(default_factory=dict[str, JSON])
    command: str = ""

    @property
    def size(self) -> DataSize | None:
        """The size of the data, if it is known and the same at all points."""
        return only_size((row.n_samples, row.input_dim, row.n_heldout) for row in self.rows if row.n_seeds)

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
    def readable_at_seed(self) -> list[PointRow]:
        """The rows whose published value can be read and is compared with the run at the published seed."""
        return [row for row in self.rows if row.seed_verdict in (AGREES, DIFFERS)]

    @property
    def share_at_seed(self) -> float | None:
        """Share of these rows that are within the reading error; None if there are none."""
        readable = self.readable_at_seed
        return sum(row.seed_verdict == AGREES for row in readable) / len(readable) if readable else None

    def _content(self) -> dict[str, Any]:
        return {
            "command": self.command,
            **{name: getattr(self, name) for name in _PLAIN},
            "seeds": list(self.seeds),
            "controls": [asdict(control) for control in self.controls],
            "analysis": None if self.analysis is None else asdict(self.analysis),
            "share_inside": self.share_inside,
            "share_at_seed": self.share_at_seed,
            "lines": report_on(self).lines,
            "panels": [asdict(panel) for panel in self.panels],
            "rows": [asdict(row) for row in self.rows],
            "failed": [asdict(run) for run in self.failed],
        }

    @classmethod
    def _from_dict(cls, content: dict[str, Any], folder: Path) -> Reproduction:
        return cls(
            panels=[ShownPanel(**panel) for panel in content["panels"]],
            rows=[PointRow(**row) for row in content["rows"]],
            controls=[ControlsOfWay(control["way"], control["measures"]) for control in content["controls"]],
            failed=[FailedRun(**run) for run in content["failed"]],
            analysis=analysis_from_dict(content["analysis"]) if content["analysis"] else None,
            command=content.get("command", ""),
            **{name: content[name] for name in _PLAIN},
        )

    def plot(self, style: Style | None = None) -> Figure:
        """Our means and spreads with the published points on top, as a matplotlib figure.

        Args:
            style: as for `Result.plot`.

        Raises:
            ConfigError: the style cannot be used.
        """
        return report_on(self).plot(style)

    def to_csv(self) -> str:
        """A row per point and measure in CSV."""
        return csv_text(COLUMNS, (asdict(row) for row in self.rows))

    def figures(self) -> Iterator[tuple[str, DrawFigure]]:
        """Its curves and, of a study, the charts of its analysis; decision maps and examples are drawn by the run."""
        if any(panel.x is not None for panel in self.panels):
            yield "figure", lambda _, style: self.plot(style)
        if self.analysis is not None and self.analysis.charts:
            yield "analysis", lambda _, style: report_on(self).plot_analysis(style)

    def files(self) -> Iterator[File]:
        """``result.json``, ``table.md`` and, of a study, its analysis."""
        yield self.form.file, json_text(self.to_dict())
        yield "table.md", report_on(self).markdown
        if self.analysis is not None:
            yield from self._analysis_files(self.analysis)

    def _analysis_files(self, analysis: Analysis) -> Iterator[File]:
        yield "analysis.md", report_on(self).analysis_markdown
        for table in analysis.tables:
            yield f"{table.name}.csv", csv_text(table.heads, table.rows)

    def __repr__(self) -> str:
        return self._describe(repr(self.name), self.scale, f"{len(self.rows)} points", f"{len(self.seeds)} seeds")


def analysis_from_dict(content: Mapping[str, Any]) -> Analysis:
    """The analysis whose values these are."""
    from perturblearn.papers import Analysis, Chart, Line, Table

    def chart(fields: Mapping[str, Any]) -> Chart:
        lines, names = [Line(**line) for line in fields["lines"]], tuple(fields.get("names", ()))
        return replace(Chart(**fields), lines=lines, names=names)

    tables = [Table(**fields) for fields in content["tables"]]
    return Analysis(content["sentences"], tables, [chart(fields) for fields in content["charts"]])
