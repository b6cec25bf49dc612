"""Features among a run's measures: their names, what they are taken of, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.experiment.tiny import TWO_LAYER, experiment_of
from torch import Tensor

from perturblearn.config import resolve_config
from perturblearn.data import Dataset
from perturblearn.errors import ConfigError, DataError
from perturblearn.experiment import FEATURE_NUMBERS, Experiment, feature_measure
from perturblearn.experiment import features as module
from perturblearn.results import Result
from perturblearn.theory import GateKernel, band_weights, eigenbasis, kernel_training
from perturblearn.training import LOSSES

FEATURES: dict[str, Any] = {
    **TWO_LAYER, "controls.draws": 0, "measures.features": True, "standard.schedule": "constant",
    "perturbation.schedule": "constant", "standard.lr": 0.1, "perturbation.lr": 0.1,
}  # fmt: skip
NATURAL = {"attack.source": "natural"}
BARE = {"attack.source": "none"}


def two_features(n: int = 60, n_heldout: int = 40) -> Dataset:
    """Labels written far apart along one axis, one in five of them wrong, and close together along another."""
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        y = torch.ones(count, dtype=torch.int64)
        y[::2] = -1
        written = y.clone()
        written[torch.arange(count) // 2 % 5 == 0] *= -1
        x = 0.1 * torch.randn(count, 6, generator=generator, dtype=torch.float64)
        x[:, 0] += 3 * written
        x[:, 1] += 0.2 * y
        return x, y

    inputs, labels = draw(n)
    heldout, heldout_labels = draw(n_heldout)
    return Dataset(inputs, labels, heldout, heldout_labels, value_range=(-math.inf, math.inf), class_names=("a", "b"))


def measures_of(experiment: Experiment) -> dict[str, Any]:
    (measured,) = experiment.measures(experiment.run())
    return {name: value for name, value in measured.measures.items() if name.startswith("features_")}


@pytest.mark.parametrize("source", [NATURAL, BARE, {"attack.source": "gauss"}], ids=["natural", "none", "gauss"])
def test_every_number_of_the_bands_that_there_are(source: dict[str, Any]) -> None:
    measured = measures_of(experiment_of({**FEATURES, **source}, two_features()))
    expected = {name for name in FEATURE_NUMBERS if not name.endswith(("100_299", "300_up"))}  # 60 features
    assert set(measured) == expected
    assert all(value is not None and abs(value) < 1e6 for value in measured.values())
    for machine in ("kernel", "network"):
        shares = [measured[feature_measure(machine, "standard_share", band)] for band in module.FEATURE_BANDS[:5]]
        assert sum(shares) == pytest.approx(1.0, abs=1e-9)
    # The kernel machine's perturbations are along its own gradient; the network's have its start's in them.
    assert measured[feature_measure("kernel", "perturbation_share_outside")] == pytest.approx(0.0, abs=1e-6)
    for band in module.FEATURE_BANDS[:5]:
        whole, moved, stood = (
            measured[feature_measure("kernel", quantity, band)]
            for quantity in ("weight", "perturbation_term_weight", "source_term_weight")
        )
        assert whole == pytest.approx(moved + stood, rel=1e-6, abs=1e-6)


def test_the_kernel_s_weights_are_those_of_its_machine() -> None:
    """Against the machine made by hand from the run's own data and targets."""
    experiment = experiment_of({**FEATURES, **NATURAL}, two_features())
    executor = experiment.run()
    (measured,) = experiment.measures(executor)
    (stages,) = experiment.seeds.values()
    data, perturbed = executor.result(stages.data), executor.result(stages.branches[0].perturbed)
    kernel = GateKernel(0.0, trained_bias=True)
    x, targets = data.inputs, perturbed.target_labels
    # 20 epochs of heavy ball.
    time = 10 * 0.1 * (20 - 9 * (1 - 0.9**20))

    def machine(inputs: Tensor, labels: Tensor) -> Tensor:
        zeros = torch.zeros(len(inputs), dtype=torch.float64)
        return kernel_training(
            inputs, labels, zeros, kernel=kernel, time=time, derivative=LOSSES["logistic"].derivative
        )

    alpha = machine(x, data.labels)
    gradients = kernel.gates(x, x) @ (alpha[:, None] * x)
    seen = x + 0.6 * targets[:, None] * gradients / gradients.norm(dim=1, keepdim=True)
    of_g = kernel(data.heldout_inputs, seen) @ machine(seen, targets)
    values = eigenbasis(x, kernel=kernel).of_multipliers(alpha).values(data.heldout_inputs)
    for band, weight in zip(module.FEATURE_BANDS, band_weights(values, of_g).weights.tolist(), strict=False):
        found = measured.measures[feature_measure("kernel", "weight", band)]
        assert found == pytest.approx(weight, rel=1e-5, abs=1e-5)


def test_g_of_perturbed_inputs_loses_the_robust_feature_and_of_bare_ones_it_keeps_both() -> None:
    """As by construction: the first feature is robust at 1, the next ones are not."""
    wide = {f"{role}.model.hidden_dim": 512 for role in ("standard", "perturbation")}
    long = {f"{role}.epochs": 200 for role in ("standard", "perturbation")}
    for source, is_lost in ((NATURAL, True), (BARE, False)):
        measured = measures_of(experiment_of({**FEATURES, **wide, **long, **source}, two_features(200, 100)))
        for machine in ("kernel", "network"):
            by_band = {
                quantity: [measured[feature_measure(machine, quantity, band)] for band in ("0", "1_2", "3_9")]
                for quantity in ("usefulness", "robust_usefulness", "weight")
            }
            robust = max(range(3), key=lambda band: by_band["robust_usefulness"][band])
            assert by_band["robust_usefulness"][robust] > 0
            fragile = max((band for band in range(3) if band != robust), key=lambda band: by_band["usefulness"][band])
            assert by_band["robust_usefulness"][fragile] < 0 < by_band["usefulness"][fragile]
            ratio = by_band["weight"][robust] / by_band["weight"][fragile]
            assert (abs(ratio) < 0.5) == is_lost, (source, machine, by_band)


def test_a_remark_tells_of_them() -> None:
    experiment = experiment_of({**FEATURES, **NATURAL}, two_features())
    (measured,) = experiment.measures(experiment.run())
    text = str(Result.of(experiment.config, experiment.key, [measured], 0.0))
    ratio = measured.measures[feature_measure("network", "weight", "1_2")]
    ratio /= measured.measures[feature_measure("network", "weight", "10_29")]
    assert f"g has {ratio:.2f} times as much as of features 10–29 (trained network" in text
    assert "features_kernel_weight" not in text, "the table has no room for so many numbers"


def test_too_many_inputs_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FOR_FEATURES", 50)
    with pytest.raises(DataError, match=r"f's 60 training inputs; set data\.n_samples to 50 or less"):
        experiment_of(FEATURES, two_features()).run()


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"standard.model.name": "limit", "standard.model.slope": 0.1}, "trained by full-batch descent, but standard"),
        ({"perturbation.model.name": "mlp"}, "trained by full-batch descent, but perturbation"),
        ({"perturbation.model.slope": 0.2}, "standard.model.slope = 0.0 and perturbation.model.slope = 0.2; make them"),
        ({"attack.name": "pgd"}, "one-step perturbations, but attack.name = 'pgd'; choose one_step"),
        ({"attack.epsilon": 0.0}, "attack.epsilon = 0; choose a size above 0"),
        ({"mixing.perturbed_share": 0.5}, "perturbed samples alone, but mixing.perturbed_share = 0.5"),
    ],
)
def test_what_has_no_features_is_refused(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        resolve_config(None, {"measures.features": True, **keys})
