"""The experiment from Python: every kind of data, and what is written where."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

import perturblearn
from perturblearn import ConfigError, DataError, Dataset, Result, dataset_from, learn_from_perturbations, plan
from perturblearn.config import value_of

pytestmark = pytest.mark.usefixtures("undrawn_pictures")
SMALL = {"seeds": 1, "standard.epochs": 20, "perturbation.epochs": 20, "controls.draws": 1}


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    return inputs, torch.where(inputs[:, 0] > 0, 1, -1)


def as_dataset() -> Dataset:
    return dataset_from(pairs(), class_names=("right", "left"))


@pytest.mark.parametrize(
    "data", [pairs(), as_dataset(), TensorDataset(*pairs()), tuple(part.numpy() for part in pairs())]
)
def test_data_may_be_tensors_arrays_or_data_sets(data: Any) -> None:
    result = learn_from_perturbations(data=data, overrides=SMALL)
    assert isinstance(result, Result)
    assert result.config.data.name == "python"
    assert result.summary["standard_accuracy"]["mean"] > 0.8
    assert len(result.summary["permuted_control"]["values"]) == 1


def test_data_may_be_a_name() -> None:
    overrides = {**SMALL, "data.input_dim": 6, "data.n_samples": 20}
    assert value_of(learn_from_perturbations(data="shifted_gauss", overrides=overrides).config, "data.input_dim") == 6


def test_nothing_is_written_unless_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    learn_from_perturbations(overrides=SMALL)
    assert not list(tmp_path.iterdir())
    result = learn_from_perturbations(overrides=SMALL, out="here")
    assert result.folder is not None
    assert (result.folder / "result.json").is_file()
    assert Result.load(result.folder).summary == result.summary


def test_the_numbers_do_not_depend_on_whether_they_are_kept(tmp_path: Path) -> None:
    kept = learn_from_perturbations(overrides=SMALL, out=tmp_path)
    again = learn_from_perturbations(overrides=SMALL, out=tmp_path)
    forced = learn_from_perturbations(overrides=SMALL, out=tmp_path, force=True)
    assert kept.summary == again.summary == forced.summary == learn_from_perturbations(overrides=SMALL).summary


def test_configurations_may_be_mappings_with_targets_of_one_s_own() -> None:
    inputs, labels = pairs()
    data = dataset_from((inputs, labels), targets=-labels, heldout=(inputs, labels))
    config = {"seeds": [3], "attack": {"targets": "given"}, "controls": {"draws": 0}}
    result = learn_from_perturbations(config, data=data, overrides={"standard.epochs": 20})
    assert result.seeds[0].seed == 3
    # All targets contradict the labels; with no perturbation to speak of, g learns just that.
    small = learn_from_perturbations(config, data=data, overrides={"attack.epsilon": 1e-6})
    assert small.summary["perturbation_accuracy"]["mean"] < 0.1


def test_a_plan_runs_nothing(tmp_path: Path) -> None:
    planned = plan(overrides=SMALL, out=tmp_path / "out")
    assert {stage.kind for stage in planned.to_run} >= {
        "standard classifier",
        "perturbation classifier",
        "control",
        "selection",
    }
    assert not (tmp_path / "out").exists()
    learn_from_perturbations(overrides=SMALL, out=tmp_path / "out")
    assert not plan(overrides=SMALL, out=tmp_path / "out").to_run


def test_errors_are_the_package_s_own_value_errors() -> None:
    with pytest.raises(ConfigError, match="epsilom"):
        learn_from_perturbations(overrides={"attack.epsilom": 1})
    with pytest.raises(DataError, match=r"one class|at least two"):
        learn_from_perturbations(data=(torch.randn(4, 2), torch.ones(4, dtype=torch.int64)))
    assert issubclass(perturblearn.PerturbLearnError, ValueError)


@pytest.mark.parametrize("module", ["run", "theory"])
def test_the_docstrings_examples(module: str, shared_stages: None) -> None:
    # By its path: the room re-exports functions under the names of some modules.
    outcome = doctest.testmod(
        importlib.import_module(f"perturblearn.api.{module}"),
        extraglobs={"learn_from_perturbations": learn_from_perturbations},
    )
    assert (outcome.failed, outcome.attempted) == (0, 2)
