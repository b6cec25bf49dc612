"""Classifiers by descent, by flow and as limits, alone and in whole experiments."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.theory.reference import noise
from torch import Tensor

from perturblearn import learn_from_perturbations
from perturblearn.api import make_experiment
from perturblearn.attacks import input_gradient
from perturblearn.classifiers import Classifier, TwoLayer, initialise
from perturblearn.config import OneStepConfig, TrainedTwoLayerConfig, resolve_config, value_of
from perturblearn.data import load_dataset
from perturblearn.errors import ConfigError, DivergenceError
from perturblearn.experiment import learn as learning
from perturblearn.experiment.learn import TrainingSpec, learn, learn_side_by_side
from perturblearn.perturbed import perturb
from perturblearn.perturbed.sources import draw_sources
from perturblearn.seeding import derive_seed
from perturblearn.theory import GateKernel, cosine_similarity, margin_limit
from perturblearn.training import Descent, Flow, Job, Outcome, train_side_by_side

LIMIT = {"model.name": "limit", "model.slope": 0.05}
FLOW = {
    "training": "flow", "loss": "exponential", "lr": 0.01, "epochs": 100_000, "model.name": "one_hidden",
    "model.slope": 0.05, "model.hidden_dim": 60,
}  # fmt: skip


def both(keys: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "seeds": 2,
        "data.name": "uniform",
        "data.n_samples": 40,
        "data.n_heldout": 40,
        "data.input_dim": 400,
        "attack.source": "uniform",
        "attack.epsilon": 3.0,
        "controls.draws": 2,
        **{f"{stage}.{key}": value for stage in ("standard", "perturbation") for key, value in keys.items()},
        **more,
    }


def quiet(*_: object) -> None:
    pass


def test_each_way_is_the_one_that_is_asked_for() -> None:
    x, y = noise(20, 100, 0)
    for keys in (LIMIT, FLOW, {"model.slope": 0.05, "epochs": 7}):
        config = resolve_config(None, both(keys)).standard
        found = learn(TrainingSpec(config, y, 3, "standard"), x, report=quiet).module.weight
        if not isinstance(config.model, TrainedTwoLayerConfig):
            limit = margin_limit(x, y, slope=0.05)
            expected = torch.stack((limit.w_plus, limit.w_minus))
        else:
            start = initialise(config.model, 100, seed=3, role="standard").double()
            way = Flow("exponential", 0.01, 100_000) if keys is FLOW else Descent("logistic", 0.5, 7)
            expected = way.train(start, x, y).module.weight
        assert torch.equal(found, expected)


@pytest.mark.parametrize("keys", [LIMIT, FLOW, {"model.slope": 0.05, "epochs": 7}], ids=["limit", "flow", "descent"])
def test_side_by_side_is_one_by_one(keys: dict[str, Any]) -> None:
    config = resolve_config(None, both(keys)).standard
    x, _ = noise(20, 100, 0)
    specs = [TrainingSpec(config, noise(20, 100, seed)[1], 3, role) for seed, role in ((0, "a"), (1, "b"), (2, "b"))]
    said: list[tuple[int, int]] = []
    found = dict(learn_side_by_side(specs, x, report=lambda done, steps, _: said.append((done, steps))))
    assert sorted(found) == [0, 1, 2]
    for position, spec in enumerate(specs):
        alone = learn(spec, x, report=quiet)
        # Few epochs or steps of float64 rounding.
        assert torch.allclose(weight(found[position]), alone.module.weight, rtol=1e-9, atol=1e-12)
    assert said
    assert all(done <= steps for done, steps in said)


@pytest.mark.parametrize("keys", [FLOW, {"model.slope": 0.05, "epochs": 7}], ids=["flow", "descent"])
def test_wanted_specs_end_as_among_all(keys: dict[str, Any]) -> None:
    config = resolve_config(None, both(keys)).standard
    x, y = noise(20, 100, 0)
    specs = [TrainingSpec(config, y, 3, role) for role in "abc"]
    whole = dict(learn_side_by_side(specs, x, report=quiet))
    part = dict(learn_side_by_side(specs, x, wanted=[2, 0], report=quiet))
    assert sorted(part) == [0, 2]
    for position, found in part.items():
        assert torch.equal(weight(found), weight(whole[position]))


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Job]]:
    """The jobs of each call of `train_side_by_side`."""
    calls: list[Sequence[Job]] = []

    def note(of_call: Sequence[Job], *arguments: Any, **keys: Any) -> Iterator[tuple[int, Outcome]]:
        calls.append(of_call)
        return train_side_by_side(of_call, *arguments, **keys)

    monkeypatch.setattr(learning, "train_side_by_side", note)
    return calls


def test_specs_that_differ_in_epochs_alone_are_one_training(jobs: list[Sequence[Job]]) -> None:
    config = resolve_config(None, both({"model.slope": 0.05})).standard
    x, y = noise(20, 100, 0)

    def spec(epochs: int, *, labels: Tensor = y, role: str = "a", **keys: Any) -> TrainingSpec:
        return TrainingSpec(config.model_copy(update={"epochs": epochs, **keys}), labels, 3, role)

    # 5, 2 and 9 epochs of one training; a learning rate, a role and labels of their own make trainings of their own.
    specs = [spec(5), spec(2, lr=(0.1,)), spec(2), spec(9), spec(5, role="b"), spec(5, labels=-y)]
    found = dict(learn_side_by_side(specs, x, report=quiet))
    (of_call,) = jobs
    assert [(job.descent.epochs, sorted(job.checkpoints)) for job in of_call] == [
        (9, [2, 5, 9]),
        (2, [2]),
        (5, [5]),
        (5, [5]),
    ]
    for position, spec_of in enumerate(specs):
        classifier = found[position]
        alone = learn(spec_of, x, report=quiet)
        # At most 9 epochs of float64 rounding.
        assert torch.allclose(weight(classifier), alone.module.weight, rtol=0, atol=1e-12)
        assert isinstance(classifier, Classifier)
        assert classifier.training["epochs"] == len(classifier.losses) == value_of(spec_of.config, "epochs")
        assert classifier.final_lr == alone.final_lr


def test_a_shorter_training_survives_a_longer_one_that_diverges() -> None:
    # The first step is as long as lr: 1e30 is finite in float32, and the margin of -1e30 that it brings has no exp.
    config = resolve_config(None, both({"loss": "exponential", "lr": 1e30})).standard
    x, y = noise(20, 100, 0)
    # A label that nothing else speaks for: the same sample with both signs.
    x, y = torch.cat((x, x[:1])).float(), torch.cat((y, -y[:1]))
    specs = [TrainingSpec(config.model_copy(update={"epochs": epochs}), y, 3, "a") for epochs in (300, 1)]
    found = dict(learn_side_by_side(specs, x, report=quiet))
    assert isinstance(found[0], DivergenceError)
    assert torch.equal(weight(found[1]), learn(specs[1], x, report=quiet).module.weight)
    with pytest.raises(DivergenceError, match=r"diverged at epoch 1 of 300 with learning rate 1e\+30"):
        learn(specs[0], x, report=quiet)


def weight(found: object) -> Tensor:
    assert isinstance(found, Classifier), found
    return found.module.weight


def test_the_linear_method_reaches_the_limit() -> None:
    x, y = noise(20, 100, 0)
    config = resolve_config(None, both({**LIMIT, "model.method": "linear"})).standard
    found = learn(TrainingSpec(config, y, 0, "standard"), x, report=quiet)
    assert found.training["limit"] == "linear"
    assert torch.equal(found.module.weight[0], margin_limit(x, y, slope=0.05, method="linear").w_plus)


WAYS: list[dict[str, Any]] = [
    both(LIMIT, **{"attack.name": "geometry"}),
    both(LIMIT, **{"attack.name": "one_step"}),
    both(
        {**LIMIT, "model.method": "linear"},
        **{"attack.name": "geometry", "attack.norm": "linf", "attack.epsilon": 0.2},
    ),
    both(LIMIT, **{"attack.name": "geometry", "attack.norm": "l0", "attack.pixels": 40}),
    both(FLOW, **{"attack.name": "radial_pgd", "attack.steps": 10}),
    both(FLOW, **{"attack.name": "one_step", "standard.exact_epochs": 10, "perturbation.target_loss": 0.01}),
]  # fmt: skip


@pytest.mark.parametrize("keys", WAYS, ids=["q", "step", "linear linf", "l0", "pgd", "flow step"])
def test_g_learns_f_s_samples_in_a_whole_experiment(keys: dict[str, Any]) -> None:
    result = learn_from_perturbations(overrides=keys)
    # 80 samples: guessing has a standard error of 0.056; perturbations three times as long as the boundary asks for.
    assert result.summary["perturbation_accuracy"]["mean"] > 0.75
    assert abs(result.summary["unperturbed_control"]["mean"] - 0.5) < 0.2
    assert result.summary["standard_accuracy"]["mean"] == 1
    assert "the clean samples of f" in result.conclusion
    assert learn_from_perturbations(overrides=keys).summary == result.summary


def test_a_searched_set_is_kept_and_found_again(tmp_path: Path) -> None:
    keys = WAYS[4]
    first = learn_from_perturbations(overrides=keys, out=tmp_path)
    assert first.folder is not None
    kept = load_file(first.folder / "seed-0" / "perturbed.safetensors")["inputs"]
    shutil.rmtree(first.folder)
    ran: list[str] = []
    again = learn_from_perturbations(
        overrides=keys, out=tmp_path, watch=lambda progress: ran.append(progress.stage.kind)
    )
    # It is put together again to be exported, of shards that are kept.
    assert "perturbed set" in ran
    assert "shard of a perturbed set" not in ran
    assert again.summary == first.summary
    assert torch.equal(load_file(first.folder / "seed-0" / "perturbed.safetensors")["inputs"], kept)
    # More control draws start from the stored set, or from its sources.
    more = learn_from_perturbations(overrides={**keys, "controls.draws": 3}, out=tmp_path)
    name = "unperturbed_control"
    assert more.summary[name]["values"][:2] == pytest.approx(first.summary[name]["values"][:2])


@pytest.mark.parametrize("keys", [WAYS[0], WAYS[5]], ids=["limit", "flow"])
def test_a_run_without_its_folder_comes_from_the_store(keys: dict[str, Any], tmp_path: Path) -> None:
    first = learn_from_perturbations(overrides=keys, out=tmp_path)
    assert first.folder is not None
    shutil.rmtree(first.folder)
    ran: list[str] = []
    again = learn_from_perturbations(
        overrides=keys, out=tmp_path, watch=lambda progress: ran.append(progress.stage.label)
    )
    assert (again.summary, again.seeds) == (first.summary, first.seeds)
    assert again.summary == learn_from_perturbations(overrides=keys).summary
    # A one-step set is made again to be exported, for it is not stored.
    assert not [label for label in ran if "classifier" in label or "control" in label]


def test_f_in_an_experiment_is_the_limit_of_its_data() -> None:
    experiment = make_experiment(overrides={**WAYS[0], "dtype": "float64"})
    ran = experiment.run()
    for seed, stages in experiment.seeds.items():
        data = load_dataset(experiment.config.data, seed=seed).to(dtype=torch.float64)
        limit = margin_limit(data.inputs, data.labels, slope=0.05)
        f = ran.result(stages.branches[0].standard)
        assert isinstance(f.module, TwoLayer)
        assert torch.equal(f.module.weight, limit.classifier.module.weight)
        perturbed = ran.result(stages.branches[0].perturbed)
        # Along the boundary's normal, 3 long; u + r - u loses some 1e-16.
        steps = 3 * perturbed.target_labels[:, None] * limit.normal / limit.normal.norm()
        assert torch.allclose(perturbed.perturbations, steps, rtol=0, atol=1e-14)


@pytest.mark.parametrize("source", ["none", "natural", "gauss"])
def test_cosine_similarity_as_a_measure(source: str, tmp_path: Path) -> None:
    keys = {
        "seeds": [5], "data.name": "shifted_gauss", "data.n_samples": 30, "data.n_heldout": 20, "data.input_dim": 15,
        "standard.lr": [0.5, 0.01], "standard.epochs": 10, "perturbation.epochs": 3, "standard.model.slope": 0.1,
        "attack.source": source, "controls.draws": 0, "dtype": "float64", "measures.cosine_similarity": True,
    }  # fmt: skip
    result = learn_from_perturbations(overrides=keys, out=tmp_path)
    assert result.folder is not None
    kept = load_file(result.folder / "seed-5" / "perturbed.safetensors")
    data = load_dataset(result.config.data, seed=5)
    x, y = data.inputs.double(), data.labels
    measures = result.seeds[0].measures
    # The noise is not kept, but drawn again from its seed.
    drawn = draw_sources(
        OneStepConfig(source=source), data, heldout=False, count=30, seed=derive_seed(5, "sources", "training")
    )
    at = drawn.points.double()
    cosines = cosine_similarity(x, y, kept["inputs"] - drawn.inputs.double(), kernel=GateKernel(0.1, bias=True), at=at)
    # u + r - u loses some 1e-16 of u, and perturbations are of length 1.
    assert measures["cosine_similarity"] == pytest.approx(cosines.abs().mean().item(), abs=1e-12)
    signed = (kept["target_labels"] * cosines).mean().item()
    assert measures["cosine_similarity_signed"] == pytest.approx(signed, abs=1e-12)
    grid = [row.measures["cosine_similarity"] for row in result.seeds[0].grid]
    assert measures["cosine_similarity_max"] == max(grid)
    assert len(set(grid)) == 2
    # sqrt(2 / (pi d)), which at d = 15 is 2 % below the exact mean.
    assert measures["cosine_similarity_random"] == pytest.approx((2 / (torch.pi * 15)) ** 0.5, rel=0.03)


def test_without_the_measure_nothing_of_it_is_computed() -> None:
    result = learn_from_perturbations(overrides={"seeds": 1, "controls.draws": 0, "standard.epochs": 3})
    assert not any("cosine" in name for name in result.summary)


def test_the_papers_setting_without_training() -> None:
    keys = {
        "seeds": 1, "data.name": "uniform", "data.input_dim": 10_000, "data.n_samples": 1000, "data.n_heldout": 20,
        "attack.name": "geometry", "attack.epsilon": 0.78, "attack.source": "uniform", "controls.draws": 0,
        **{
            f"{stage}.model.{key}": value
            for stage in ("standard", "perturbation")
            for key, value in {"name": "limit", "slope": 0.01, "method": "linear"}.items()
        },
    }  # fmt: skip
    found = learn_from_perturbations(overrides=keys).summary["perturbation_accuracy"]["mean"]
    # 0.90 over three seeds, with a standard deviation of 0.01; the paper's figure has 0.91.
    assert found == pytest.approx(0.90, abs=0.03)


def test_g_of_bare_perturbations_of_a_limit_has_no_limit() -> None:
    with pytest.raises(ConfigError, match="multiples of a few directions"):
        resolve_config(None, both(LIMIT, **{"attack.name": "geometry", "attack.source": "none"}))


def test_noise_outside_the_range_of_the_data_is_not_clipped_in_silence() -> None:
    keys = both({"epochs": 3}, **{"attack.name": "radial_pgd", "attack.source": "gauss", "seeds": 1})
    with pytest.raises(ConfigError, match=r"outside the data's range -1 to 1, to which the attack clips"):
        learn_from_perturbations(overrides=keys)


def test_a_search_that_stays_is_no_zero_gradient() -> None:
    keys = {
        "data.name": "gauss", "data.n_samples": 200, "data.input_dim": 3, "standard.model.hidden_dim": 5,
        "standard.epochs": 200, "attack.name": "radial_pgd", "attack.steps": 1, "attack.epsilon": 20.0,
    }  # fmt: skip
    config = resolve_config(None, keys)
    data = load_dataset(config.data, seed=0)
    f = learn(TrainingSpec(config.standard, data.labels, 0, "standard"), data.inputs, report=quiet)
    found = perturb(f, data, config.attack, seed=0)
    stayed = int((found.perturbations == 0).all(dim=1).sum())
    flat = int((input_gradient(f.module, data.inputs) == 0).all(dim=1).sum())
    assert found.zero_gradients == flat < stayed
