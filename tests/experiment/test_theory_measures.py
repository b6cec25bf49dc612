"""The comparison with theory among a run's measures, for two-layer and for deep networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.experiment.test_comparison import NARROW, WIDE
from tests.experiment.tiny import DEEP, TWO_LAYER, blobs, experiment_of
from tests.measured import seed_measures
from torch import nn

from perturblearn.api import UserObjects, make_experiment
from perturblearn.classifiers import evaluating
from perturblearn.config import resolve_config
from perturblearn.data import Signature
from perturblearn.errors import ConfigError, ModelError
from perturblearn.experiment import COMPARISONS, NETWORK_COMPARISONS, Experiment, summarise_seeds
from perturblearn.experiment.networks import first_network
from perturblearn.results import Result
from perturblearn.theory import EmpiricalKernel, empirical_kernel, kernel_training, lazy_regime, nearest_mean

THEORY = {"measures.theory": True}
PREDICTION = "perturbation_kernel_prediction"

OF_ANY_NETWORK = {name for name in NETWORK_COMPARISONS if "infinite_width" not in name}
"""Only some parametrisations have a kernel at infinite width."""


def measures_of(experiment: Experiment) -> dict[str, Any]:
    (measured,) = experiment.measures(experiment.run())
    return dict(measured.measures)


@pytest.mark.parametrize("keys", [WIDE, NARROW], ids=["two_layer", "limit"])
def test_they_are_the_numbers_of_the_comparison(keys: dict[str, Any]) -> None:
    keys = {**keys, "controls.draws": 0}
    without = Experiment(resolve_config(None, keys))
    asked = Experiment(resolve_config(None, {**keys, **THEORY}))
    executor, of_seed, _ = without.compare()
    numbers = {name: value for name, value in executor.result(of_seed[0]).numbers.items() if value is not None}
    measured = measures_of(asked)
    assert measured == {**measures_of(without), **numbers}
    assert asked.seeds[0].theory == of_seed[0], "perturblearn theory finds them finished"


def test_nothing_else_changes() -> None:
    plain, asked = (Experiment(resolve_config(None, {**WIDE, **keys})) for keys in ({}, THEORY))
    keys = [{stage.key for stage in experiment.targets} for experiment in (plain, asked)]
    assert keys[0] < keys[1]
    (extra,) = keys[1] - keys[0]
    assert asked.seeds[0].theory is not None
    assert extra == asked.seeds[0].theory.key


def test_deep_networks() -> None:
    """Against the same numbers by hand, at the constant rate of a training without weight decay."""
    rates = {f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in {
        "schedule": "constant", "weight_decay": 0.0, "lr": 0.02, "epochs": 4}.items()}  # fmt: skip
    data = blobs(2)
    experiment = experiment_of({**DEEP, **rates, **THEORY, "dtype": "float64", "controls.draws": 0}, data)
    executor = experiment.run()
    (measured,) = experiment.measures(executor)
    stages = experiment.seeds[2]
    data = executor.result(stages.data)
    g, perturbed = (
        executor.result(stages.branches[0].learners[0].perturbation),
        executor.result(stages.branches[0].perturbed),
    )
    signature = Signature.of(data)
    start = first_network(experiment.config.perturbation, signature, seed=2, role="perturbation").double()
    lazy = lazy_regime(start, g.module, perturbed.inputs)
    assert measured.measures["perturbation_kernel_drift"] == pytest.approx(lazy.kernel_drift)
    assert measured.measures["perturbation_linearisation_distance"] == pytest.approx(lazy.linearisation_distance)
    # 90 samples in batches of 32: 2 steps an epoch, 8 in all, under momentum 0.9.
    time = 0.02 / 0.1 * (8 - 0.9 * (1 - 0.9**8) / 0.1)
    with torch.no_grad(), evaluating(start):
        first, before = start(perturbed.inputs), start(data.heldout_inputs)
    multipliers = kernel_training(
        perturbed.inputs,
        perturbed.target_labels,
        first,
        kernel=EmpiricalKernel(start),
        time=time,
        derivative=lambda margins: -torch.sigmoid(-margins),
    )
    predicted = before + empirical_kernel(start, data.heldout_inputs, perturbed.inputs) @ multipliers
    outputs = g.outputs(data.heldout_inputs)
    expected = {
        "agreement": (predicted.sign() == outputs.sign()).double().mean().item(),
        "correlation": torch.corrcoef(torch.stack((predicted, outputs)))[0, 1].item(),
        "accuracy": (predicted.sign() == data.heldout_labels).double().mean().item(),
    }
    for name, value in expected.items():
        assert measured.measures[f"{PREDICTION}_{name}"] == pytest.approx(value, abs=1e-9), name
    nearest = nearest_mean(perturbed.inputs, perturbed.target_labels, data.heldout_inputs)
    of_nearest = {
        "agreement": (nearest.sign() == outputs.sign()).double().mean().item(),
        "correlation": torch.corrcoef(torch.stack((nearest, outputs - before)))[0, 1].item(),
        "accuracy": (nearest.sign() == data.heldout_labels).double().mean().item(),
    }
    for name, value in of_nearest.items():
        assert measured.measures[f"nearest_mean_{name}"] == pytest.approx(value, abs=1e-9), name
    assert measured.measures.keys() >= OF_ANY_NETWORK
    # So small a step leaves the network near its linearisation, and the batches near the whole.
    assert expected["correlation"] > 0.95
    text = str(Result.of(experiment.config, experiment.key, [measured], 0.0))
    assert all(name in text for name in OF_ANY_NETWORK)


def test_what_does_not_apply_is_left_out() -> None:
    three = measures_of(experiment_of({**DEEP, **THEORY, "controls.draws": 0}, blobs(3)))
    assert "perturbation_kernel_drift" in three
    assert not any(name.startswith(PREDICTION) for name in three), "one output is predicted"
    assert {name for name in three if "nearest_mean" in name} == {"nearest_mean_agreement", "nearest_mean_accuracy"}
    pair = {**DEEP, **THEORY, "controls.draws": 0, "controls.linear_probe": False}
    f_stays = {key: value for key, value in pair.items() if not key.startswith("standard.")}
    untrained = measures_of(
        experiment_of({**f_stays, "standard.model.name": "mlp", "standard.training": "none"}, blobs(2))
    )
    assert "standard_kernel_drift" not in untrained
    assert f"{PREDICTION}_agreement" in untrained
    two_layer = {key: value for key, value in TWO_LAYER.items() if key.startswith("standard.")}
    mixed = measures_of(experiment_of({**f_stays, **two_layer}, blobs(2)))
    assert mixed.keys() >= OF_ANY_NETWORK, "f is a two-layer network, g a deep one"


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs)


def test_one_small_step_of_a_linear_network_is_the_nearest_mean() -> None:
    """By the identity loss its weights move by the sum of y' x', of balanced targets the difference of the means."""
    data = blobs(2)
    keys = {
        **{key: value for key, value in DEEP.items() if ".model." not in key}, **THEORY, "dtype": "float64",
        "controls.draws": 0, "controls.linear_probe": False, "perturbation.batch_size": len(data.inputs),
        "perturbation.epochs": 1, "perturbation.loss": "identity", "perturbation.weight_decay": 0.0,
    }  # fmt: skip
    experiment = make_experiment({}, UserObjects(data=data, standard=Linear, perturbation=Linear), overrides=keys)
    measured = measures_of(experiment)
    # Each of as many samples of both classes has the other one for its target.
    assert measured["nearest_mean_correlation"] == pytest.approx(1, abs=1e-9)
    assert measured["perturbation_linearisation_distance"] == pytest.approx(0, abs=1e-9)


def test_a_class_that_is_never_a_target_has_no_mean() -> None:
    data = blobs(2)
    one = replace(data, inputs=data.inputs[data.labels == 1], labels=data.labels[data.labels == 1])
    measured = measures_of(experiment_of({**DEEP, **THEORY, "controls.draws": 0, "controls.linear_probe": False}, one))
    assert not any("nearest_mean" in name for name in measured)
    assert "perturbation_kernel_drift" in measured


def test_networks_of_images() -> None:
    images = blobs(2)

    def reshaped(inputs: torch.Tensor) -> torch.Tensor:
        return inputs.repeat_interleave(12, dim=1).reshape(len(inputs), 1, 12, 12).contiguous()

    images = replace(
        images, inputs=reshaped(images.inputs), heldout_inputs=reshaped(images.heldout_inputs), image_shape=(1, 12, 12)
    )
    keys = {
        key: value for key, value in DEEP.items() if not key.endswith(("hidden_dim", "model.name"))
    } | {f"{role}.model.{key}": value for role in ("standard", "perturbation") for key, value in {
        "name": "convnet", "depth": 1, "width": 0.125}.items()}  # fmt: skip
    measured = measures_of(experiment_of({**keys, **THEORY, "attack.steps": 1, "controls.draws": 0}, images))
    assert measured.keys() >= OF_ANY_NETWORK


class Stubborn(nn.Module):
    """Its outputs leave torch's sight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, 12))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if float(inputs.detach().sum()) == 0.5:  # asks for a value, which a transform of the function has not
            raise AssertionError
        return inputs @ self.weight.T


def test_a_network_that_no_transform_takes() -> None:
    keys = {key: value for key, value in DEEP.items() if ".model." not in key}
    experiment = make_experiment(
        {},
        UserObjects(data=blobs(2), standard=Stubborn, perturbation=Stubborn),
        overrides={**keys, **THEORY, "controls.draws": 0},
    )
    with pytest.raises(ModelError, match=r"differentiated sample by sample \(.*\); set measures.theory = false"):
        experiment.run()


def test_a_mixed_set_has_no_prediction() -> None:
    with pytest.raises(ConfigError, match=r"measures.theory = true compares .*perturbed_share = 0.5; remove one"):
        resolve_config(None, {**THEORY, "mixing.perturbed_share": 0.5})


def test_numbers_of_some_seeds_are_none_in_the_others() -> None:
    seeds = [seed_measures({"agreement": 0.5, **extra}) for extra in ({}, {"limit_pattern_share": 0.25})]
    summary = summarise_seeds(seeds)
    assert summary["limit_pattern_share"]["values"] == [None, 0.25]
    assert summary["limit_pattern_share"]["mean"] == 0.25


def test_both_lists_of_numbers_agree_where_they_meet() -> None:
    shared = COMPARISONS.keys() & NETWORK_COMPARISONS.keys()
    assert len(shared) == 4
    assert all(COMPARISONS[name] == NETWORK_COMPARISONS[name] for name in shared)
