"""A study: a figure of our own whose runs are analysed together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perturblearn.papers.figure import Figure, Settings

if TYPE_CHECKING:
    from perturblearn.experiment import Number

Cell = str | int | float | None


@dataclass(frozen=True)
class StudyRun:
    """What one run of a study has measured.

    Args:
        panel: the panel's number, counted from 1.
        name: the panel's name.
        x: the setting along its axis.
        way: how the run was computed.
        settings: the run's settings by their short names: the study's, the panel's, and its own varied ones.
        seed: the run's seed.
        measures: by name.
    """

    panel: int
    name: str
    x: str
    way: str
    settings: Settings
    seed: int
    measures: Mapping[str, Number]


@dataclass(frozen=True)
class Table:
    """Numbers that an analysis has derived.

    Args:
        name: of its file.
        caption: what it shows, and how the numbers came about.
        heads: one per column.
        rows: as many cells each; None where a number does not exist.
    """

    name: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Line:
    """One curve of a chart.

    Args:
        label: what it shows.
        x, y: its points.
        spread: half the height of a band around them; None for none.
        is_reference: a prediction, and nothing that was measured.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] | None = None
    is_reference: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over common axes.

    Args:
        title: what is shown.
        x, y: what stands along the axes.
        lines: the curves.
        log_x, log_y: whether an axis is logarithmic.
        is_share: whether y is a share, between 0 and 1.
        names: what stands at 0, 1, 2, ... along the x axis, where lines are points over names; none for numbers.
    """

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    log_x: bool = False
    log_y: bool = False
    is_share: bool = False
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Analysis:
    """What the runs of a study say together.

    Args:
        sentences: in words, with the numbers.
        tables: derived numbers.
        charts: the same as curves.
    """

    sentences: Sequence[str]
    tables: Sequence[Table]
    charts: Sequence[Chart]


def _nothing(runs: Sequence[StudyRun]) -> Analysis:
    return Analysis((), (), ())


@dataclass(frozen=True)
class Study(Figure):
    """A figure of our own, whose panels hold the measured curves, with an analysis of all its runs.

    Args:
        analysis: from all runs that were finished, in any order, to what they say together.
    """

    analysis: Callable[[Sequence[StudyRun]], Analysis] = field(default=_nothing)

    def run(self, panel: int, way: str, values: Settings, seed: int, measures: Mapping[str, Number]) -> StudyRun:
        """What a finished run of this study is to its analysis.

        Args:
            panel: the panel's number, counted from 1.
            way: how it was computed.
            values: its varied settings.
            seed: its seed.
            measures: what it has measured.
        """
        of_panel = self.panels[panel - 1]
        settings = {**self.settings, **of_panel.fixed, **values}
        return StudyRun(panel, of_panel.name, str(of_panel.x), way, settings, seed, measures)
