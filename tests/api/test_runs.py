"""Many runs as one piece of work: what comes of each, what is kept, and what an interruption or a failure leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perturblearn import learn_from_perturbations
from perturblearn.api.options import RunOptions
from perturblearn.api.runs import PreparedRuns
from perturblearn.api.stores import artefact_store
from perturblearn.config import Keep, resolve_config
from perturblearn.experiment import Experiment, Outcome, Point
from perturblearn.graph import Progress
from perturblearn.store import RecordStore

BASE: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "gauss", "input_dim": 6, "n_samples": 20, "n_heldout": 10},
    "standard": {"epochs": 4, "model": {"hidden_dim": 4}},
    "perturbation": {"epochs": 4, "model": {"hidden_dim": 4}},
    "controls": {"draws": 1},
}


def point(seeds: int | list[int] = 2, **keys: Any) -> Point:
    values = {name.replace("__", "."): value for name, value in keys.items()}
    return Point(values, resolve_config(BASE, {"seeds": seeds, **values}))


POINTS = [point(attack__epsilon=epsilon) for epsilon in (0.25, 0.5)]


def records(out: Path) -> RecordStore:
    return RecordStore(artefact_store(out).folder / "records.sqlite3")


def stored(out: Path) -> dict[str, int]:
    """How many results of each kind lie in the store."""
    found: dict[str, int] = {}
    for path in artefact_store(out).folder.glob("artefacts/*/*/artefact.json"):
        kind = json.loads(path.read_text())["origin"]["kind"]
        found[kind] = found.get(kind, 0) + 1
    return found


@pytest.mark.parametrize("in_memory", [True, False])
def test_runs_measure_what_each_measures_alone(tmp_path: Path, in_memory: bool) -> None:
    outcomes = PreparedRuns("both", POINTS).run(RunOptions(out=None if in_memory else tmp_path))
    assert [(outcome.point, outcome.seed) for outcome in outcomes] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for each, of_point in ((POINTS[0], outcomes[:2]), (POINTS[1], outcomes[2:])):
        alone = learn_from_perturbations(each.config, overrides={"measures.attribution": False})
        assert [outcome.measured for outcome in of_point] == alone.seeds
        assert all(outcome.error is None for outcome in of_point)


def test_every_run_has_a_record_and_all_have_one_together(tmp_path: Path) -> None:
    many = PreparedRuns("both", POINTS, request={"what": "was asked"})
    outcomes = many.run(RunOptions(out=tmp_path))
    found = {record.key: record for record in records(tmp_path).all()}
    assert set(found) == {outcome.key for outcome in outcomes}
    for outcome in outcomes:
        record = found[outcome.key]
        assert (record.name, record.state, record.folder, record.error) == ("tiny", "finished", None, None)
        assert record.result is not None
        assert outcome.measured is not None
        assert record.result["seeds"] == [outcome.measured.to_dict()]
        assert record.config["seeds"] == [outcome.seed]
        assert len(record.seconds) >= 5
        assert record.versions["perturblearn"]
    (together,) = records(tmp_path).collections()
    assert (together.key, together.name, together.state) == (many.key, "both", "finished")
    assert together.runs == tuple(outcome.key for outcome in outcomes)
    assert together.config == {"what": "was asked"}


def test_the_key_of_a_run_is_that_of_the_experiment_alone(tmp_path: Path) -> None:
    outcomes = PreparedRuns("one", [point(seeds=[3])]).run(RunOptions())
    assert outcomes[0].key == Experiment(resolve_config(BASE, {"seeds": [3]})).key


@pytest.mark.parametrize("keep", ["measures", "weights", "all"])
def test_what_is_kept(tmp_path: Path, keep: Keep) -> None:
    searched = point(seeds=[0], attack__name="pgd", attack__steps=2)
    PreparedRuns("kept", [searched], keep=keep).run(RunOptions(out=tmp_path))
    kept = stored(tmp_path)
    classifiers = [kept.pop(f"{role} classifier", 0) for role in ("standard", "perturbation")]
    assert sum(classifiers) == (0 if keep == "measures" else 2)
    assert kept.pop("shard of a perturbed set", 0) == (2 if keep == "all" else 0)
    assert kept == {"standard measures": 1, "perturbation measures": 1, "selection": 1, "control": 2}


def test_weights_that_were_not_kept_are_made_when_they_are_wanted(tmp_path: Path) -> None:
    first = PreparedRuns("kept", POINTS).run(RunOptions(out=tmp_path))
    again = PreparedRuns("kept", POINTS, keep="weights").run(RunOptions(out=tmp_path))
    assert again == first
    # Two seeds' f, which epsilons share, and g for each epsilon.
    assert [stored(tmp_path)[f"{role} classifier"] for role in ("standard", "perturbation")] == [2, 4]


def test_finished_runs_are_not_repeated(tmp_path: Path) -> None:
    first = PreparedRuns("both", POINTS).run(RunOptions(out=tmp_path))
    seen: list[Progress] = []
    assert PreparedRuns("both", POINTS).run(RunOptions(out=tmp_path, watch=seen.append)) == first
    assert seen == []
    more = PreparedRuns("three", [*POINTS, point(attack__epsilon=1.0)]).run(RunOptions(out=tmp_path, watch=seen.append))
    assert more[:4] == first
    assert {
        progress.stage.drawn_with for progress in seen if progress.finished and progress.stage.drawn_with is not None
    } == {0, 1}
    assert {together.name for together in records(tmp_path).collections()} == {"both", "three"}
    again = PreparedRuns("both", POINTS).run(RunOptions(out=tmp_path, force=True, watch=seen.append))
    assert again == first
    assert len([progress for progress in seen if progress.finished]) > 20


def test_a_run_that_is_asked_for_twice_runs_once(tmp_path: Path) -> None:
    outcomes = PreparedRuns("twice", [POINTS[0], POINTS[0]]).run(RunOptions(out=tmp_path))
    assert [outcome.point for outcome in outcomes] == [0, 0, 1, 1]
    assert [outcome.measured for outcome in outcomes[:2]] == [outcome.measured for outcome in outcomes[2:]]
    assert len(records(tmp_path).all()) == 2


DIVERGES = {"standard.lr": 1e30, "standard.loss": "exponential", "standard.epochs": 50}


def failing() -> list[Point]:
    return [POINTS[0], Point({}, resolve_config(BASE, {"seeds": 1, **DIVERGES})), POINTS[1]]


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_run_that_fails_keeps_its_error_and_the_others_go_on(tmp_path: Path, in_memory: bool) -> None:
    outcomes = PreparedRuns("failing", failing()).run(RunOptions(out=None if in_memory else tmp_path))
    bad = outcomes[2]
    assert bad.measured is None
    assert bad.error is not None
    assert "standard classifier, lr 1e+30, seed 0" in bad.error
    good = [outcome for outcome in outcomes if outcome is not bad]
    assert [outcome.measured for outcome in good] == [
        outcome.measured for outcome in PreparedRuns("good", POINTS).run(RunOptions())
    ]
    if not in_memory:
        record = records(tmp_path).read(bad.key)
        assert record is not None
        assert (record.state, record.error, record.result) == ("failed", bad.error, None)
        assert records(tmp_path).collections()[0].state == "failed"


def test_a_failed_run_is_repeated_only_when_that_is_asked(tmp_path: Path) -> None:
    first = PreparedRuns("failing", failing()).run(RunOptions(out=tmp_path))
    seen: list[Progress] = []
    assert PreparedRuns("failing", failing()).run(RunOptions(out=tmp_path, watch=seen.append)) == first
    assert seen == []
    assert PreparedRuns("failing", failing()).run(RunOptions(out=tmp_path, retry=True, watch=seen.append)) == first
    assert "standard classifier, lr 1e+30" in {progress.stage.label for progress in seen}
    assert {progress.stage.label for progress in seen if progress.finished} == {"data gauss"}


def test_an_interruption_keeps_what_was_finished(tmp_path: Path) -> None:
    undisturbed = PreparedRuns("both", POINTS).run(RunOptions())
    finished: list[str] = []

    def watch(progress: Progress) -> None:
        if progress.finished and progress.stage.kind == "control":
            finished.append(progress.stage.key)
            if len(finished) == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PreparedRuns("both", POINTS).run(RunOptions(out=tmp_path, watch=watch))
    assert records(tmp_path).collections()[0].state == "interrupted"
    there = {record.key for record in records(tmp_path).all()}
    assert there
    assert there < {outcome.key for outcome in undisturbed}
    assert PreparedRuns("both", POINTS).run(RunOptions(out=tmp_path)) == undisturbed
    assert records(tmp_path).collections()[0].state == "finished"


def test_a_resumed_run_trains_in_the_company_it_would_have_had(tmp_path: Path) -> None:
    # Learning rates and epochs over the same inputs train side by side; numbers follow from the whole group.
    points = [point(seeds=[0], standard__lr=lr, standard__epochs=epochs) for lr in (0.1, 0.7) for epochs in (3, 9)]
    undisturbed = PreparedRuns("group", points).run(RunOptions())
    for lost in range(len(points)):
        out = tmp_path / str(lost)
        most = [each for number, each in enumerate(points) if number != lost]
        PreparedRuns("most", most).run(RunOptions(out=out))
        assert [outcome.error for outcome in PreparedRuns("group", points).run(RunOptions(out=out))] == [None] * 4
    out = tmp_path / "resumed"
    PreparedRuns("group", points).run(RunOptions(out=out))
    forget(out, undisturbed[1])
    assert PreparedRuns("group", points).run(RunOptions(out=out)) == undisturbed


def forget(out: Path, outcome: Outcome) -> None:
    """Lose a run's record and measures, as an interruption does."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(records(out).path)) as connection, connection:
        connection.execute("DELETE FROM runs WHERE key = ?", [outcome.key])
    (experiment,) = (each for each in PreparedRuns("", [point(seeds=[0], standard__lr=0.1, standard__epochs=9)]).runs)
    store = artefact_store(out)
    for stage in experiment[1].seeds[0].measured:
        store.remove(stage.key)
    for stage in [branch.measures for branch in experiment[1].seeds[0].branches]:
        store.remove(stage.key)


def test_a_record_of_a_single_run_stays_as_it_is(tmp_path: Path) -> None:
    config = POINTS[0].config.model_copy(update={"seeds": (0,)})
    single = learn_from_perturbations(config, out=tmp_path)
    PreparedRuns("both", POINTS, keep="weights").run(RunOptions(out=tmp_path))
    record = records(tmp_path).read(single.key)
    assert record is not None
    assert single.folder is not None
    assert record.folder == single.folder.name
