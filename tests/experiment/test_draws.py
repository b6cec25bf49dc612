"""Experiments with the draws of the papers' scripts, against their steps written out; what depends on which draw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.experiment.test_whole import bare, gradient_descent, outputs, share
from tests.experiment.tiny import blobs
from torch import Tensor

from perturblearn import learn_from_perturbations
from perturblearn.api import UserObjects, learn, make_experiment, perturb, verify
from perturblearn.api.learn import prepare_learn
from perturblearn.classifiers import TwoLayer
from perturblearn.config import value_of
from perturblearn.experiment import Experiment, SeedGraph
from perturblearn.seeding import CARDS, CudaGenerator, PublishedDraws

SEED = 3
SCRIPT: dict[str, Any] = {
    "seeds": [SEED],
    "dtype": "float64",
    "draws": "neurips2024",
    "data": {"name": "shifted_gauss", "input_dim": 6, "n_samples": 40, "n_heldout": 60},
    "standard": {"loss": "identity", "lr": 0.1, "epochs": 30, "model": {"hidden_dim": 20}},
    "attack": {"source": "none", "epsilon": 0.5},
    "perturbation": {"loss": "logistic", "lr": 0.2, "epochs": 25, "model": {"hidden_dim": 24}},
    "controls": {"draws": 0},
}

ICLR: dict[str, Any] = {
    "seeds": [SEED],
    "dtype": "float64",
    "draws": "iclr2024",
    "data": {"name": "uniform", "input_dim": 6, "n_samples": 40, "n_heldout": 60},
    "standard": {"loss": "identity", "lr": 0.1, "epochs": 30, "model": {"name": "one_hidden", "hidden_dim": 20}},
    "attack": {"source": "uniform", "epsilon": 0.5, "n_sources": 50},
    "perturbation": {"loss": "logistic", "lr": 0.2, "epochs": 25, "model": {"name": "one_hidden", "hidden_dim": 24}},
    "controls": {"draws": 2},
}


def experiment(script: dict[str, Any] = SCRIPT, **keys: Any) -> Experiment:
    return make_experiment(script, overrides={name.replace("__", "."): value for name, value in keys.items()})


def graph(script: dict[str, Any] = SCRIPT, **keys: Any) -> SeedGraph:
    (of_seed,) = experiment(script, **keys).seeds.values()
    return of_seed


def linear_layer(width: int, dim: int) -> TwoLayer:
    """A network as the script draws it, from torch's global generator."""
    layer, readout = torch.nn.Linear(dim, width), torch.empty(width)
    torch.nn.init.normal_(layer.weight, 0, dim**-0.5)
    torch.nn.init.normal_(layer.bias, 0, 1)
    torch.nn.init.normal_(readout, 0, width**-0.5)
    return TwoLayer(layer.weight.detach(), readout, layer.bias.detach(), 0.0)


def drawn(data: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, labels, targets and fresh inputs in the script's order."""
    gpu = CudaGenerator(SEED)
    if data == "gauss":
        inputs = gpu.normal(40, 6)
        labels = 2 * gpu.integers(2, 40) - 1
        targets = 2 * gpu.integers(2, 40) - 1
        return inputs, labels, targets, gpu.normal(60, 6)
    parts = [gpu.normal(20, 6) + 0.3, gpu.normal(20, 6) - 0.3]
    targets = 2 * gpu.integers(2, 40) - 1
    fresh = [gpu.normal(30, 6) + 0.3, gpu.normal(30, 6) - 0.3]
    return torch.cat(parts), torch.tensor([1, -1]).repeat_interleave(20), targets, torch.cat(fresh)


@pytest.mark.parametrize("form", ["auto", "plain", "row_space", "gram"])
@pytest.mark.parametrize("name", ["gauss", "shifted_gauss"])
def test_measures_are_those_of_the_script_s_steps(name: str, form: str) -> None:
    inputs, labels, targets, fresh = (part.double() if part.is_floating_point() else part for part in drawn(name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        starts = linear_layer(20, 6), linear_layer(24, 6)
    f = gradient_descent(starts[0], inputs, labels, "identity", 0.1, 30)
    perturbed = bare(f, inputs, targets)
    g = gradient_descent(starts[1], perturbed, targets, "logistic", 0.2, 25)
    made = experiment(data__name=name, standard__form=form, perturbation__form=form)
    ((row,),) = (of_seed.grid for of_seed in made.measures(made.run()))
    numbers = row.to_dict()
    # Shares are equal to the sample; the loss to float64's rounding over the training.
    assert numbers["standard_accuracy"] == share(outputs(f, inputs), labels)
    assert numbers["perturbation_accuracy"] == share(outputs(g, inputs), labels)
    agreed = (outputs(f, fresh).sign() == outputs(g, fresh).sign()).double().mean().item()
    assert numbers["agreement"] == agreed
    loss = torch.nn.functional.softplus(-targets * outputs(g, perturbed)).mean().item()
    assert numbers["perturbed_loss"] == pytest.approx(loss, rel=1e-9)


def one_hidden(width: int) -> TwoLayer:
    """A network as ICLR24's script draws it, from torch's global generator."""
    half = torch.full((width // 2,), width**-0.5)
    return TwoLayer(torch.nn.Linear(6, width, bias=False).weight.detach(), torch.cat((half, -half)), None, 0.01)


@pytest.mark.parametrize("name", ["uniform", "gauss"])
def test_measures_are_those_of_iclr_s_steps(name: str) -> None:
    gpu = CudaGenerator(SEED)

    def noise(count: int) -> Tensor:
        return gpu.normal(count, 6).double() if name == "gauss" else (2 * gpu.uniform(count, 6) - 1).double()

    inputs, labels = noise(40), 2 * gpu.integers(2, 40) - 1
    sources, targets = noise(50), 2 * gpu.integers(2, 50) - 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        starts = one_hidden(20), one_hidden(24), one_hidden(24)
    f = gradient_descent(starts[0], inputs, labels, "identity", 0.1, 30)
    control = gradient_descent(starts[1], sources, targets, "logistic", 0.2, 25)
    perturbed = sources + bare(f, sources, targets)
    g = gradient_descent(starts[2], perturbed, targets, "logistic", 0.2, 25)
    slope = {f"{role}__model__slope": 0.01 for role in ("standard", "perturbation")}
    made = experiment(ICLR, data__name=name, attack__source=name, **slope)
    executor = made.run()
    ((row,),) = (of_seed.grid for of_seed in made.measures(executor))
    numbers = row.to_dict()
    assert numbers["standard_accuracy"] == share(outputs(f, inputs), labels)
    assert numbers["perturbation_accuracy"] == share(outputs(g, inputs), labels)
    loss = torch.nn.functional.softplus(-targets * outputs(g, perturbed)).mean().item()
    assert numbers["perturbed_loss"] == pytest.approx(loss, rel=1e-9)
    # The first control is the script's network on noise alone; a second one has other targets and weights.
    accuracies = executor.result(made.seeds[SEED].controls["unperturbed"]).accuracy
    assert accuracies[0] == share(outputs(control, inputs), labels)


def test_images_are_read_by_a_loader_that_draws_between_both_networks() -> None:
    keys = {"seeds": [SEED], "draws": "neurips2024", "controls.draws": 0, "standard.model.hidden_dim": 8}
    made = make_experiment({}, UserObjects(data=blobs(2)), overrides={**keys, "perturbation.epochs": 1})
    executor = made.run()
    (of_seed,) = made.seeds.values()
    perturbed = executor.result(of_seed.branches[0].perturbed)
    assert torch.equal(perturbed.target_labels, 2 * CudaGenerator(SEED).integers(2, len(perturbed)) - 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        linear_layer(8, 12)
        torch.empty((), dtype=torch.int64).random_()
        start = linear_layer(100, 12)
    g = executor.result(of_seed.perturbations[0][0]).module
    assert isinstance(g, TwoLayer)
    assert torch.equal(g.readout, start.readout)  # which is not trained


def test_each_stage_depends_on_what_was_drawn_before_it() -> None:
    first = graph()

    def same(**keys: Any) -> dict[str, bool]:
        other = graph(**keys)
        stages = {
            "f": lambda of: of.standards[0].start,
            "g": lambda of: of.perturbations[0][0].start,
            "targets": lambda of: of.branches[0].perturbed.targets,
        }
        return {name: of_stage(first) == of_stage(other) for name, of_stage in stages.items()}

    assert same(attack__epsilon=0.1) == {"f": True, "g": True, "targets": True}
    assert same(standard__model__hidden_dim=7) == {"f": True, "g": False, "targets": True}
    assert same(perturbation__model__hidden_dim=7) == {"f": True, "g": True, "targets": True}
    assert same(data__n_samples=42) == {"f": True, "g": True, "targets": False}
    assert same(data__input_dim=7) == {"f": True, "g": True, "targets": False}
    assert same(data__n_heldout=62) == {"f": True, "g": True, "targets": True}
    assert same(draws_card="t4") == {"f": True, "g": True, "targets": False}


def test_what_iclr_draws_last_depends_on_all_sizes() -> None:
    first = graph(ICLR)

    def same(**keys: Any) -> str:
        other = graph(ICLR, **keys)
        stages = {
            "f": lambda of: of.standards[0].start,
            "g": lambda of: of.perturbations[0][0].start,
            "sources": lambda of: of.branches[0].perturbed.sources,
            "targets": lambda of: of.branches[0].perturbed.targets,
            "control": lambda of: of.controls["unperturbed"].published,
        }
        return " ".join(name for name, of_stage in stages.items() if of_stage(first) == of_stage(other))

    assert same(attack__epsilon=0.1, data__n_heldout=70) == "f g sources targets control"
    assert same(standard__model__hidden_dim=10) == "f sources targets"
    assert same(perturbation__model__hidden_dim=10) == "f sources targets control"
    assert same(data__n_samples=42) == "f g"
    assert same(attack__n_sources=42) == "f g sources"
    assert same(draws_card="t4") == "f g"


def test_every_stage_that_draws_knows_by_what() -> None:
    own, published = graph(draws="own"), graph()
    assert own.data.key != published.data.key
    assert own.standards[0].key != published.standards[0].key
    assert graph(draws_card="t4").data.key != published.data.key


def test_controls_and_held_out_targets_are_drawn_by_us() -> None:
    keys = {"seeds": [SEED], "controls.draws": 2}
    own, published = (
        make_experiment({}, UserObjects(data=blobs(2)), overrides={**keys, "draws": draws}).seeds[SEED]
        for draws in ("own", "neurips2024")
    )
    assert own.data.key == published.data.key  # no draw of theirs
    assert own.controls["unperturbed"].key == published.controls["unperturbed"].key
    assert own.controls["permuted"].key != published.controls["permuted"].key  # of other perturbed sets
    assert published.branches[0].heldout_perturbed.targets is None  # pyright: ignore[reportAttributeAccessIssue]


def test_theory_looks_at_the_networks_from_which_training_started() -> None:
    made = experiment(measures__theory=True)
    executor = made.run()
    theory = made.seeds[SEED].theory
    assert theory is not None
    case = theory.case(executor.result)  # pyright: ignore[reportArgumentType] - it is called in the same way
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        expected = linear_layer(20, 6), linear_layer(24, 6)
    for trained, drawn_first in zip((case.f, case.g), expected, strict=True):
        start = trained.start()
        assert start is not None
        assert torch.equal(start.weight, drawn_first.weight.double())


@pytest.mark.parametrize("script", [SCRIPT, ICLR], ids=lambda script: script["draws"])
def test_a_set_on_disk_is_repaired_with_the_draws_it_was_made_by(script: dict[str, Any], tmp_path: Path) -> None:
    (made,) = perturb(script, out=tmp_path)
    (shard,) = (made.folder / "training").glob("*.safetensors")
    content = shard.read_bytes()
    shard.unlink()
    verify(made, repair=True)
    assert shard.read_bytes() == content


def test_a_set_s_data_are_drawn_as_they_were_when_g_is_drawn_by_us(tmp_path: Path) -> None:
    (made,) = perturb(SCRIPT, out=tmp_path)
    by_script, by_us = (learn(made, overrides=keys).seeds[0] for keys in ({}, {"draws": "own"}))
    assert by_us.measures["standard_accuracy"] == by_script.measures["standard_accuracy"]
    assert by_us.measures["perturbed_loss"] != by_script.measures["perturbed_loss"]


def test_a_set_on_disk_keeps_its_sources_and_targets_when_g_is_drawn_by_us(tmp_path: Path) -> None:
    (made,) = perturb(ICLR, out=tmp_path)
    by_script, by_us = (prepare_learn(made, overrides=own).experiments[0] for own in ({}, {"draws": "own"}))
    control = graph(ICLR).controls["unperturbed"].published
    assert control is not None
    assert by_script.seeds[SEED].controls["unperturbed"].published == control
    assert by_us.seeds[SEED].controls["unperturbed"].published == replace(control, start=None)
    generator = CudaGenerator(SEED)
    for count in (40 * 6, 40):
        generator.skip(count)
    sources = by_us.run().result(by_us.seeds[SEED].branches[0].perturbed).sources
    assert sources is not None
    assert torch.equal(sources, (2 * generator.uniform(50, 6) - 1).double())


def test_cards_of_the_configuration_are_known() -> None:
    config = experiment().config
    assert config.card in CARDS
    for card in CARDS:
        assert value_of(experiment(draws_card=card).config, "draws_card") == card


MNIST_A: dict[str, Any] = {
    "seeds": [0],
    "draws": "neurips2024",
    "data": {"name": "mnist", "classes": [1, 2]},
    "attack": {"source": "none", "epsilon": 0.056},
    "controls": {"draws": 0},
    **{role: {"loss": "identity", "lr": 0.01, "epochs": 100} for role in ("standard", "perturbation")},
}


def test_mnist_a_at_the_published_seed(data_dir: Path) -> None:
    result = learn_from_perturbations(MNIST_A, data_dir=data_dir, out=None)
    # Plain loops with these draws, written for this project apart from it, give the same.
    published = {"standard_accuracy": 0.952, "perturbation_accuracy": 0.89, "agreement": 0.86}
    assert {name: result.summary[name]["mean"] for name in published} == pytest.approx(published, abs=0.01)


def test_a_scheme_says_the_same_of_equal_problems() -> None:
    assert PublishedDraws("neurips2024", "a100").targets("mnist", 5, 6) == PublishedDraws(
        "neurips2024", "a100"
    ).targets("fashion_mnist", 7, 8)
