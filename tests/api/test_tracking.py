"""Trackers hold the numbers of the result, in the files that they write."""

# None of the trackers need be installed.
# pyright: reportMissingImports=false
from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.commands import DEEP, TINY

import perturblearn
from perturblearn.api.trackers import TrackedRun
from perturblearn.api.tracking import tracker_names
from perturblearn.cli.arguments import split_arguments
from perturblearn.errors import ConfigError

OVERRIDES = {**split_arguments(TINY)[1], "seeds": 2}
SWEEP = {"name": "digits", "sweep": {"grid": {"attack.epsilon": [0.2, 0.5]}}}
Metrics = dict[str, dict[str, dict[int, float]]]
"""By name of the run and of the number, its value at each step."""
WANDB_BLOCK, WANDB_HEADER = 32768, 7
"""A file of wandb has a header, and records as LevelDB's log has them, in blocks."""


def read_tensorboard(out: Path) -> Metrics:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    found: Metrics = {}
    for folder in (out / "tracking/tensorboard").iterdir():
        events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
        found[folder.name.rpartition("-")[0]] = {
            name: {event.step: make_ndarray(event.tensor_proto).item() for event in events.Tensors(name)}
            for name in events.Tags()["tensors"]
            if not name.endswith("/text_summary")
        }
    return found


def read_mlflow(out: Path) -> Metrics:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{out.absolute() / 'tracking/mlflow.db'}")
    experiment = client.get_experiment_by_name("perturblearn")
    assert experiment is not None
    found: Metrics = {}
    for run in client.search_runs([experiment.experiment_id]):
        assert run.info.status == "FINISHED"
        assert run.info.run_name not in found
        found[run.info.run_name] = {
            name: {point.step: point.value for point in client.get_metric_history(run.info.run_id, name)}
            for name in run.data.metrics
        }
    return found


def read_wandb(out: Path) -> Metrics:
    from wandb.proto.wandb_internal_pb2 import Record

    found: Metrics = {}
    for path in (out / "tracking/wandb").glob("offline-run-*/*.wandb"):
        name, values = "", {}
        for content in wandb_records(path.read_bytes()):
            record = Record.FromString(content)
            if record.HasField("run"):
                name = record.run.display_name
            if record.HasField("history"):
                row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                for key in row.keys() - {"_step", "_timestamp", "_runtime"}:
                    values.setdefault(key, {})[row["_step"]] = row[key]
            if record.HasField("summary"):
                for item in record.summary.update:
                    key = item.key or item.nested_key[0]
                    if key.endswith(("_mean", "_std")):
                        values[key] = {0: json.loads(item.value_json)}
        assert name not in found
        found[name] = values
    return found


def wandb_records(content: bytes) -> Iterator[bytes]:
    place, record = WANDB_HEADER, b""
    while place + WANDB_HEADER <= len(content):
        if WANDB_BLOCK - place % WANDB_BLOCK < WANDB_HEADER:  # the rest of a block is too short for a header
            place += WANDB_BLOCK - place % WANDB_BLOCK
        length, kind = struct.unpack_from("<HB", content, place + 4)
        record += content[place + WANDB_HEADER : place + WANDB_HEADER + length]
        place += WANDB_HEADER + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield record
            record = b""


READERS: dict[str, Callable[[Path], Metrics]] = {
    "tensorboard": read_tensorboard,
    "mlflow": read_mlflow,
    "wandb": read_wandb,
}


@pytest.fixture(params=READERS)
def tracker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tracker that is installed, and told to write files."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed", exc_type=ImportError)
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return request.param


pytestmark = pytest.mark.filterwarnings(
    # Warnings of trackers and of what they import cannot be corrected here.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::UserWarning:(?!perturblearn)",
)


def test_a_run_s_tracker_holds_the_numbers_of_result_json(tracker: str, tmp_path: Path) -> None:
    keywords: dict[str, Any] = {"overrides": OVERRIDES, "out": tmp_path, "report": False, "track": tracker}
    result = perturblearn.learn_from_perturbations(**keywords)
    perturblearn.learn_from_perturbations(**keywords)  # is not tracked twice
    assert result.folder is not None
    content = json.loads((result.folder / "result.json").read_text(encoding="utf-8"))
    ((name, found),) = READERS[tracker](tmp_path).items()
    assert name == content["name"]
    for of_seed in content["seeds"]:
        expected = {name: value for name, value in of_seed["measures"].items() if value is not None}
        assert {name: found[name][of_seed["seed"]] for name in expected} == expected
    for measure, summary in content["summary"].items():
        for statistic in ("mean", "std"):
            if summary[statistic] is not None:
                assert found[f"{measure}_{statistic}"] == {0: summary[statistic]}
    assert set(found) >= {"agreement", "permuted_control_heldout", "standard_lr", "agreement_mean"}


def test_a_sweep_s_tracker_holds_the_numbers_of_every_point(tracker: str, tmp_path: Path) -> None:
    result = perturblearn.sweep(SWEEP, overrides=OVERRIDES, out=tmp_path, track=[tracker])
    found = READERS[tracker](tmp_path)
    assert sorted(found) == ["digits 1", "digits 2"]
    for point in result.table:
        of_point = found[f"digits {point.number}"]
        assert of_point["agreement_mean"] == {0: point.spread("agreement").mean}
        runs = [run for run in result.runs if run.point == point.number]
        assert of_point["agreement"] == {run.seed: run.numbers["agreement"] for run in runs}


def test_every_combination_of_an_audit_is_tracked_under_a_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken: list[TrackedRun] = []
    monkeypatch.setattr("perturblearn.api.tracking.find_spec", lambda _: "installed")
    monkeypatch.setattr("perturblearn.api.tracking.TRACKERS", {"wandb": lambda runs, _: taken.extend(runs)})
    keys = split_arguments(DEEP)[1]
    kept = {name: value for name, value in keys.items() if ".model." not in name}
    learners = {"mlp": {"model.hidden_dim": 8}}
    audit = perturblearn.audit(
        "mlp", epsilons={"l2": [0.5, 1.0]}, learners=learners, train=True, overrides=kept, out=tmp_path, track="wandb"
    )
    assert [run.name for run in taken] == ["audit mlp l2 0.5", "audit mlp l2 1"]
    assert len({run.key for run in taken}) == 2
    for cell, run in zip(audit.cells, taken, strict=True):
        assert run.settings["attack.epsilon"] == cell.config.attack.epsilon
        assert run.seeds[0]["agreement"] == cell.seeds[0].measures["agreement"]
        assert run.summary["agreement_mean"] == cell.summary["agreement"]["mean"]


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(ConfigError, match="track has 'tensorbord', but a tracker is one of tensorboard, mlflow, wandb"):
        tracker_names("tensorbord")


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perturblearn.api.tracking.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"track has 'mlflow', .* pip install 'perturblearn\[mlflow\]'"):
        perturblearn.learn_from_perturbations(track="mlflow")


def test_tracking_takes_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perturblearn.api.tracking.find_spec", lambda _: "installed")
    with pytest.raises(ConfigError, match="track names wandb, but nothing is written"):
        perturblearn.learn_from_perturbations(track="wandb")


def test_a_tracker_that_fails_loses_no_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr("perturblearn.api.tracking.find_spec", lambda _: "installed")
    monkeypatch.setattr("perturblearn.api.tracking.TRACKERS", {"mlflow": fail})
    with pytest.warns(UserWarning, match=r"mlflow could not take the result \(no server\)"):
        result = perturblearn.learn_from_perturbations(overrides=OVERRIDES, out=tmp_path, track="mlflow", report=False)
    assert result.folder is not None
    assert (result.folder / "result.json").is_file()
