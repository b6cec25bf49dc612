"""Disk use, and removing results and the stages that nothing needs any more."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import TINY, file_bytes, records, refuse, run_folders, say

import perturblearn
from perturblearn import Result
from perturblearn.api.clean import size_text
from perturblearn.api.stores import artefact_store, record_store
from perturblearn.cli.arguments import split_arguments
from perturblearn.graph import Progress
from perturblearn.store import Artefact, Drafts, drafts_in

KEYS = split_arguments(TINY)[1]
Run = Callable[..., Result]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def run(out: Path) -> Run:
    """A run with some keys of its own."""

    def run(watch: Callable[[Progress], None] | None = None, **keys: Any) -> Result:
        overrides = {**KEYS, **{name.replace("__", "."): value for name, value in keys.items()}}
        return perturblearn.learn_from_perturbations(overrides=overrides, out=out, report=False, watch=watch)

    return run


def place(result: Result) -> Path:
    assert result.folder is not None
    return result.folder


def bytes_on_disk(out: Path) -> int:
    """Of all files but the records, each counted once."""
    files = [path.stat() for path in out.rglob("*") if path.is_file() and not path.name.startswith("records.")]
    return sum({each.st_ino: each.st_size for each in files}.values())


def n_stages(out: Path) -> int:
    return len(list(out.glob(".store/artefacts/??/*")))


def test_a_result_goes_with_the_stages_that_it_alone_needed(
    run: Run, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, gone = run(), run(name="gone", attack__epsilon=0.5)
    before, files = bytes_on_disk(out), file_bytes(out)
    shown = say(capsys, "clean", place(gone), "--out", out)
    assert (shown.code, shown.err, file_bytes(out)) == (0, "", files), "a dry run changes nothing"
    assert f"- {place(gone)}\n" in shown.out
    content = say(capsys, "clean", place(gone), "--out", out, "--yes", "--json").json
    assert before - bytes_on_disk(out) == content["bytes"] > 0
    assert run_folders(out) == [place(kept)]
    assert [record.name for record in records(out)] == ["gauss"]
    assert " 0 to run, " in say(capsys, "run", *TINY, "--out", out, "--plan").out
    assert say(capsys, "clean", "--out", out).out == f"There is nothing to remove in {out}.\n"


def test_a_result_removed_by_hand_leaves_its_stages_to_its_record(run: Run, out: Path) -> None:
    run()
    stages = n_stages(out)
    assert perturblearn.clean(out=out, dry_run=False).stages == []
    assert n_stages(out) == stages > 0


def test_an_interrupted_run_keeps_what_it_has_finished(run: Run, out: Path) -> None:
    run(name="other", data__n_samples=30)

    def interrupt(progress: Progress) -> None:
        if progress.number and progress.finished:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupt)
    stages = n_stages(out)
    (other,) = run_folders(out)
    removed = perturblearn.clean(other, out=out, dry_run=False)
    assert removed.kept is None
    assert n_stages(out) == stages - len(removed.stages)
    numbers: list[int] = []
    run(lambda progress: numbers.append(progress.total))
    assert set(numbers) - {0} == {6}, "f was finished before"


def test_drafts_go_unless_an_unfinished_run_needs_them(run: Run, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(name="finished")

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupt, name="other", attack__epsilon=0.5)
    store = artefact_store(out)
    of_run = {record.name: list(record.seconds) for record in record_store(out).all()}
    begun = next(key for key in of_run["other"] if not store.has(key))
    done = next(key for key in of_run["finished"] if store.has(key))
    for key in (begun, done, "c" * 64):
        Drafts(store, key).write("state", Artefact({"value": 1}))
    stages = n_stages(out) - 3
    use = say(capsys, "results", "--out", out, "--disk", "--json").json
    assert (use["stages"]["n"], use["drafts"]["n"]) == (stages, 3)
    assert "Drafts of unfinished stages: " in say(capsys, "results", "--out", out, "--disk").out
    assert "- 2 drafts that no unfinished run needs\n" in say(capsys, "clean", "--out", out).out
    removed = perturblearn.clean(out=out, dry_run=False)
    assert (set(drafts_in(store)), len(removed.drafts), n_stages(out)) == ({begun}, 2, stages + 1)


def test_a_running_run_is_not_touched(run: Run, out: Path) -> None:
    done = run(name="done")
    told: list[str | None] = []

    def clean_meanwhile(progress: Progress) -> None:
        if not told:
            told.append(perturblearn.clean(place(done), out=out).kept)

    run(clean_meanwhile, attack__epsilon=0.5)
    assert told == ["gauss is running"]


def test_runs_of_a_sweep_go_with_it_but_not_those_of_another(out: Path) -> None:
    sweeps = [
        perturblearn.sweep({"name": name, "sweep": {"grid": {"attack.epsilon": epsilons}}}, overrides=KEYS, out=out)
        for name, epsilons in (("one", [0.2, 0.5]), ("two", [0.5, 1.0]))
    ]
    folder = sweeps[0].folder
    assert folder is not None
    perturblearn.clean(folder, out=out, dry_run=False)
    left = {record.key for record in records(out)}
    assert left == {run.key for run in sweeps[1].runs}
    again = perturblearn.sweep(
        {"name": "two", "sweep": {"grid": {"attack.epsilon": [0.5, 1.0]}}}, overrides=KEYS, out=out
    )
    assert again.finished_before == 2


def test_a_run_that_a_sweep_has_as_well_keeps_its_record(run: Run, out: Path) -> None:
    alone = run(name="one", attack__epsilon=0.2)
    grid = {"name": "one", "sweep": {"grid": {"attack.epsilon": [0.2]}}}
    perturblearn.sweep(grid, overrides=KEYS, out=out)
    cleaning = perturblearn.clean(place(alone), out=out, dry_run=False)
    assert (cleaning.kept, cleaning.stages) == (None, [])
    assert [record.folder for record in records(out)] == [None]
    assert perturblearn.sweep(grid, overrides=KEYS, out=out).finished_before == 1


def test_stages_stay_while_a_sweep_may_need_them(run: Run, out: Path) -> None:
    alone = run()
    swept = perturblearn.sweep({"name": "one", "sweep": {"grid": {"attack.epsilon": [0.2]}}}, overrides=KEYS, out=out)
    store = record_store(out)
    (collection,) = store.collections()
    store.write_collection(replace(collection, state="interrupted"))
    cleaning = perturblearn.clean(place(alone), out=out, dry_run=False)
    assert cleaning.kept == "one has not ended and may need them; give its command again"
    assert (cleaning.stages, run_folders(out)) == ([], [swept.folder])


def test_what_is_not_ours_is_refused(run: Run, out: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = run()
    notes, link, plain = place(result) / "notes.txt", out / "link", out / "plain"
    notes.write_text("mine", encoding="utf-8")
    os.symlink(place(result), link)
    plain.mkdir()
    files = file_bytes(out)
    assert "holds notes.txt, which perturblearn did not write" in refuse(
        capsys, "clean", place(result), "--out", out, "--yes"
    )
    assert f"{link} is not a folder in {out}" in refuse(capsys, "clean", link, "--out", out, "--yes")
    assert f"{plain}: holds no result" in refuse(capsys, "clean", plain, "--out", out, "--yes")
    assert f"is not a folder in {tmp_path}" in refuse(capsys, "clean", place(result), "--out", tmp_path, "--yes")
    notes.unlink()
    os.symlink(plain, place(result) / "seed-9")
    assert "holds seed-9, which perturblearn did not write" in refuse(
        capsys, "clean", place(result), "--out", out, "--yes"
    )
    (place(result) / "seed-9").unlink()
    assert file_bytes(out).keys() == files.keys() - {"notes.txt", f"{place(result).name}/notes.txt", "link/notes.txt"}
    assert "there is no folder" in refuse(capsys, "clean", "--out", tmp_path / "nothing")


def test_disk_use_counts_every_file_once(run: Run, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run()
    content = say(capsys, "results", "--out", out, "--disk", "--json").json
    (folder,) = content["folders"]
    assert (folder["folder"], folder["kind"]) == (place(result).name, "run")
    assert folder["bytes"] == bytes_on_disk(place(result))
    others = sum(path.stat().st_size for path in out.rglob("records.*"))
    assert content["bytes"] == bytes_on_disk(out) + others
    assert content["stages"]["n"] == n_stages(out)
    shown = say(capsys, "results", "--out", out, "--disk")
    assert size_text(folder["bytes"]) in shown.out
    assert "--disk shows folders" in refuse(capsys, "results", "--out", out, "--disk", "--failed")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (2_345_678, "2.35 MB"), (5e12, "5 TB")],
)
def test_sizes_read_as_the_cache_s_limit_is_written(size: float, text: str) -> None:
    assert size_text(size) == text
