"""Progress in words: lines for logs, and the bar of a notebook."""

from __future__ import annotations

import io
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from tests.cli.commands import TINY

from perturblearn.api import PlanProgress, ProgressLines, learn_from_perturbations
from perturblearn.api.progress import clock_text
from perturblearn.cli.arguments import split_arguments
from perturblearn.graph import Progress, Stage
from perturblearn.graph.stage import Results

OVERRIDES = split_arguments(TINY)[1]
NOTEBOOK = """
import perturblearn
result = perturblearn.learn_from_perturbations(overrides={overrides})
---
result
---
result.plot()
"""


class Waiting(Stage[None]):
    kind = "waiting"

    def run(self, result: Results) -> None:
        """It is never run here."""


STAGE = Waiting()


class Clock:
    """A time that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(PlanProgress.__init__, "__defaults__", (clock,))
    return clock


def test_time_left_is_that_of_the_work_that_is_left(clock: Clock) -> None:
    plan = PlanProgress()
    plan.update(Progress(STAGE, 1, 3))
    clock.now = 30
    plan.update(Progress(STAGE, 1, 3, 1, 4, "loss 0.5", share=0.25))
    # A quarter of the work took 30 s, so the other three take 90.
    assert str(plan) == "0 of 3 stages, 25 %, 0:30, about 1:30 left; waiting 1/4 loss 0.5"


def test_stages_that_ran_together_are_all_counted(clock: Clock) -> None:
    plan = PlanProgress()
    plan.update(Progress(STAGE, 1, 3))
    plan.update(Progress(STAGE, 1, 3, share=0.5, finished=True, together=2))
    assert (plan.ended, plan.is_finished) == (2, False)
    plan.update(Progress(STAGE, 3, 3, share=1.0, finished=True))
    assert plan.is_finished


def test_a_line_is_written_when_one_is_due(clock: Clock) -> None:
    stream = io.StringIO()
    lines = ProgressLines(stream, every=10)
    lines(Progress(STAGE, 1, 2))
    for clock.now in (4, 9, 11, 12, 22):
        lines(Progress(STAGE, 1, 2, 1, 2, share=clock.now / 40))
    clock.now = 30
    lines(Progress(STAGE, 1, 2, share=0.75, finished=True))
    clock.now = 40
    lines(Progress(STAGE, 2, 2, share=1.0, finished=True))
    assert stream.getvalue().splitlines() == [
        "progress: started, 2 stages to run",
        "progress: 0 of 2 stages, 28 %, 0:11, about 0:29 left; waiting 1/2",
        "progress: 0 of 2 stages, 55 %, 0:22, about 0:18 left; waiting 1/2",
        "progress: finished, 2 stages in 0:40",
    ]


def test_a_log_of_a_day_stays_short(clock: Clock) -> None:
    stream = io.StringIO()
    lines = ProgressLines(stream)
    lines(Progress(STAGE, 1, 2))
    for clock.now in range(0, 86_400, 5):
        lines(Progress(STAGE, 1, 2, 1, 2))
    # Lines are 10 s or a twentieth of the time apart: 20 up to 200 s, then one for each factor of 1.05 (or a little
    # more, because reports come every 5 s): ln(86,400 / 200) / ln 1.05 = 124.
    assert 100 < stream.getvalue().count("\n") < 20 + 124 + 2


def test_a_second_plan_begins_anew(clock: Clock) -> None:
    stream = io.StringIO()
    lines = ProgressLines(stream)
    for total in (2, 1):
        for number in range(1, total + 1):
            lines(Progress(STAGE, number, total))
            lines(Progress(STAGE, number, total, finished=True))
    starts = [line for line in stream.getvalue().splitlines() if "started" in line]
    assert starts == ["progress: started, 2 stages to run", "progress: started, 1 stage to run"]


def test_a_verbose_log_names_every_finished_stage() -> None:
    stream, names = io.StringIO(), []

    def watch(progress: Progress) -> None:
        lines(progress)
        if progress.number and progress.finished:
            names.append(progress.stage.label)

    lines = ProgressLines(stream, verbose=True)
    learn_from_perturbations(overrides=OVERRIDES, watch=watch)
    first, *told, last = stream.getvalue().splitlines()
    assert (first.split(",")[0], last.split(",")[0]) == ("progress: started", "progress: finished")
    for line, name in zip(told, names, strict=True):
        assert line.startswith(f"progress: {name}")


def test_a_log_that_cannot_be_written_does_not_end_the_run() -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    assert learn_from_perturbations(overrides=OVERRIDES, watch=ProgressLines(Full())).seeds


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3723, "1:02:03")])
def test_times_read_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


def test_a_notebook_shows_table_figure_and_progress_without_a_magic_command(tmp_path: Path) -> None:
    sources = NOTEBOOK.format(overrides=OVERRIDES).strip().split("\n---\n")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    progress, table, figure = [
        [output["data"] for output in cell.outputs if "data" in output] for cell in notebook.cells
    ]
    (bar,) = progress  # brought up to date in its place
    assert '<progress max="1" value="1.000">' in bar["text/html"]
    assert "stages finished in" in bar["text/plain"]
    assert "<td>perturbation_accuracy_heldout</td>" in table[0]["text/html"]
    assert figure[0]["image/png"]
