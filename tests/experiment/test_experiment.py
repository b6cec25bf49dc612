"""The whole experiment against a plain loop, and what its stages share."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

from perturblearn.classifiers import TwoLayer, initialise
from perturblearn.config import ExperimentConfig, TrainedTwoLayerConfig, resolve_config, value_of
from perturblearn.data import load_dataset
from perturblearn.errors import DataError, DivergenceError
from perturblearn.experiment import Experiment, SeedGraph, SeedMeasures
from perturblearn.experiment.training import DeepTraining, TwoLayerTraining
from perturblearn.store import ArtefactStore

TINY: dict[str, Any] = {
    "seeds": [3, 8],
    "dtype": "float64",
    "data.name": "shifted_gauss",
    "data.n_samples": 40,
    "data.n_heldout": 30,
    "data.input_dim": 12,
    "data.shift": 0.2,
    "standard.model.hidden_dim": 8,
    "perturbation.model.hidden_dim": 10,
    "perturbation.model.slope": 0.1,
    "perturbation.loss": "exponential",
    "standard.epochs": 20,
    "perturbation.epochs": 25,
    "standard.lr": [0.3, 0.05],
    "perturbation.lr": [0.02, 0.2, 0.1],
    "attack.targets": "next",
    "attack.epsilon": 0.8,
    "controls.draws": 2,
}


def config_of(**changes: Any) -> ExperimentConfig:
    return resolve_config({}, {**TINY, **changes})


LOSSES = {"logistic": lambda s: torch.log1p(torch.exp(-s)), "exponential": lambda s: torch.exp(-s)}


def outputs(network: TwoLayer, inputs: Tensor) -> Tensor:
    assert network.bias is not None
    hidden = inputs @ network.weight.T + network.bias
    return torch.where(hidden > 0, hidden, network.slope * hidden) @ network.readout


def plain_training(network: TwoLayer, inputs: Tensor, labels: Tensor, loss: str, lr: float, epochs: int) -> TwoLayer:
    optimiser = SGD(network.parameters(), lr=lr, momentum=0.9)
    rule = ReduceLROnPlateau(optimiser)
    for _ in range(epochs):
        optimiser.zero_grad()
        value = LOSSES[loss](labels * outputs(network, inputs)).mean()
        value.backward()
        optimiser.step()
        rule.step(value.item())
    return network.requires_grad_(requires_grad=False)


def plain_steps(f: TwoLayer, points: Tensor, targets: Tensor, epsilon: float) -> Tensor:
    leaf = points.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(outputs(f, leaf).sum(), leaf)
    return gradient * targets[:, None] * epsilon / gradient.norm(dim=1, keepdim=True)


def share(found: Tensor) -> float:
    return int(found.sum()) / len(found)


def plain_experiment(config: ExperimentConfig, seed: int) -> dict[str, Any]:
    """The five steps of perturbation learning, for targets -y, as in section 1 of the papers' protocol."""
    data = load_dataset(config.data, seed=seed).to(dtype=torch.float64)
    x, y, z, t = data.inputs, data.labels, data.heldout_inputs, data.heldout_labels

    def fresh(section: Any, role: str) -> TwoLayer:
        return initialise(section.model, 12, seed=seed, role=role).double()

    grid, sets = [], []
    for lr_f in config.standard.lr:
        standard = config.standard
        f = plain_training(fresh(standard, "standard"), x, y, standard.loss, lr_f, value_of(standard, "epochs"))
        keep = 0 if config.attack.source == "none" else 1
        seen, unseen = (
            keep * points - plain_steps(f, points, labels, config.attack.epsilon) for points, labels in ((x, y), (z, t))
        )
        sets.append(seen)
        for lr_g in config.perturbation.lr:
            section = config.perturbation
            g = plain_training(
                fresh(section, "perturbation"), seen, -y, section.loss, lr_g, value_of(section, "epochs")
            )
            grid.append(
                {
                    "standard_lr": lr_f,
                    "perturbation_lr": lr_g,
                    "standard_accuracy": share(y * outputs(f, x) > 0),
                    "standard_accuracy_heldout": share(t * outputs(f, z) > 0),
                    "perturbation_accuracy": share(y * outputs(g, x) > 0),
                    "perturbation_accuracy_heldout": share(t * outputs(g, z) > 0),
                    "agreement": share(outputs(f, z) * outputs(g, z) > 0),
                    "positive_share": share(outputs(g, z) > 0),
                    "attack_success": share(-y * outputs(f, seen) > 0),
                    "perturbed_loss": LOSSES[section.loss](-y * outputs(g, seen)).mean().item(),
                    "perturbed_loss_heldout": LOSSES[section.loss](-t * outputs(g, unseen)).mean().item(),
                }
            )
    best = max(measured["standard_accuracy_heldout"] for measured in grid)
    row = next(i for i, m in enumerate(grid) if m["standard_accuracy_heldout"] == best) // len(config.perturbation.lr)
    of_row = [m for m in grid if m["standard_lr"] == config.standard.lr[row]]
    chosen = min(of_row, key=lambda measured: measured["perturbed_loss_heldout"])
    # The first draw of the unperturbed control: natural sources, g's targets, its own network.
    section, control = config.perturbation, {}
    if config.attack.source == "natural":
        network = fresh(section, "unperturbed control 0")
        c = plain_training(network, x, -y, section.loss, chosen["perturbation_lr"], value_of(section, "epochs"))
        control = {"accuracy": share(y * outputs(c, x) > 0), "accuracy_heldout": share(t * outputs(c, z) > 0)}
    return {"grid": grid, "chosen": chosen, "control": control}


@pytest.mark.parametrize("source", ["natural", "none"])
def test_against_a_plain_loop(source: str) -> None:
    config = config_of(**{"attack.source": source})
    experiment = Experiment(config)
    measured = experiment.measures(experiment.run())
    assert [of_seed.seed for of_seed in measured] == [3, 8]
    for of_seed in measured:
        plain = plain_experiment(config, of_seed.seed)
        # Shares are counts over the same samples and so equal; losses carry the rounding of 25 epochs in float64.
        for found, expected in zip(of_seed.grid, plain["grid"], strict=True):
            numbers = found.to_dict()
            assert numbers == pytest.approx(expected, rel=1e-10)
            for name in set(expected) - {"perturbed_loss", "perturbed_loss_heldout"}:
                assert numbers[name] == pytest.approx(expected[name], rel=1e-15)
        chosen = plain["chosen"]
        assert of_seed.standard_lr == chosen["standard_lr"]
        assert of_seed.perturbation_lr == chosen["perturbation_lr"]
        for name in chosen:
            if not name.endswith("_lr"):
                assert of_seed.measures[name] == pytest.approx(chosen[name], rel=1e-10)
        for name, value in of_seed.measures.items():
            if name.endswith("_max"):
                assert value == max(pair.measures[name.removesuffix("_max")] for pair in of_seed.grid)
        assert set(of_seed.controls) == {"unperturbed", "permuted"}
        assert all(len(draws.accuracy) == len(draws.accuracy_heldout) == 2 for draws in of_seed.controls.values())
        for name, value in plain["control"].items():
            assert of_seed.to_dict()["controls"]["unperturbed"][name][0] == pytest.approx(value, rel=1e-15)


def test_the_same_twice_and_each_seed_alone() -> None:
    def measures(seeds: list[int]) -> list[SeedMeasures]:
        experiment = Experiment(config_of(seeds=seeds, **{"attack.targets": "uniform"}))
        return experiment.measures(experiment.run())

    both = measures([3, 8])
    assert both == measures([3, 8])
    assert both == measures([3]) + measures([8])
    assert both[0].grid != both[1].grid


def test_the_result_does_not_depend_on_the_store(tmp_path: Path) -> None:
    experiment = Experiment(config_of(seeds=1))
    without = experiment.measures(experiment.run())
    store = ArtefactStore(tmp_path)
    assert experiment.measures(experiment.run(store)) == without
    again = Experiment(config_of(seeds=1))
    assert again.plan(store).to_run == ()
    assert again.measures(again.run(store)) == without


def stages_of(**changes: Any) -> SeedGraph:
    return Experiment(config_of(seeds=1, **changes)).seeds[0]


def keys(stages: SeedGraph) -> dict[str, Any]:
    return {
        "data": stages.data.key,
        "f": [stage.key for stage in stages.standards],
        "perturbed": [branch.perturbed.key for branch in stages.branches],
        "g": [[stage.key for stage in row] for row in stages.perturbations],
        "selection": stages.selection.key,
        "controls": [stage.key for stage in stages.controls.values()],
    }


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"name": "other"}, {"data", "f", "perturbed", "g", "selection", "controls"}),
        ({"device": "cuda:0"}, {"data", "f", "perturbed", "g", "selection", "controls"}),
        ({"controls.draws": 3}, {"data", "f", "perturbed", "g", "selection"}),
        ({"controls.draws": 0}, {"data", "f", "perturbed", "g", "selection"}),
        ({"perturbation.epochs": 26}, {"data", "f", "perturbed"}),
        ({"perturbation.model.slope": 0.2}, {"data", "f", "perturbed"}),
        ({"attack.epsilon": 0.9}, {"data", "f"}),
        ({"attack.source": "none"}, {"data", "f"}),
        ({"standard.momentum": 0.8}, {"data"}),
        ({"dtype": "float32"}, set()),
        ({"data.shift": 0.3}, set()),
    ],
)
def test_what_a_change_keeps(changes: dict[str, Any], kept: set[str]) -> None:
    before, after = keys(stages_of()), keys(stages_of(**changes))
    assert {name for name in before if before[name] == after[name]} == kept


def test_the_grid_shares_its_stages() -> None:
    one = stages_of(**{"standard.lr": [0.05], "perturbation.lr": [0.1]})
    grid = stages_of()
    assert one.branches[0].standard == grid.branches[1].standard
    assert one.branches[0].learners[0].perturbation == grid.branches[1].learners[2].perturbation
    assert [len(row) for row in grid.perturbations] == [3, 3]
    assert len({stage for row in grid.perturbations for stage in row}) == 6


def test_seeds_share_nothing_where_the_data_are_drawn() -> None:
    first, second = Experiment(config_of()).seeds.values()
    behind = [{stage.key for stage in Experiment(config_of(seeds=[seed])).plan().stages} for seed in (3, 8)]
    assert not behind[0] & behind[1]
    assert first.data != second.data


def test_the_key_of_an_experiment() -> None:
    key = Experiment(config_of()).key
    assert key == Experiment(config_of()).key
    assert key == Experiment(config_of(name="other", device="cuda:1")).key
    for changes in ({"seeds": [3]}, {"seeds": [8, 3]}, {"attack.epsilon": 0.9}, {"controls.draws": 3}):
        assert key != Experiment(config_of(**changes)).key


def test_the_key_does_not_see_where_data_lie(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    first, second = tmp_path / "here.npz", tmp_path / "there" / "other.npz"
    np.savez(first, inputs=generator.normal(size=(30, 4)).astype(np.float32), labels=np.arange(30) % 2)
    second.parent.mkdir()
    shutil.copy(first, second)

    def key(path: Path, **changes: Any) -> str:
        return Experiment(resolve_config({}, {"data.name": f"npz:{path}", **changes})).key

    assert key(first) == key(second)
    assert key(first) != key(first, **{"data.heldout_share": 0.3})
    np.savez(second, inputs=generator.normal(size=(30, 4)).astype(np.float32), labels=np.arange(30) % 2)
    assert key(first) != key(second)


def test_bare_perturbations_of_size_zero() -> None:
    """g sees nothing but zeros: its bias learns the share of the targets, and its weights learn nothing."""
    config = config_of(
        **{"attack.source": "none", "attack.epsilon": 0.0, "dtype": "float32", "seeds": 1, "perturbation.epochs": 200}
    )
    experiment = Experiment(config)
    executor = experiment.run()
    g = executor.result(experiment.seeds[0].branches[0].learners[0].perturbation)
    start = initialise(TrainedTwoLayerConfig.model_validate(config.perturbation.model), 12, seed=0, role="perturbation")
    assert isinstance(g.module, TwoLayer)
    assert torch.equal(g.module.weight, start.weight)
    assert start.bias is not None
    assert g.module.bias is not None
    assert not torch.equal(g.module.bias, start.bias)


def test_more_than_two_classes_are_refused() -> None:
    experiment = Experiment(resolve_config({}, {"data.name": "digits", "data.classes": ["1", "2", "3"]}))
    with pytest.raises(DataError, match=r"the data have 3 classes \(1, 2, 3\).*choose two, for example"):
        experiment.run()


@pytest.mark.parametrize("section", ["standard", "perturbation"])
def test_divergence_names_stage_and_seed(section: str) -> None:
    # Infinite in float32.
    config = config_of(seeds=[8], dtype="float32", **{f"{section}.lr": 1e39})
    with pytest.raises(DivergenceError, match=rf"{section} classifier, lr 1e\+39, seed 8: training diverged at epoch"):
        Experiment(config).run()


def test_labels_play_no_part_in_training_g() -> None:
    """With given targets and nothing else changed, g does not see the true labels at all: only f does."""
    experiment = Experiment(config_of(seeds=1))
    stages = experiment.seeds[0]
    for row, column in ((0, 0), (1, 2)):
        branch = stages.branches[row]
        assert branch.learners[column].perturbation.named_inputs() == {"perturbed": branch.perturbed}
    executor = experiment.run()
    perturbed = executor.result(stages.branches[0].perturbed)
    data = executor.result(stages.data)
    assert torch.equal(perturbed.target_labels, -data.labels)
    assert math.isclose(float((perturbed.inputs - data.inputs).norm(dim=1).mean()), 0.8, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("keys", "is_small"),
    [
        ({}, True),
        ({"data.n_samples": 4000, "standard.model.hidden_dim": 2000}, False),
        (
            {"attack.n_sources": 4000, "attack.source": "uniform", "attack.targets": "uniform"}
            | {"perturbation.model.hidden_dim": 2000},
            False,
        ),
        ({"data.n_samples": 4000, "standard.model.name": "mlp", "standard.model.hidden_dim": 300}, True),
        ({"data.n_samples": 4000, "standard.model.name": "mlp", "standard.model.hidden_dim": 3000}, False),
    ],
)
def test_small_steps_are_known_before_they_run(keys: dict[str, Any], is_small: bool) -> None:
    """A step over all samples of a two-layer network, or over a batch, takes 2 x samples x units x coordinates."""
    experiment = Experiment(config_of(**keys))
    stages = [stage for stage in experiment.plan().to_run if isinstance(stage, TwoLayerTraining | DeepTraining)]
    assert all(stage.step_operations < 1e8 for stage in stages) == is_small
