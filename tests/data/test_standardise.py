"""Features at mean 0 and deviation 1, and the warning where they are far from that."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from perturblearn import learn, perturb, verify
from perturblearn.classifiers import Network
from perturblearn.config import DataConfig, ExperimentConfig, OwnNetworkConfig, config_tree, resolve_config
from perturblearn.data import Dataset, Signature, Standardisation, dataset_from, load_dataset
from perturblearn.errors import ConfigError, DataError

SCALES = np.array([0.003, 1.0, 500.0, 0.0])
CENTRES = np.array([0.1, -2.0, 4000.0, 7.0])


def table(number: int = 40, *, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features of very different scales, the last a constant."""
    values = np.random.default_rng(seed).normal(size=(number, 4)) * SCALES + CENTRES
    return values.astype(np.float32), np.arange(number) % 2


def saved(folder: Path, **more: Any) -> str:
    inputs, labels = table()
    np.savez(folder / "table.npz", inputs=inputs, labels=labels, **more)
    return f"npz:{folder / 'table.npz'}"


def scores(values: NDArray[Any], of: NDArray[Any]) -> Tensor:
    spread = of.std(axis=0, dtype=np.float64)
    return torch.from_numpy((values - of.mean(axis=0, dtype=np.float64)) / np.where(spread > 0, spread, 1)).float()


def test_every_feature_by_the_training_part_alone(tmp_path: Path) -> None:
    (inputs, _), (heldout, labels) = table(), table(20, seed=1)
    heldout *= 2
    name = saved(tmp_path, inputs_heldout=heldout, labels_heldout=labels)
    data = load_dataset(DataConfig(name=name, standardise=True))
    # The mean and the deviation are rounded to float32 once each, of values up to 4,000 times the deviation.
    assert torch.allclose(data.inputs, scores(inputs, inputs), atol=1e-3)
    assert torch.allclose(data.heldout_inputs, scores(heldout, inputs), rtol=1e-4, atol=1e-3)
    assert data.value_range == (
        min(float(part.min()) for part in (data.inputs, data.heldout_inputs)),
        max(float(part.max()) for part in (data.inputs, data.heldout_inputs)),
    )
    assert data.mean == 0
    assert data.standardisation is not None
    assert torch.allclose(data.standardisation.undo(data.inputs), torch.from_numpy(inputs), rtol=1e-5)
    assert "standardised" in repr(data)
    assert Dataset.load(data.dump()).content_hash() == data.content_hash()


def test_a_drawn_split_is_made_before(tmp_path: Path) -> None:
    data = load_dataset(DataConfig(name=saved(tmp_path), standardise=True), seed=3)
    varying = data.inputs[:, :3].double()
    assert torch.allclose(varying.mean(dim=0), torch.zeros(3, dtype=torch.float64), atol=1e-3)
    assert torch.allclose(varying.std(dim=0, correction=0), torch.ones(3, dtype=torch.float64), atol=1e-3)
    assert float(data.heldout_inputs[:, :3].mean(dim=0).abs().min()) > 0.01
    assert not data.inputs[:, 3].any()


@pytest.mark.parametrize("flatten", [True, False])
def test_all_pixels_of_images_are_one_feature(flatten: bool) -> None:
    data = load_dataset(DataConfig(name="digits", classes=("3", "8"), standardise=True, flatten=flatten))
    plain = load_dataset(DataConfig(name="digits", classes=("3", "8"), centre=False, flatten=flatten))
    mean, std = float(plain.inputs.double().mean()), float(plain.inputs.double().std(correction=0))
    assert torch.allclose(data.inputs, (plain.inputs - mean) / std, atol=1e-6)
    # Black and white are values of the data, so they are the bounds to the bit.
    assert data.value_range == (float(data.inputs.min()), float(data.inputs.max()))
    assert data.value_range[0] == Signature.of(data).black


def test_data_from_python_and_drawn_data() -> None:
    inputs, labels = table()
    data = dataset_from((inputs, labels), standardise=True)
    assert data.standardisation is not None
    assert len(data.standardisation.stds) == 4
    drawn = load_dataset(DataConfig(name="shifted_gauss", shift=3.0, input_dim=5, standardise=True))
    assert float(drawn.inputs.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert drawn.value_range == (-float("inf"), float("inf"))


def test_a_network_of_the_user_s_own_gets_the_original_values() -> None:
    class Seen(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.append(inputs)
            return inputs.sum(dim=1)

    seen: list[Tensor] = []
    inputs, labels = table()
    data = dataset_from((inputs, labels), standardise=True, heldout=(inputs, labels))
    signature = Signature.from_dict(Signature.of(data).to_dict())
    Network(Seen(), signature, OwnNetworkConfig(name="mine:network"))(data.heldout_inputs)
    assert torch.allclose(seen[-1], torch.from_numpy(inputs), rtol=1e-5)


def test_what_is_not_asked_for_is_no_part_of_the_identity() -> None:
    for section in ({"name": "digits"}, {"name": "digits", "standardise": False}):
        assert "standardise" not in config_tree(ExperimentConfig.model_validate({"data": section}).data)
    asked = ExperimentConfig.model_validate({"data": {"name": "digits", "standardise": True}})
    assert config_tree(asked.data)["standardise"] is True


def test_sets_on_disk_are_in_the_units_of_the_data(tmp_path: Path) -> None:
    inputs, labels = table(60)
    np.savez(tmp_path / "table.npz", inputs=inputs, labels=labels, inputs_heldout=inputs, labels_heldout=labels)
    keys = {"data.standardise": True, "seeds": 1, "standard.epochs": 3, "attack.epsilon": 0.01}
    (stored,) = perturb(data=f"npz:{tmp_path / 'table.npz'}", out=tmp_path, overrides=keys)
    values = torch.stack([value for value, _ in stored])
    # A step of 0.01 deviations, and rounding of values up to 4,000 times the deviation.
    moved = (values - torch.from_numpy(inputs)).abs() / torch.from_numpy(np.where(SCALES > 0, SCALES, 1))
    assert 1e-4 < float(moved.max()) < 0.02
    (stored.folder / "training" / "shard-00000.safetensors").unlink()
    assert verify(stored, repair=True)
    assert not verify(stored)
    result = learn(stored, overrides={"perturbation.epochs": 3, "controls.draws": 1})
    assert result.config.data.is_standardised


@pytest.mark.parametrize(
    ("inputs", "stds"),
    [
        (table()[0], "run from 0.0026 to "),
        (np.random.default_rng(0).normal(size=(40, 3)) * 1e-4, "run from "),
        (np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4)).astype(np.float32) * 10, "are 7"),
    ],
    ids=["table", "tiny", "images"],
)
def test_extreme_scales_are_warned_of(inputs: NDArray[Any], stds: str, tmp_path: Path) -> None:
    labels = np.arange(40) % 2
    message = f"the standard deviations of the features of the data {stds}"
    with pytest.warns(UserWarning, match=re.escape(message) + ".*make them with dataset_from"):
        dataset_from((inputs, labels))
    np.savez(tmp_path / "table.npz", inputs=inputs, labels=labels)
    config = DataConfig(name=f"npz:{tmp_path / 'table.npz'}")
    with pytest.warns(UserWarning, match=r"features of npz:table.npz .*; set data.standardise = true"):
        load_dataset(config)
    with warnings.catch_warnings(action="error"):
        load_dataset(DataConfig(name=config.name, standardise=True))
        dataset_from((inputs, labels), standardise=True)


@pytest.mark.parametrize("scale", [0.05, 1.0, 20.0])
def test_usual_scales_are_not(scale: float) -> None:
    with warnings.catch_warnings(action="error"):
        dataset_from((scale * torch.randn(50, 4), torch.arange(50) % 2))
        dataset_from((torch.full((50, 4), 3.0), torch.arange(50) % 2))


def test_it_is_said_once_how_features_are_shifted() -> None:
    with pytest.raises(ConfigError, match="standardise subtracts the mean of every feature itself; leave out centre"):
        resolve_config(None, {"data.standardise": True, "data.centre": 0.5})
    inputs, labels = table()
    options: tuple[dict[str, Any], ...] = ({"centre": True}, {"value_range": (-1e4, 1e4)})
    for given in options:
        with pytest.raises(DataError, match=f"leave out {next(iter(given))}"):
            dataset_from((inputs, labels), standardise=True, **given)
    with pytest.raises(DataError, match="standardise does not apply to a Dataset"):
        dataset_from(dataset_from((inputs, labels), standardise=True), standardise=True)


def test_values_that_are_all_equal() -> None:
    once = Standardisation.of(torch.full((5, 2), 1e6))
    assert once == Standardisation((1e6, 1e6), (1.0, 1.0))
