"""The whole experiment against one written out from scratch, and what fixes its numbers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from perturblearn.api import make_experiment
from perturblearn.classifiers import TwoLayer, initialise
from perturblearn.config import DataConfig, TwoLayerConfig
from perturblearn.data import load_dataset
from perturblearn.experiment import TRAINING, SeedMeasures, controls_of, summarise_seeds
from perturblearn.seeding import derive_seed

TINY: dict[str, Any] = {
    "name": "tiny",
    "seeds": 2,
    "dtype": "float64",
    "data": {"name": "shifted_gauss", "input_dim": 8, "n_samples": 40, "n_heldout": 60},
    "standard": {"loss": "identity", "lr": [0.1, 0.01], "epochs": 30, "model": {"hidden_dim": 10}},
    "attack": {"source": "none", "epsilon": 0.5},
    "perturbation": {"loss": "logistic", "lr": [0.2, 0.05], "epochs": 25, "model": {"hidden_dim": 12, "slope": 0.1}},
    "controls": {"draws": 2},
}


def measured(overrides: dict[str, Any] | None = None) -> list[SeedMeasures]:
    experiment = make_experiment(TINY, overrides=overrides)
    return experiment.measures(experiment.run())


def gradient_descent(network: TwoLayer, inputs: Tensor, labels: Tensor, loss: str, lr: float, epochs: int) -> TwoLayer:
    network = copy.deepcopy(network).double()
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    for _ in range(epochs):
        optimizer.zero_grad()
        margins = labels * network(inputs)
        value = (-margins if loss == "identity" else torch.nn.functional.softplus(-margins)).mean()
        value.backward()
        optimizer.step()
        scheduler.step(value.item())
    return network


def bare(network: TwoLayer, inputs: Tensor, targets: Tensor) -> Tensor:
    leaf = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf).sum(), leaf)
    return 0.5 * targets[:, None] * gradient / gradient.norm(dim=1, keepdim=True)


def coin_flips(seed: int, purpose: str, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "targets", purpose))
    return torch.tensor([1, -1])[torch.randint(2, (count,), generator=generator)]


def share(outputs: Tensor, labels: Tensor) -> float:
    return ((outputs * labels) > 0).double().mean().item()


@torch.no_grad()
def outputs(network: TwoLayer, inputs: Tensor) -> Tensor:
    return network(inputs)


def test_every_measure_of_every_pair_of_learning_rates_from_scratch() -> None:
    for of_seed in measured():
        seed = of_seed.seed
        data = load_dataset(DataConfig.model_validate(TINY["data"]), seed=seed).to(dtype=torch.float64)
        targets, heldout_targets = coin_flips(seed, "training", 40), coin_flips(seed, "heldout", 60)
        rows = iter(of_seed.grid)
        for standard_lr in (0.1, 0.01):
            start = initialise(TwoLayerConfig(hidden_dim=10), 8, seed=seed, role="standard")
            f = gradient_descent(start, data.inputs, data.labels, "identity", standard_lr, 30)
            perturbed = bare(f, data.inputs, targets)
            heldout = bare(f, data.heldout_inputs, heldout_targets)
            for perturbation_lr in (0.2, 0.05):
                start = initialise(TwoLayerConfig(hidden_dim=12, slope=0.1), 8, seed=seed, role="perturbation")
                g = gradient_descent(start, perturbed, targets, "logistic", perturbation_lr, 25)
                row = next(rows)
                redirected = targets != data.labels
                on_heldout = outputs(f, data.heldout_inputs), outputs(g, data.heldout_inputs)
                expected = {
                    "standard_lr": standard_lr,
                    "perturbation_lr": perturbation_lr,
                    "standard_accuracy": share(outputs(f, data.inputs), data.labels),
                    "standard_accuracy_heldout": share(on_heldout[0], data.heldout_labels),
                    "perturbation_accuracy": share(outputs(g, data.inputs), data.labels),
                    "perturbation_accuracy_heldout": share(on_heldout[1], data.heldout_labels),
                    "agreement": (on_heldout[0].sign() == on_heldout[1].sign()).double().mean().item(),
                    "positive_share": (on_heldout[1] > 0).double().mean().item(),
                    "attack_success": share(outputs(f, perturbed)[redirected], targets[redirected]),
                    "perturbed_loss": torch.nn.functional.softplus(-targets * outputs(g, perturbed)).mean().item(),
                    "perturbed_loss_heldout": torch.nn.functional.softplus(-heldout_targets * outputs(g, heldout))
                    .mean()
                    .item(),
                }
                # Shares are equal to the sample; losses to float64's rounding over the training.
                assert row.to_dict() == {name: pytest.approx(value, rel=1e-9) for name, value in expected.items()}


def test_the_same_configuration_gives_the_same_numbers() -> None:
    assert measured() == measured()


def test_what_a_seed_gives_depends_neither_on_other_seeds_nor_on_the_controls() -> None:
    first = measured({"seeds": [1], "controls.draws": 0})[0]
    second = measured({"seeds": [0, 1]})[1]
    assert first.grid == second.grid
    assert first.controls == {}


def keys(overrides: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    experiment = make_experiment(TINY, overrides=overrides)
    stages = experiment.seeds[0]
    return (
        experiment.key,
        [stage.key for stage in stages.standards],
        [stage.key for row in stages.perturbations for stage in row],
    )


def test_identity_is_what_fixes_the_numbers() -> None:
    key, standard, perturbation = keys({})
    assert keys({"name": "other"}) == (key, standard, perturbation)
    other_key, other_standard, other_perturbation = keys({"attack.epsilon": 0.25})
    assert other_standard == standard, "one f serves every epsilon"
    assert set(other_perturbation).isdisjoint(perturbation)
    assert other_key != key
    assert keys({"controls.draws": 5})[1:] == (standard, perturbation)
    assert keys({"controls.draws": 5})[0] != key
    assert set(keys({"dtype": "float32"})[1]).isdisjoint(standard)
    assert keys({"perturbation.epochs": 26})[1] == standard


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({}, id="natural sources"),
        # tests/docs/test_outputs.py runs it too, for the sentence that tells of it.
        pytest.param({"attack.source": "none", "attack.epsilon": 0.5}, id="bare perturbations", marks=pytest.mark.long),
    ],
)
def test_on_real_digits_g_learns_what_its_controls_do_not(overrides: dict[str, Any]) -> None:
    experiment = make_experiment(overrides=overrides)
    summary = summarise_seeds(experiment.measures(experiment.run()))
    # A prototype reached 0.94 with a spread of 0.02 over seeds; 0.85 is far below that and far above its controls.
    assert summary["perturbation_accuracy_heldout"]["mean"] > 0.85
    controls = [*controls_of(summary, TRAINING).values(), *controls_of(summary).values()]
    assert len(controls) == 4
    for control in controls:
        assert control["beaten"] >= 0.95
        assert control["at_chance"]
