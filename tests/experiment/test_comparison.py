"""A comparison with theory against the same numbers by hand, from a run's own weights and sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from perturblearn.classifiers import Classifier, initialise
from perturblearn.config import DescentConfig, TrainedTwoLayerConfig, resolve_config
from perturblearn.data import load_dataset
from perturblearn.experiment import COMPARISONS, Case, Comparison, Experiment, agreement
from perturblearn.experiment.case import descent_rates
from perturblearn.experiment.comparison import compare
from perturblearn.experiment.maps import draw_map, dump_map, load_map
from perturblearn.perturbed import perturb
from perturblearn.store import ArtefactStore
from perturblearn.theory import (
    GateKernel,
    cosine_similarity,
    empirical_kernel,
    full_perturbation_prediction,
    lazy_prediction,
    margin_limit,
    perturbation_direction,
    perturbation_prediction,
    standard_prediction,
    training_time,
)
from perturblearn.training import Descent, Flow

KERNEL, TANGENT = GateKernel(0.1), GateKernel(0.1, trained_bias=True)
WIDE: dict[str, Any] = {
    "seeds": 1,
    "dtype": "float64",
    "data.name": "shifted_gauss",
    "data.n_samples": 40,
    "data.n_heldout": 50,
    "data.input_dim": 12,
    "standard.loss": "identity",
    "standard.epochs": 20,
    "standard.lr": 0.05,
    "standard.model.hidden_dim": 60,
    "standard.model.slope": 0.1,
    "attack.epsilon": 0.3,
    "perturbation.loss": "identity",
    "perturbation.epochs": 30,
    "perturbation.lr": 0.02,
    "perturbation.model.hidden_dim": 60,
    "perturbation.model.slope": 0.1,
}
NARROW: dict[str, Any] = {
    "seeds": 1,
    "dtype": "float64",
    "data.name": "uniform",
    "data.n_samples": 30,
    "data.n_heldout": 200,
    "data.input_dim": 600,
    "attack.name": "geometry",
    "attack.source": "uniform",
    "attack.n_sources": 40,
    "attack.epsilon": 1.0,
    **{
        f"{stage}.model.{key}": value
        for stage in ("standard", "perturbation")
        for key, value in {"name": "limit", "slope": 0.05}.items()
    },
}


def case_of(keys: dict[str, Any], seed: int = 0) -> Case:
    """A case whose classifiers are trained here, by the trainers themselves."""
    config = resolve_config(None, keys)
    data = load_dataset(config.data, seed=seed).to(dtype=torch.float64)
    f = learn(config.standard, data.inputs, data.labels, "standard", seed)
    perturbed = perturb(f, data, config.attack, seed=seed)
    g = learn(config.perturbation, perturbed.inputs, perturbed.target_labels, "perturbation", seed)
    return Case(config, seed, data, f, g, perturbed, config.standard.lr[0], config.perturbation.lr[0])


def learn(section: Any, inputs: Tensor, labels: Tensor, role: str, seed: int) -> Classifier:
    if section.model.name == "limit":
        return margin_limit(inputs, labels, slope=section.model.slope).classifier
    network = initialise(section.model, inputs.shape[1], seed=seed, role=role).to(inputs)
    if section.training == "flow":
        return Flow(section.loss, section.lr[0], section.epochs).train(network, inputs, labels)
    return Descent(section.loss, section.lr[0], section.epochs).train(network, inputs, labels)


@pytest.fixture(scope="module")
def wide() -> tuple[Case, Comparison]:
    case = case_of(WIDE)
    return case, compare(case)


def test_predictions_of_a_network_with_bias(wide: tuple[Case, Comparison]) -> None:
    case, found = wide
    data, targets = case.data, case.perturbed.target_labels
    z = data.heldout_inputs
    f, g = case.standard.outputs(z), case.perturbation.outputs(z)
    fhat = standard_prediction(data.inputs, data.labels, z, kernel=KERNEL)
    ghat = perturbation_prediction(data.inputs, data.labels, case.perturbed.inputs, z, kernel=KERNEL)
    full = full_perturbation_prediction(
        case.perturbed.inputs, targets, perturbation_direction(data.inputs, data.labels, kernel=KERNEL), z,
        epsilon=0.3, sources=data.inputs, kernel=TANGENT,
    )  # fmt: skip
    expected = {
        "standard_sign_agreement": agreement(f, fhat),
        "standard_sign_agreement_bias": agreement(f, standard_prediction(data.inputs, data.labels, z, kernel=TANGENT)),
        "perturbation_sign_agreement": agreement(g, ghat),
        "perturbation_sign_agreement_full": agreement(g, full),
        "standard_correlation": torch.corrcoef(torch.stack((f, fhat)))[0, 1].item(),
        "perturbation_correlation": torch.corrcoef(torch.stack((g, ghat)))[0, 1].item(),
    }
    cosines = cosine_similarity(data.inputs, data.labels, case.perturbed.perturbations, kernel=KERNEL)
    expected["cosine_similarity"] = cosines.abs().mean().item()
    expected["cosine_similarity_signed"] = (targets * cosines).mean().item()
    for name, value in expected.items():
        assert found.numbers[name] == pytest.approx(value, abs=1e-9), name
    assert torch.allclose(found.cosines, targets * cosines, atol=1e-12)
    assert {name: tuple(values.shape) for name, values in found.outputs.items()} == dict.fromkeys(
        ("f", "fhat", "g", "ghat"), (50,)
    )


def test_the_lazy_functions_start_where_the_networks_started(wide: tuple[Case, Comparison]) -> None:
    case, found = wide
    z = case.data.heldout_inputs
    for role, inputs, labels, lr, epochs, outputs in (
        ("standard", case.data.inputs, case.data.labels, 0.05, 20, case.standard.outputs(z)),
        ("perturbation", case.perturbed.inputs, case.perturbed.target_labels, 0.02, 30, case.perturbation.outputs(z)),
    ):
        model = TrainedTwoLayerConfig.model_validate(case.config.standard.model)
        start = Classifier(initialise(model, 12, seed=0, role=role).double()).outputs(z)
        # The identity loss falls all the way, so the plateau rule never cuts the rate.
        time = training_time(lr, epochs)
        lazy = lazy_prediction(inputs, labels, z, kernel=TANGENT, time=time, initial=start)
        assert found.numbers[f"{role}_sign_agreement_time"] == pytest.approx(agreement(outputs, lazy))


def test_kernel_drift_is_that_of_the_networks(wide: tuple[Case, Comparison]) -> None:
    case, found = wide
    before = empirical_kernel(
        initialise(
            TrainedTwoLayerConfig.model_validate(case.config.standard.model), 12, seed=0, role="standard"
        ).double(),
        case.data.inputs,
    )
    after = empirical_kernel(case.standard.module, case.data.inputs)
    drift = ((after - before).norm() / before.norm()).item()
    assert found.numbers["standard_kernel_drift"] == pytest.approx(drift, rel=1e-9)


def test_what_does_not_apply_is_missing_with_a_reason(wide: tuple[Case, Comparison]) -> None:
    _, found = wide
    assert set(found.numbers) == set(COMPARISONS)
    missing = {name for name, value in found.numbers.items() if value is None}
    assert missing == {
        "normal_cosine_similarity", "standard_limit_agreement", "perturbation_limit_agreement", "limit_pattern_share",
        "boundary_terms_agreement", "boundary_dominated_share",
    }  # fmt: skip
    assert any("networks with a bias" in note for note in found.notes)


def test_limits_agree_with_themselves_and_with_their_boundary_terms() -> None:
    found = compare(case_of(NARROW))
    for name in ("standard_limit_agreement", "perturbation_limit_agreement", "boundary_terms_agreement"):
        assert found.numbers[name] == 1, name
    # Perturbations along q are along the normal, whatever their sign.
    assert found.numbers["normal_cosine_similarity"] == pytest.approx(1, abs=1e-9)
    assert 0 < (found.numbers["boundary_dominated_share"] or 0) < 1
    assert found.numbers["standard_kernel_drift"] is None
    assert any("is a limit: it has no start" in note for note in found.notes)


def test_a_network_by_the_flow_is_near_its_limit() -> None:
    trained = {
        "attack.name": "radial_pgd",
        "attack.steps": 10,
        **{
            f"{stage}.{key}": value
            for stage in ("standard", "perturbation")
            for key, value in {
                "model.name": "one_hidden", "model.hidden_dim": 200, "training": "flow", "loss": "exponential",
                "lr": 0.01, "epochs": 100_000,
            }.items()
        },
    }  # fmt: skip
    found = compare(case_of({**NARROW, **trained})).numbers
    # Far above the 0.5 of unrelated classifiers, whose standard error over 200 inputs is 0.035.
    for role in ("standard", "perturbation"):
        assert (found[f"{role}_limit_agreement"] or 0) > 0.8
        assert (found[f"{role}_kernel_drift"] or 0) > 0.1  # margins of 9 are far from lazy
    assert (found["normal_cosine_similarity"] or 0) > 0.5


def test_samples_without_a_limit_are_told() -> None:
    found = compare(case_of({**WIDE, "standard.model.name": "one_hidden", "data.shift": 0.0}))
    # 40 samples of noise in 12 dimensions are not separated by two directions.
    assert any("cannot separate the 40 samples in 12 dimensions" in note for note in found.notes)
    assert found.numbers["standard_limit_agreement"] is None


def test_a_slope_of_zero_misses_the_condition_by_no_finite_factor() -> None:
    found = compare(case_of({**WIDE, "standard.model.slope": 0.0, "perturbation.model.slope": 0.0}))
    assert found.numbers["training_orthogonality_left"] == 0
    assert found.numbers["training_orthogonality_factor"] is None


@pytest.mark.parametrize("source", ["none", "gauss"])
def test_perturbations_of_nothing_and_of_noise(source: str) -> None:
    case = case_of({**WIDE, "attack.source": source})
    found = compare(case)
    places = case.data.inputs if source == "none" else case.sources
    cosines = cosine_similarity(
        case.data.inputs, case.data.labels, case.perturbed.perturbations, kernel=KERNEL, at=places
    )
    assert found.numbers["cosine_similarity"] == pytest.approx(cosines.abs().mean().item(), abs=1e-9)
    ghat = perturbation_prediction(
        case.data.inputs, case.data.labels, case.perturbed.inputs, case.data.heldout_inputs, kernel=KERNEL, at=places
    )
    assert torch.allclose(found.outputs["ghat"], ghat, rtol=1e-9)


def test_rates_are_those_that_training_used() -> None:
    section = DescentConfig(lr=(5.0,))
    # The first loss is the best; the 11th that is not better cuts the rate for the epochs after it.
    assert descent_rates(section, 5.0, [1.0] * 14) == pytest.approx([5.0] * 12 + [0.5] * 2)
    fixed = DescentConfig(schedule="constant")
    assert descent_rates(fixed, 5.0, [1.0] * 14) == [5.0] * 14


def test_a_comparison_and_a_map_survive_the_store(tmp_path: Path) -> None:
    config = resolve_config(None, {**WIDE, "controls.draws": 0, "seeds": 2})
    experiment = Experiment(config)
    store = ArtefactStore(tmp_path)
    executor, of_seeds, drawn = experiment.compare(store)
    first = {seed: executor.result(stage) for seed, stage in of_seeds.items()}
    again, _, _ = experiment.compare(store)
    assert again.seconds == {}  # nothing had to run
    for seed, stage in of_seeds.items():
        loaded = again.result(stage)
        assert loaded.numbers == first[seed].numbers
        assert loaded.notes == first[seed].notes
        for name, values in first[seed].outputs.items():
            assert torch.equal(loaded.outputs[name], values)
    one, other = executor.result(drawn), again.result(drawn)
    assert all(torch.equal(one.values[name], other.values[name]) for name in ("f", "g", "fhat", "ghat"))
    assert first[0].numbers == compare(case_of(WIDE)).numbers


@pytest.mark.parametrize("keys", [WIDE, NARROW], ids=["class means", "weight rows"])
def test_a_map_holds_what_the_networks_say(keys: dict[str, Any]) -> None:
    case = case_of(keys)
    drawn = draw_map(case)
    chosen = torch.randint(len(drawn.grid), (20, 2), generator=torch.Generator().manual_seed(0))
    points = drawn.plane.points(drawn.grid[chosen])
    rows, columns = chosen[:, 1], chosen[:, 0]
    assert torch.allclose(drawn.values["f"][rows, columns], case.standard.outputs(points), atol=1e-9)
    assert torch.allclose(drawn.values["g"][rows, columns], case.perturbation.outputs(points), atol=1e-9)
    if keys is WIDE:
        fhat = standard_prediction(case.data.inputs, case.data.labels, points, kernel=KERNEL)
        assert torch.allclose(drawn.values["fhat"][rows, columns], fhat, atol=1e-9)
    else:
        assert torch.equal(drawn.values["fhat"].sign(), drawn.values["f"].sign())
    assert draw_map(case, limits=(-7.0, 7.0)).grid[[0, -1]].tolist() == [-7, 7]
    loaded = load_map(dump_map(drawn))
    assert torch.equal(loaded.values["ghat"], drawn.values["ghat"])
    assert loaded.samples is not None
    assert drawn.samples is not None
    assert torch.equal(loaded.samples, drawn.samples)
