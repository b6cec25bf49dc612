from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.measured import seed_measures

from perturblearn.config import Sweep, resolve_sweep
from perturblearn.errors import StoreError
from perturblearn.experiment import Outcome, Point, SeedMeasures
from perturblearn.results import SweepResult
from perturblearn.store import ArtefactStore

FAILED = "training diverged at epoch 1; lower it"


def measured(seed: int, g: float) -> SeedMeasures:
    measures = {"standard_accuracy_heldout": 0.9, "perturbation_accuracy_heldout": g, "agreement": None}
    return seed_measures(measures, {"permuted": ([0.4, 0.6], [0.3, 0.5])}, seed=seed, lr=(0.1, 0.2))


def sweep_of(**section: Any) -> Sweep:
    return resolve_sweep({"name": "of-two", "seeds": 2, "data": {"name": "gauss"}, "sweep": section})


def result_of(sweep: Sweep, g: Sequence[Sequence[float | None]]) -> SweepResult:
    """A result with these accuracies of g, point by point and seed by seed; None for a run that failed."""
    points = [Point(values, config) for values, config in sweep.points()]
    outcomes = [
        Outcome(point, seed, f"{point}{seed}" * 32, None if value is None else measured(seed, value),
                FAILED if value is None else None)
        for point, values in enumerate(g)
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return SweepResult.of(sweep, "ab" * 32, points, outcomes, finished_before=1, seconds=1.5)


@pytest.fixture
def result() -> SweepResult:
    grid = {"attack.epsilon": [0.1, 0.25, 0.5], "standard.lr": [[0.1, 0.01]]}
    return result_of(sweep_of(grid=grid), [(0.5, 0.75), (0.25, None), (None, None)])


def test_a_row_per_point_with_mean_and_deviation_over_its_seeds(result: SweepResult) -> None:
    table = [point.row for point in result.table]
    whole, half, none = table
    assert [row["attack.epsilon"] for row in table] == [0.1, 0.25, 0.5]
    assert [(row["point"], row["finished"], row["failed"]) for row in table] == [(1, 2, 0), (2, 1, 1), (3, 0, 2)]
    assert whole["perturbation_accuracy_heldout_mean"] == statistics.fmean([0.5, 0.75])
    assert whole["perturbation_accuracy_heldout_std"] == statistics.stdev([0.5, 0.75])
    assert (half["perturbation_accuracy_heldout_mean"], half["perturbation_accuracy_heldout_std"]) == (0.25, None)
    assert "perturbation_accuracy_heldout_mean" not in none
    assert (whole["permuted_control_mean"], whole["permuted_control_heldout_mean"]) == (0.5, 0.4)
    assert (whole["agreement_mean"], whole["agreement_std"]) == (None, None)


def test_a_row_per_run_with_its_numbers_or_its_error(result: SweepResult) -> None:
    assert [(run.point, run.seed, run.error) for run in result.runs] == [
        (1, 0, None), (1, 1, None), (2, 0, None), (2, 1, FAILED), (3, 0, FAILED), (3, 1, FAILED),
    ]  # fmt: skip
    assert result.runs[1].numbers["perturbation_accuracy_heldout"] == 0.75
    assert result.runs[3].row == {
        "point": 2, "key": "11" * 32, "attack.epsilon": 0.25, "standard.lr": [0.1, 0.01], "seed": 1, "error": FAILED,
    }  # fmt: skip
    assert [run.seed for run in result.failed] == [1, 0, 1]


def test_the_order_of_numbers_is_one_whatever_order_records_give() -> None:
    result = result_of(sweep_of(grid={"attack.epsilon": [0.1]}), [(0.5,)])
    content = json.loads(json.dumps(measured(0, 0.5).to_dict(), sort_keys=True))
    outcomes = [Outcome(0, 0, "00" * 32, SeedMeasures.from_dict(content))]
    again = SweepResult.of(result.sweep, result.key, result.points, outcomes)
    assert [list(run.row) for run in again.runs] == [list(run.row) for run in result.runs]


def test_what_is_printed(result: SweepResult) -> None:
    assert str(result).splitlines() == [
        "of-two: 3 points over attack.epsilon, standard.lr; 6 runs",
        "-" * 99,
        "epsilon           lr              f              g  95 % interval  agreement       permuted    runs",
        "-" * 99,
        "    0.1  [0.1, 0.01]  0.900 ± 0.000  0.625 ± 0.177    0.527–0.714          -  0.400 ± 0.000       2",
        "   0.25  [0.1, 0.01]          0.900          0.250    0.175–0.343          -          0.400  1 of 2",
        "    0.5  [0.1, 0.01]              -              -              -          -              -  0 of 2",
        "-" * 99,
        "3 runs failed; run the same command with --retry to repeat them:",
        f"  attack.epsilon = 0.25, standard.lr = [0.1, 0.01], seed = 1: {FAILED}",
        f"  attack.epsilon = 0.5, standard.lr = [0.1, 0.01], seed = 0: {FAILED}",
        f"  attack.epsilon = 0.5, standard.lr = [0.1, 0.01], seed = 1: {FAILED}",
    ]


def test_of_many_points_the_first_are_printed() -> None:
    sweep = sweep_of(grid={"attack.epsilon": [0.1 * number for number in range(1, 51)]})
    many = result_of(sweep, [(0.5, None)] * 50)
    lines = str(many).splitlines()
    assert lines[4 + 40 + 1] == "... and 10 more points: to_frame() has all."
    assert lines[-1] == "  ... and 45 more: failed has all"
    assert len(lines) == 4 + 40 + 1 + 1 + 1 + 5 + 1


def test_a_point_may_hold_its_seed_and_may_vary_nothing() -> None:
    zipped = result_of(sweep_of_seeds := resolve_sweep({"sweep": {"zip": {"seeds": [4, 5]}}}), [(0.5,), (None,)])
    assert sweep_of_seeds.name == zipped.sweep.name == "sweep"
    assert f"  seeds = 5: {FAILED}" in str(zipped).splitlines()
    only_seeds = result_of(resolve_sweep({"sweep": {"grid": {"seeds": [4, 5]}}}), [(0.5, 0.7)])
    assert str(only_seeds).startswith("sweep: 1 point; 2 runs\n")


def test_keys_that_end_alike_are_told_apart() -> None:
    grid = {"standard.model.hidden_dim": [8], "perturbation.model.hidden_dim": [8], "attack.epsilon": [0.1]}
    heads = str(result_of(sweep_of(grid=grid), [(0.5,)])).splitlines()[2].split()
    assert heads[:3] == ["standard.model.hidden_dim", "perturbation.model.hidden_dim", "epsilon"]


def test_the_folder_holds_all(result: SweepResult, tmp_path: Path) -> None:
    folder = tmp_path / "of-two-abababab"
    written = result.write(ArtefactStore(tmp_path / ".store"), folder)
    assert written.folder == folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "runs.csv", "sweep.json", "sweep.toml", "table.csv", "table.md", "table.tex",
    ]  # fmt: skip
    assert resolve_sweep(folder / "sweep.toml").points() == result.sweep.points()
    content = json.loads((folder / "sweep.json").read_text())
    assert content == json.loads(json.dumps(written.to_dict()))
    assert (content["n_points"], content["n_runs"], content["n_failed"]) == (3, 6, 3)
    with (folder / "runs.csv").open() as file:
        runs = list(csv.DictReader(file))
    assert [row["seed"] for row in runs] == ["0", "1"] * 3
    assert [row["standard.lr"] for row in runs] == ["[0.1, 0.01]"] * 6
    assert [row["perturbation_accuracy_heldout"] for row in runs] == ["0.5", "0.75", "0.25", "", "", ""]
    with (folder / "table.csv").open() as file:
        assert [row["failed"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    lines = (folder / "table.md").read_text().splitlines()
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    assert f"all are in {folder}" not in str(written)


def test_a_folder_is_replaced_whole_or_not_at_all(
    result: SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = ArtefactStore(tmp_path / ".store"), tmp_path / "sweep"
    result.write(store, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("perturblearn.results.sweep.csv_text", full)
        with pytest.raises(StoreError, match="No space left on device"):
            result.write(store, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list((tmp_path / ".store" / "tmp").iterdir()) == []


def test_the_frame_and_the_page_of_a_notebook(result: SweepResult) -> None:
    frame = result.to_frame()
    assert list(frame["attack.epsilon"]) == [0.1, 0.1, 0.25, 0.25, 0.5, 0.5]
    assert frame["perturbation_accuracy_heldout"].isna().tolist() == [False] * 3 + [True] * 3
    assert result._repr_html_().count("<tr>") == 1 + 3
    failed = Outcome(0, 0, "k", error="<script>")
    hostile = SweepResult.of(result.sweep, result.key, result.points[:1], [failed])._repr_html_()
    assert "<script>" not in hostile
    assert "&lt;script&gt;" in hostile


def test_how_many_ran(result: SweepResult) -> None:
    assert result.summary == "6 runs: 1 finished before, 2 finished now, 3 failed; 1.5 s."


def test_a_sweep_is_read_back_from_its_folder(result: SweepResult, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    result.write(ArtefactStore(tmp_path / ".store"), folder)
    loaded = SweepResult.load(folder)
    assert loaded.sweep == result.sweep
    assert loaded.varied == ["attack.epsilon", "standard.lr"]
    assert (loaded.key, loaded.seconds, loaded.versions) == (result.key, result.seconds, result.versions)
    assert loaded.folder == folder
    assert (loaded.table, loaded.runs) == (result.table, result.runs)


def test_a_folder_without_a_sweep_says_so_in_one_sentence(tmp_path: Path) -> None:
    sentence = rf"cannot read {tmp_path}/sweep\.json \(No such file or directory\); name the folder of a finished sweep"
    with pytest.raises(StoreError, match=f"^{sentence}$"):
        SweepResult.load(tmp_path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content["runs"].clear(), "no runs"),
        (lambda content: content["runs"][2].pop("attack.epsilon"), "run 3 is incomplete"),
        (lambda content: content["runs"][0].update(point=4), "run 1 is incomplete"),
        (lambda content: content["runs"][0].update(agreement=float("nan")), "NaN is no number"),
        (lambda content: content["points"][2].update(agreement_std="0.5"), "agreement_std of point 3 is no number"),
        (lambda content: content["points"].pop(0), "point 1 is incomplete"),
        (lambda content: content["points"][1].pop("failed"), "point 2 is incomplete"),
        (lambda content: content.pop("versions"), "'versions'"),
        (lambda content: content["sweep"].pop("sweep"), "no section"),
    ],
)
def test_a_damaged_sweep_says_so(
    result: SweepResult, tmp_path: Path, damage: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    folder = tmp_path / "sweep"
    result.write(ArtefactStore(tmp_path / ".store"), folder)
    content = json.loads((folder / "sweep.json").read_text())
    damage(content)
    (folder / "sweep.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match=f"sweep.json is damaged .*{reason}.*; run the sweep again with --force"):
        SweepResult.load(folder)


def test_a_cut_file_and_one_of_a_newer_version_are_told(result: SweepResult, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    result.write(ArtefactStore(tmp_path / ".store"), folder)
    path = folder / "sweep.json"
    whole = path.read_text()
    path.write_text(whole[:-100])
    with pytest.raises(StoreError, match="is damaged"):
        SweepResult.load(folder)
    path.write_text(json.dumps({**json.loads(whole), "schema": 2}))
    with pytest.raises(
        StoreError, match="was written by a newer version of perturblearn; update it to read this sweep"
    ):
        SweepResult.load(folder)
