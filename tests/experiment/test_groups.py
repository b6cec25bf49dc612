"""Classifiers that train together give what each gives alone, and what is restored is what was there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.values import text
from torch import Tensor

from perturblearn.api import UserObjects, make_experiment
from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import TrainedTwoLayerConfig, resolve_config
from perturblearn.errors import DivergenceError
from perturblearn.experiment import Experiment, SeedGraph
from perturblearn.experiment import learn as learning
from perturblearn.graph import AnyStage, Estimate, Executor, make_plan
from perturblearn.store import ArtefactStore
from perturblearn.training import Job, Outcome, train_side_by_side

TINY: dict[str, Any] = {
    "seeds": [3],
    "data.name": "shifted_gauss",
    "data.n_samples": 40,
    "data.n_heldout": 30,
    "data.input_dim": 12,
    "standard.model.hidden_dim": 8,
    "standard.epochs": 20,
    "standard.lr": [0.3, 0.05],
    "perturbation.model.hidden_dim": 10,
    "perturbation.epochs": 25,
    "perturbation.lr": [0.2, 0.1],
    "attack.epsilon": 0.8,
    "controls.draws": 0,
}
CHANGES: dict[str, dict[str, Any]] = {
    "slope": {"model.slope": 0.2},
    "width": {"model.hidden_dim": 6},
    "loss": {"loss": "exponential"},
    "identity": {"loss": "identity"},
    "epochs": {"epochs": 13},
    "momentum": {"momentum": 0.5},
    "no bias": {"model.name": "one_hidden"},
}


def experiment_of(**changes: Any) -> Experiment:
    return Experiment(resolve_config({}, {**TINY, **changes}))


def changed(section: str, name: str) -> dict[str, Any]:
    return {f"{section}.{key}": value for key, value in CHANGES[name].items()}


def only(experiment: Experiment) -> SeedGraph:
    (stages,) = experiment.seeds.values()
    return stages


def targets(*experiments: Experiment) -> list[AnyStage]:
    return [stage for experiment in experiments for of_seed in experiment.seeds.values() for stage in of_seed.targets]


def execute(store: ArtefactStore | None, *experiments: Experiment) -> Executor:
    executor = Executor(make_plan(targets(*experiments), store), store)
    executor.run()
    return executor


def classifiers(stages: SeedGraph) -> list[AnyStage]:
    return [*stages.standards, *(g for row in stages.perturbations for g in row)]


def test_a_grid_of_learning_rates_is_one_group_per_data() -> None:
    experiment = experiment_of(seeds=[3, 8])
    plan = experiment.plan()
    for stages in experiment.seeds.values():
        for stage in stages.standards:
            assert plan.group(stage) == stages.standards
        # Each f has a perturbed set of its own.
        for row in stages.perturbations:
            for stage in row:
                assert plan.group(stage) == row


@pytest.mark.parametrize("name", CHANGES)
def test_experiments_over_the_same_data_are_one_group(name: str) -> None:
    base = experiment_of()
    of_f, of_g = (experiment_of(**changed(section, name)) for section in ("standard", "perturbation"))
    plan = make_plan(targets(base, of_f, of_g))
    first = only(base)
    assert set(plan.group(first.branches[0].standard)) == {*first.standards, *only(of_f).standards}
    for row in (0, 1):
        assert set(plan.group(first.branches[row].learners[0].perturbation)) == {
            *first.perturbations[row],
            *only(of_g).perturbations[row],
        }


@pytest.mark.parametrize(
    "changes",
    [
        {"standard.form": "plain"},
        {"standard.products": "bfloat16"},
        {"dtype": "float64"},
        {"data.shift": 0.1},
        {"seeds": [4]},
    ],
    ids=str,
)
def test_what_cannot_train_together(changes: dict[str, Any]) -> None:
    base, other = experiment_of(), experiment_of(**changes)
    plan = make_plan(targets(base, other))
    assert plan.group(only(base).branches[0].standard) == only(base).standards
    assert plan.group(only(other).branches[0].standard) == only(other).standards


@pytest.mark.parametrize(
    "changes",
    [
        {"standard.training": "flow", "standard.lr": [0.1, 0.05]},
        {"standard.model.name": "limit", "standard.model.slope": 0.1, "standard.epochs": 300, "standard.lr": 0.5,
         "standard.model.hidden_dim": 100},
    ],
    ids=["flow", "limit"],
)  # fmt: skip
def test_what_is_not_trained_by_descent_is_alone(changes: dict[str, Any]) -> None:
    experiment = experiment_of(**changes)
    plan = experiment.plan()
    for stage in only(experiment).standards:
        assert plan.group(stage) == (stage,)


@pytest.mark.parametrize("source", ["natural", "none"])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.long)])
def test_together_is_as_alone(dtype: str, source: str) -> None:
    keys = {"dtype": dtype, "attack.source": source}
    changes = [changed(section, name) for name in CHANGES for section in ("standard", "perturbation")]
    experiments = [experiment_of(**keys, **change) for change in ({}, *changes)]
    together = execute(None, *experiments)
    assert max(len(together.plan.group(stage)) for stage in together.plan.stages) == 2 * (1 + len(CHANGES))
    # 25 epochs of a few roundings each, of numbers up to 10: 25 * 10 * 2**-24 = 1.5e-5 in float32, and as g is trained
    # on what f leaves, some times more; gates within that of 0 may flip.
    tolerance = 2e-4 if dtype == "float32" else 1e-12
    for experiment in experiments:
        alone = experiment.run()
        for stage in classifiers(only(experiment)):
            one, other = together.result(stage), alone.result(stage)
            assert torch.allclose(one.module.weight, other.module.weight, rtol=0, atol=tolerance)
            assert torch.allclose(one.losses, other.losses, rtol=0, atol=tolerance)
            assert len(one.losses) == one.training["epochs"]
            assert one.final_lr == other.final_lr
        for one, other in zip(experiment.measures(together), experiment.measures(alone), strict=True):
            for row, row_alone in zip(one.grid, other.grid, strict=True):
                for name, value in row.measures.items():
                    assert value is not None
                    # Losses are as smooth as weights; a share may move by a sample whose output is rounded away.
                    slack = 10 * tolerance * max(1, abs(value)) if "loss" in name else 1 / 30
                    assert value == pytest.approx(row_alone.measures[name], rel=0, abs=slack), name


def test_experiments_that_differ_in_epochs_are_one_training(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[tuple[int, list[int]]]] = []

    def note(jobs: Sequence[Job], *arguments: Any, **keys: Any) -> Iterator[tuple[int, Outcome]]:
        calls.append([(job.descent.epochs, sorted(set(job.checkpoints))) for job in jobs])
        return train_side_by_side(jobs, *arguments, **keys)

    monkeypatch.setattr(learning, "train_side_by_side", note)
    execute(None, *(experiment_of(**{"standard.epochs": epochs, "standard.lr": 0.3}) for epochs in (20, 5, 11)))
    # f once for all, and a pair of g for the perturbed set of each.
    assert calls == [[(20, [5, 11, 20])], *[[(25, [25])] * 2] * 3]


def tensors(store: ArtefactStore, stage: AnyStage) -> dict[str, Tensor]:
    return dict(store.read(stage.key).tensors)


@pytest.mark.parametrize("removed", range(6))
def test_a_classifier_that_has_gone_comes_back_bit_by_bit(tmp_path: Path, removed: int) -> None:
    store = ArtefactStore(tmp_path)
    # Several losses and widths over the same data; bare perturbations come with factors.
    experiments = [
        experiment_of(**{"attack.source": "none"}),
        experiment_of(**{"attack.source": "none", "standard.loss": "identity", "perturbation.loss": "identity"}),
        experiment_of(**{"attack.source": "none", "standard.epochs": 11, "perturbation.model.hidden_dim": 6}),
    ]
    execute(store, *experiments)
    for experiment in experiments:
        stage = classifiers(only(experiment))[removed]
        before = store.read(stage.key)
        store.remove(stage.key)
        assert execute(store, *experiments).plan.to_run == (stage,)
        after = store.read(stage.key)
        assert after.content == before.content
        assert after.tensors.keys() == before.tensors.keys()
        assert all(torch.equal(after.tensors[name], tensor) for name, tensor in before.tensors.items())


def test_a_member_that_diverges_leaves_the_rest_finished(tmp_path: Path) -> None:
    store = ArtefactStore(tmp_path)
    wild = experiment_of(**{"standard.lr": [0.3, 1e39, 0.05]})
    with pytest.raises(
        DivergenceError, match=r"standard classifier, lr 1e\+39, seed 3: training diverged at epoch 1 of"
    ):
        execute(store, wild)
    assert [store.has(stage.key) for stage in only(wild).standards] == [True, False, True]
    # The same f in an experiment without the wild rate.
    tame = experiment_of()
    assert not set(only(tame).standards) & set(tame.plan(store).to_run)


FORMS = {"plain": "plain", "row_space": "row space", "low_rank": "low rank", "gram": "Gram"}


def trained(executor: Executor, stage: AnyStage) -> Classifier[TwoLayer]:
    found = executor.result(stage)
    assert isinstance(found, Classifier)
    return found


def test_forms_give_the_same_measures() -> None:
    found = {}
    for form in ("auto", *FORMS):
        forms = {"perturbation.form": form} | ({} if form == "low_rank" else {"standard.form": form})
        experiment = experiment_of(**{"dtype": "float64", "attack.source": "none", "controls.draws": 2, **forms})
        executor = experiment.run()
        stages = only(experiment)
        found[form] = experiment.measures(executor)[0]
        if form != "auto":
            names = [trained(executor, stage).training["form"] for stage in classifiers(stages)]
            assert all(text(name).startswith(FORMS[form]) for name in names[0 if form != "low_rank" else 2 :])
            assert trained(executor, stages.branches[0].learners[0].perturbation).training["form_chosen"] == "asked for"
    for form in FORMS:
        for one, other in zip(found[form].grid, found["plain"].grid, strict=True):
            # 45 epochs of float64 rounding.
            assert one.to_dict() == pytest.approx(other.to_dict(), rel=1e-10)
        # Random directions have no factors: where g is trained in those of its set, they take another form.
        assert found[form].controls == found["plain"].controls


def test_products_in_bfloat16_are_recorded_and_near_the_exact_ones() -> None:
    exact, short = (
        experiment_of(**{f"{section}.products": products for section in ("standard", "perturbation")})
        for products in ("exact", "bfloat16")
    )
    ran = exact.run(), short.run()
    for experiment, executor, products in ((exact, ran[0], "exact"), (short, ran[1], "bfloat16")):
        for stage in classifiers(only(experiment)):
            assert trained(executor, stage).training["products"] == products
    start = initialise(
        TrainedTwoLayerConfig.model_validate(exact.config.standard.model), 12, seed=3, role="standard"
    ).weight.detach()
    for one, other in zip(only(exact).standards, only(short).standards, strict=True):
        expected, found = (trained(ran[i], stage).module.weight.detach() for i, stage in enumerate((one, other)))
        assert not torch.equal(expected, found)
        # A factor is rounded by 2**-9; the gates of 40 samples that flip for it add about as much.
        assert float((found - expected).norm()) < 0.05 * float((expected - start).norm())


def estimate_of(plan_of: Sequence[Experiment], stage: AnyStage) -> Estimate:
    (found,) = (cost for group, cost in make_plan(targets(*plan_of)).estimates() if stage in group)
    return found


def test_estimates_count_one_training_for_epochs_alone() -> None:
    experiments = [experiment_of(**{"standard.epochs": epochs, "standard.lr": 0.3}) for epochs in (20, 5)]
    cost = estimate_of(experiments, only(experiments[0]).branches[0].standard)
    # 4 N d m T in plain products; one after the other both courses would be run.
    assert (cost.operations, cost.unshared) == (4 * 40 * 12 * 8 * 20, 4 * 40 * 12 * 8 * 25)
    assert cost.note.startswith("plain, ")
    assert cost.seconds > 0
    # The inputs, in float32.
    assert cost.memory > 40 * 12 * 4


def test_estimates_know_bare_perturbations_to_be_of_low_rank() -> None:
    experiment = experiment_of(**{"attack.source": "none", "perturbation.form": "low_rank"})
    cost = estimate_of([experiment], only(experiment).branches[0].learners[0].perturbation)
    # q = 8 coordinates for two networks of 10 units, to which 4 q d m operations lead and from which they come back.
    assert cost.operations == 4 * 40 * 8 * 20 * 25 + 4 * 8 * 12 * 20
    assert cost.note == "low rank, asked for"


def test_estimates_count_noise_sources() -> None:
    experiment = experiment_of(**{"attack.source": "gauss", "attack.n_sources": 70, "controls.draws": 3})
    stages = only(experiment)
    assert estimate_of([experiment], stages.branches[0].learners[0].perturbation).unshared == 2 * 4 * 70 * 12 * 10 * 25
    assert estimate_of([experiment], stages.branches[0].standard).unshared == 2 * 4 * 40 * 12 * 8 * 20
    for control in stages.controls.values():
        assert estimate_of([experiment], control).unshared == 3 * 4 * 70 * 12 * 10 * 25


def test_estimates_of_controls_with_inputs_of_their_own() -> None:
    experiment = experiment_of(**{"attack.source": "none", "controls.draws": 3})
    cost = estimate_of([experiment], only(experiment).controls["unperturbed"])
    assert cost.unshared == 3 * 4 * 40 * 12 * 10 * 25
    assert cost.note.startswith("one by one, each plain, ")


def test_estimates_of_low_rank_where_it_is_asked_for() -> None:
    low_rank = {"attack.source": "none", "perturbation.form": "low_rank", "controls.draws": 3}
    experiment = experiment_of(**low_rank)
    controls = only(experiment).controls
    assert estimate_of([experiment], controls["permuted"]).note == "low rank, asked for"
    assert estimate_of([experiment], controls["unperturbed"]).note.startswith("one by one, each plain, ")
    # A limit has two directions.
    limit = {"standard.model.name": "limit", "standard.model.slope": 0.1, "standard.model.hidden_dim": 100}
    experiment = experiment_of(**low_rank, **limit, **{"standard.epochs": 300, "standard.lr": 0.5})
    cost = estimate_of([experiment], only(experiment).branches[0].learners[0].perturbation)
    assert cost.operations == 4 * 40 * 2 * 20 * 25 + 4 * 2 * 12 * 20


def test_estimates_take_data_from_python() -> None:
    inputs = torch.randn(17, 5, generator=torch.Generator().manual_seed(0))
    data = inputs, torch.where(inputs[:, 0] > 0, 1, -1)
    experiment = make_experiment(
        objects=UserObjects(data=data), overrides={"seeds": 1, "standard.epochs": 3, "standard.lr": 0.1}
    )
    stages = only(experiment)
    n_samples = experiment.run().result(stages.data).n_samples
    assert estimate_of([experiment], stages.branches[0].standard).unshared == 4 * n_samples * 5 * 100 * 3


def test_estimates_of_flows_and_limits_are_finite() -> None:
    limit = {"standard.model.name": "limit", "standard.model.slope": 0.1, "standard.model.hidden_dim": 100}
    for keys, word in (
        ({**limit, "standard.epochs": 300, "standard.lr": 0.5}, "limit"),
        ({"standard.training": "flow"}, "plain"),
    ):
        experiment = experiment_of(**keys)
        for _, cost in experiment.plan().estimates():
            assert math.isfinite(cost.seconds)
            assert cost.operations > 0
        assert word in estimate_of([experiment], only(experiment).branches[0].standard).note
