from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import TINY, records, run_folders, say, without_progress

from perturblearn import Result, learn_from_perturbations
from perturblearn.config import parse_value
from perturblearn.errors import StoreError
from perturblearn.experiment.checks import ControlDraws, Selection
from perturblearn.experiment.controls import ControlName
from perturblearn.experiment.steps import (
    Data,
    Perturbation,
    PerturbationMeasures,
    Perturbed,
    Standard,
    StandardMeasures,
)
from perturblearn.graph import Grouped, Results
from perturblearn.store import Record, RecordStore

SENTENCE = "\nperturblearn: interrupted; finished stages are kept, and the same command resumes\n"

QUICK = [*TINY, "--no-report"]

# Every kind of stage; a classifier as f and as g, a set as the one g sees and the one that chooses its learning rate.
MOMENTS: list[tuple[type[Any], ControlName | None]] = [
    (Data, None),
    (Standard, None),
    (Perturbed, None),
    (Perturbation, None),
    (StandardMeasures, None),
    (PerturbationMeasures, None),
    (Selection, None),
    (ControlDraws, "unperturbed"),
    (ControlDraws, "permuted"),
]


@pytest.fixture(scope="module")
def undisturbed() -> Result:
    keys = dict(zip((word.removeprefix("--") for word in TINY[::2]), TINY[1::2], strict=True))
    return learn_from_perturbations(overrides={name: parse_value(name, text) for name, text in keys.items()})


@pytest.mark.parametrize(("kind", "control"), MOMENTS, ids=[f"{kind.kind} {which or ''}" for kind, which in MOMENTS])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_ctrl_c_in_any_stage_is_told_kept_and_made_good(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Any],
    control: ControlName | None,
    late: bool,
    undisturbed: Result,
) -> None:
    original, whole_group = kind.run, getattr(kind, "run_group", lambda *_: ())

    def interrupted(stage: Any, result: Results) -> Any:
        here = control is None or stage.control == control
        found = original(stage, result) if late or not here else None
        if here:
            raise KeyboardInterrupt
        return found

    def group_interrupted(cls: type[Any], group: Any, wanted: Any, result: Results) -> Iterator[Any]:
        if late:
            list(whole_group(group, wanted, result))
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        if issubclass(kind, Grouped):
            patch.setattr(kind, "run_group", classmethod(group_interrupted))
        else:
            patch.setattr(kind, "run", interrupted)
        said = say(capsys, "run", *QUICK, "--out", tmp_path)
    assert (said.code, said.out, said.err) == (130, "", SENTENCE)
    assert [record.state for record in records(tmp_path)] == ["interrupted"]
    assert run_folders(tmp_path) == []
    assert list((tmp_path / ".store").glob("tmp/*")) == []

    finished = len(list((tmp_path / ".store").glob("artefacts/*/*")))
    again = say(capsys, "run", *QUICK, "--out", tmp_path)
    assert (again.code, again.err) == (0, "")
    assert f"{7 - finished} stages ran in" in again.out
    assert [record.state for record in records(tmp_path)] == ["finished"]
    (folder,) = run_folders(tmp_path)
    assert Result.load(folder).seeds == undisturbed.seeds


def test_ctrl_c_while_the_folder_is_written_leaves_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("perturblearn.report.charts.draw_examples", interrupted)
        said = say(capsys, "run", *QUICK, "--format", "png", "--out", tmp_path)
    assert (said.code, said.out, said.err) == (130, "", SENTENCE)
    assert run_folders(tmp_path) == []
    assert [record.state for record in records(tmp_path)] == ["interrupted"]
    again = say(capsys, "run", *QUICK, "--out", tmp_path)
    assert "All stages were already finished" in again.out
    assert len(run_folders(tmp_path)) == 1


@contextmanager
def started(*words: object, ignores_interrupts: bool = False) -> Iterator[subprocess.Popen[str]]:
    """The command line in a process of its own, which does not outlive the block."""
    command = [sys.executable, "-m", "perturblearn", *map(str, words)]
    ignore = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignores_interrupts else None
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=ignore
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_real_signal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with started("run", *TINY[:-1], "100000000", "--out", tmp_path) as process:
        while process.poll() is None and not list((tmp_path / ".store").glob("artefacts/*/*")):
            time.sleep(0.01)  # until f is finished, and g has begun
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, without_progress(err)[0]) == (130, "", SENTENCE)
    assert [record.state for record in records(tmp_path)] == ["interrupted"]
    assert run_folders(tmp_path) == []
    shorter = say(capsys, "run", *QUICK, "--out", tmp_path)
    assert "6 stages ran in" in shorter.out  # f was kept


def test_under_nohup_a_signal_is_ignored(tmp_path: Path) -> None:
    with started("run", *TINY, "--out", tmp_path, "--quiet", "--no-report", ignores_interrupts=True) as process:
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
    assert process.returncode == 0
    assert [record.state for record in records(tmp_path)] == ["finished"]


@pytest.mark.parametrize("module", ["cyclopts", "torch"])
def test_ctrl_c_while_the_command_is_loaded(tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text("raise KeyboardInterrupt")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), *filter(None, sys.path)))}
    command = [sys.executable, "-m", "perturblearn", "run", *TINY, "--out", str(tmp_path / "runs")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("\nperturblearn: interrupted")
    assert done.stderr.count("\n") == 2


def test_a_folder_written_before_its_record_gets_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RecordStore.write

    def no_space(store: RecordStore, record: Record) -> None:
        if record.state == "finished":
            raise StoreError("cannot use the run records")
        write(store, record)

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "write", no_space)
        assert say(capsys, "run", *QUICK, "--out", tmp_path).code == 2
    assert [record.state for record in records(tmp_path)] == ["interrupted"]
    (folder,) = run_folders(tmp_path)
    assert say(capsys, "run", *QUICK, "--out", tmp_path).code == 0
    (record,) = records(tmp_path)
    assert (record.state, record.folder) == ("finished", folder.name)
