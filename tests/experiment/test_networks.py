"""Experiments on deep networks and several classes: the same stages, measured by hand from what they leave."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import perturblearn
from perturblearn import ConfigError, ModelError, learn_from_perturbations
from perturblearn.api import UserObjects, make_experiment
from perturblearn.data import Dataset

MLP: dict[str, Any] = {"model.name": "mlp", "model.hidden_dim": 24, "epochs": 6, "lr": 0.05, "batch_size": 32}
KEYS: dict[str, Any] = {
    "seeds": [2],
    "data.name": "digits",
    "data.classes": [0, 1, 2],
    "data.n_samples": 240,
    "attack.name": "pgd",
    "attack.epsilon": 1.5,
    "attack.steps": 5,
    "attack.targets": "other",
    "controls.draws": 1,
    **{f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in MLP.items()},
}


pytestmark = pytest.mark.usefixtures("one_thread")


def mlp_outputs(state: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """The MLP of two hidden layers by hand, from the file of its weights."""
    hidden = (inputs - state["module.mean"].item()) / state["module.std"].item()
    weights = [value for name, value in state.items() if name.endswith("weight")]
    biases = [value for name, value in state.items() if name.endswith("bias")]
    assert len(weights) == len(biases) == 3
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        hidden = torch.relu(hidden @ weight.T + bias)
    return hidden @ weights[-1].T + biases[-1]


def test_a_whole_run_from_its_files(tmp_path: Path) -> None:
    result = learn_from_perturbations({}, overrides=KEYS, out=tmp_path)
    assert result.folder is not None
    seed = result.folder / "seed-2"
    states = {name: load_file(seed / f"{name}.safetensors") for name in ("standard", "perturbation")}
    (stages,) = make_experiment({}, overrides=KEYS).seeds.values()
    data: Dataset = make_executor(KEYS).result(stages.data)
    inputs, heldout = data.inputs, data.heldout_inputs
    # Signature's one mean and deviation of all values: digits are images of one channel.
    for state in states.values():
        assert float(state["module.mean"]) == pytest.approx(inputs.mean().item(), abs=1e-5)
        assert float(state["module.std"]) == pytest.approx(inputs.std(correction=0).item(), abs=1e-5)
    said = {name: mlp_outputs(state, heldout).argmax(dim=1) for name, state in states.items()}
    f, g, truth = said["standard"], said["perturbation"], data.heldout_labels
    measures = result.seeds[0].measures
    assert measures["standard_accuracy_heldout"] == (f == truth).double().mean().item()
    assert measures["perturbation_accuracy_heldout"] == (g == truth).double().mean().item()
    assert measures["agreement"] == (f == g).double().mean().item()
    classes = result.seeds[0].classes
    confusion = [[int(((truth == row) & (g == column)).sum()) for column in range(3)] for row in range(3)]
    assert classes.to_dict()["confusion"] == confusion
    assert classes.names == ("0", "1", "2")

    perturbed = load_file(seed / "perturbed.safetensors")
    targets = perturbed["target_labels"]
    assert bool((targets != perturbed["true_labels"]).all())
    sizes = (perturbed["inputs"] - inputs[perturbed["source_index"]]).norm(dim=1)
    assert float(sizes.max()) <= 1.5
    success = mlp_outputs(states["standard"], perturbed["inputs"]).argmax(dim=1) == targets
    assert torch.equal(success, perturbed["success"].bool())
    assert measures["attack_success"] == pytest.approx(success.double().mean().item())
    # Perturbations teach what wrong labels alone do not.
    assert measures["perturbation_accuracy_heldout"] > result.summary["unperturbed_control_heldout"]["mean"]
    assert "class (held-out)" in str(result)
    assert (result.folder / "confusion.png").is_file()

    again = learn_from_perturbations({}, overrides=KEYS)
    assert again.seeds == result.seeds


def make_executor(keys: dict[str, Any]) -> Any:
    return make_experiment({}, overrides=keys).run()


def test_an_f_as_it_stands_is_known_by_its_content(tmp_path: Path) -> None:
    result = learn_from_perturbations({}, overrides=KEYS, out=tmp_path / "first")
    assert result.folder is not None
    weights = result.folder / "seed-2/standard.safetensors"
    copy = tmp_path / "elsewhere.bin"
    copy.write_bytes(weights.read_bytes())
    trained = {name: KEYS[f"standard.{name}"] for name in ("epochs", "lr", "batch_size")}
    keys = {name: value for name, value in KEYS.items() if name.removeprefix("standard.") not in trained}
    keys |= {"standard.training": "none", "controls.draws": 0}
    taken = [
        learn_from_perturbations(
            {}, overrides={**keys, "standard.model.checkpoint": str(path)}, out=tmp_path / "second"
        )
        for path in (weights, copy)
    ]
    assert taken[0].key == taken[1].key
    for name in ("standard_accuracy", "perturbation_accuracy", "agreement", "attack_success"):
        assert taken[0].seeds[0].measures[name] == result.seeds[0].measures[name]
    other = load_file(weights)
    other[next(name for name in sorted(other) if name.endswith("bias"))] += 1
    save_file(other, tmp_path / "other.safetensors")
    changed = make_experiment({}, overrides={**keys, "standard.model.checkpoint": str(tmp_path / "other.safetensors")})
    assert changed.key != taken[0].key
    with pytest.raises(ModelError, match="weights of another network"):
        make_experiment(
            {}, overrides={**keys, "standard.model.checkpoint": str(weights), "standard.model.hidden_dim": 25}
        ).run()
    with pytest.raises(ModelError, match="does not exist"):
        make_experiment({}, overrides={**keys, "standard.model.checkpoint": str(tmp_path / "none.pt")})


def small_net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 3))


def nudge(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """One gradient step of length 1."""
    leaf = inputs.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(leaf), targets, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    step = gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (inputs.ndim - 1))
    return (inputs - step).clamp(0, 1)


OWN = {
    **{name: value for name, value in KEYS.items() if ".model." not in name and not name.startswith("attack.")},
    "attack.targets": "other",
    "attack.epsilon": 1.0,
    "data.centre": False,
    "controls.draws": 0,
}


def test_networks_and_attack_as_objects_in_python() -> None:
    template = small_net()
    result = learn_from_perturbations({}, standard=small_net, perturbation=template, attack=nudge, overrides=OWN)
    again = learn_from_perturbations({}, standard=small_net, perturbation=template, attack=nudge, overrides=OWN)
    assert result.seeds[0].measures["standard_accuracy"] > 0.8
    assert 0 < result.seeds[0].measures["perturbation_size"] <= 1
    assert result.config.standard.model.name.startswith("python:")
    assert (again.key, again.seeds) == (result.key, result.seeds)
    trained = small_net()
    taken = learn_from_perturbations(
        {}, standard=trained, perturbation=small_net, attack=nudge,
        overrides={
            **{name: value for name, value in OWN.items() if not name.startswith("standard.")},
            "standard.training": "none",
        },
    )  # fmt: skip
    experiment = make_experiment({}, UserObjects(standard=small_net, perturbation=small_net), overrides=OWN)
    (stages,) = experiment.seeds.values()
    data: Dataset = experiment.run().result(stages.data)
    said = trained(data.heldout_inputs).argmax(dim=1)
    # f is taken with its weights as they stand.
    share = (said == data.heldout_labels).double().mean().item()
    assert taken.seeds[0].measures["standard_accuracy_heldout"] == share
    assert stages.branches[0].standard.kind == "standard network"


def test_an_attack_that_is_larger_than_it_may_be_is_refused() -> None:
    with pytest.raises(ModelError, match=r"the attack nudge returned a perturbation of size .* epsilon is 0\.1"):
        learn_from_perturbations(
            {}, standard=small_net, perturbation=small_net, attack=nudge, overrides={**OWN, "attack.epsilon": 0.1}
        )


def test_own_code_by_its_import_path_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = (
        "import torch\n\n\ndef net():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, "
        "{outputs}))\n\n\ndef still(model, inputs, targets):\n    return inputs.clone()\n"
    )
    keys = {**OWN, "standard.model.name": "own_code_a:net", "perturbation.model.name": "own_code_a:net",
            "attack.name": "own_code_a:still"}  # fmt: skip
    (tmp_path / "own_code_a.py").write_text(source.format(outputs=3))
    (tmp_path / "own_code_b.py").write_text(source.format(outputs=3))
    (tmp_path / "own_code_c.py").write_text(source.format(outputs=5))
    result = learn_from_perturbations({}, overrides=keys)
    assert result.seeds[0].measures["perturbation_size"] == 0
    keys["standard.model.name"] = "own_code_c:net"
    with pytest.raises(ModelError, match=r"returns outputs of shape \(2, 5\) for n = 2 inputs of 3 classes"):
        learn_from_perturbations({}, overrides=keys)
    for name in ("a", "b", "c"):
        sys.modules.pop(f"own_code_{name}", None)


@pytest.mark.parametrize(
    "keys",
    [
        {"attack.name": "minimum_norm", "attack.epsilon": 4.0},
        {"attack.name": "radial_pgd", "attack.norm": "linf", "attack.epsilon": 0.3},
        {"attack.name": "radial_pgd", "attack.norm": "l0", "attack.pixel_share": 0.1, "attack.epsilon": 1.0},
        {"attack.name": "pgd", "attack.norm": "linf", "attack.epsilon": 0.3, "attack.random_start": True,
         "attack.restarts": 2, "attack.step": 0.3},
        {"attack.name": "one_step", "attack.norm": "linf", "attack.epsilon": 0.3},
        {"attack.name": "foolbox:LinfPGD", "attack.norm": "linf", "attack.epsilon": 0.3, "data.centre": False},
        {"attack.source": "uniform", "attack.targets": "uniform", "attack.n_sources": 100},
        {"attack.products": "bfloat16"},
    ],
    ids=str,
)  # fmt: skip
def test_every_attack_by_its_configuration(keys: dict[str, Any]) -> None:
    keys = {
        **KEYS,
        "controls.draws": 0,
        "controls.linear_probe": False,
        "standard.epochs": 3,
        "attack.steps": 4,
        **keys,
    }
    if keys["attack.name"] == "one_step" or keys.get("attack.norm") == "l0":
        del keys["attack.steps"]
    result = learn_from_perturbations({}, overrides=keys)
    (stages,) = make_experiment({}, overrides=keys).seeds.values()
    executor = make_executor(keys)
    perturbed, data = executor.result(stages.branches[0].perturbed), executor.result(stages.data)
    change = perturbed.perturbations.flatten(1)
    sizes = {"l2": change.norm(dim=1), "linf": change.abs().amax(dim=1), "l0": (change != 0).sum(dim=1)}[
        keys.get("attack.norm", "l2")
    ]
    bound = int(0.1 * 64) if keys.get("attack.norm") == "l0" else keys["attack.epsilon"]
    if keys["attack.name"] != "one_step":
        assert float(sizes.max()) <= bound
        low, high = data.value_range
        assert low <= float(perturbed.inputs.min()) <= float(perturbed.inputs.max()) <= high
        assert torch.allclose(perturbed.sizes.double(), sizes.double(), rtol=1e-5)
    assert result.seeds[0].measures["attack_success"] > 0
    heldout = executor.result(stages.branches[0].heldout_perturbed)
    assert len(heldout) == data.n_heldout


def test_the_plan_tells_what_networks_cost() -> None:
    text = perturblearn.plan({}, overrides=KEYS).describe()
    assert "standard classifier, mlp, lr 0.05" in text
    assert "6 epochs of 7 steps, batches of 32" in text
    assert "5 steps on 240 samples" in text
    experiment = make_experiment({}, overrides=KEYS)
    found = {group[0].label: cost for group, cost in experiment.plan().estimates()}
    # Multiplications and additions of a pass: 2 (64 24 + 24 24 + 24 3) per sample, three passes a step.
    forward = 2 * (64 * 24 + 24 * 24 + 24 * 3)
    assert found["standard classifier, mlp, lr 0.05"].operations == 3 * 6 * 7 * 32 * forward
    assert found["perturbed set"].operations == 11 * 240 * forward


def test_what_two_layer_theory_does_not_cover_is_said() -> None:
    result = learn_from_perturbations({}, overrides={**KEYS, "controls.draws": 0, "controls.linear_probe": False})
    assert "linear_probe" not in result.summary
    with pytest.raises(ConfigError, match="predictions are for two-layer networks"):
        perturblearn.compare_with_theory(result)


def test_wide_lazy_networks_follow_the_kernel_at_infinite_width() -> None:
    ntk = {"model.parametrization": "ntk", "model.hidden_dim": 512, "training": "linearised", "lr": 0.5}
    ntk |= {"epochs": 20, "weight_decay": 0.0, "schedule": "constant", "momentum": 0.0, "batch_size": 100}
    keys = {**KEYS, **{f"{role}.{key}": value for role in ("standard", "perturbation") for key, value in ntk.items()}}
    keys |= {"data.classes": [3, 8], "data.n_samples": 100, "attack.targets": "uniform", "measures.theory": True}
    measures = learn_from_perturbations({}, overrides=keys).seeds[0].measures
    # One over the root of the width, times what kernel and gradient amplify.
    assert measures["standard_infinite_width_correlation"] > 0.98
    assert measures["perturbation_infinite_width_correlation"] > 0.9
    # A linearised network is its own linearisation, and its kernel predicts it up to Euler's steps and momentum.
    assert measures["perturbation_linearisation_distance"] < 1e-4
    assert measures["perturbation_kernel_drift"] < 1e-4
    assert measures["perturbation_kernel_prediction_correlation"] > 0.999


def test_a_margin_loss_needs_two_classes() -> None:
    with pytest.raises(
        ConfigError, match=r"loss = 'exponential' is a loss on the margin of two classes, but .* have 3"
    ):
        learn_from_perturbations({}, overrides={**KEYS, "standard.loss": "exponential"})
    two = {**KEYS, "data.classes": [3, 8], "standard.loss": "exponential", "perturbation.loss": "exponential"}
    two |= {"standard.lr": 0.01, "perturbation.lr": 0.01, "attack.epsilon": 3.0, "standard.epochs": 20}
    result = learn_from_perturbations({}, overrides=two)
    assert result.seeds[0].measures["standard_accuracy"] > 0.9
    assert "positive_share" in result.summary
    assert "class (held-out)" not in str(result)


def test_two_layer_and_deep_networks_may_be_mixed() -> None:
    keys = {name: value for name, value in KEYS.items() if not name.startswith("perturbation.")}
    keys |= {"data.classes": [3, 8], "perturbation.epochs": 20, "perturbation.model.hidden_dim": 20}
    result = learn_from_perturbations({}, overrides=keys)
    assert result.config.perturbation.model.name == "two_layer"
    assert "linear_probe" not in result.summary
    assert result.seeds[0].measures["standard_accuracy"] > 0.9


def test_checkpointing_is_no_part_of_an_experiment_s_identity() -> None:
    keys = [make_experiment({}, overrides={**KEYS, **extra}).key for extra in ({}, {"checkpoint_minutes": 0.1})]
    assert keys[0] == keys[1]
