"""Robust accuracy against closed forms, and adversarially trained f and g in whole experiments."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.experiment.tiny import DEEP, MLP, TWO_LAYER, blobs, experiment_of, names_of
from tests.training.minibatch_problems import samples, wrapped
from torch import Tensor, nn

from perturblearn.api import UserObjects, make_experiment
from perturblearn.api.comparing import why_no_theory
from perturblearn.attacks import L2, PGD, LInf, Norm
from perturblearn.classifiers import Classifier, is_target
from perturblearn.config import ClassifierConfig, resolve_config
from perturblearn.data import Dataset
from perturblearn.experiment import SeedMeasures
from perturblearn.experiment.learn import TrainingSpec, learn
from perturblearn.experiment.robustness import error_loss, robust_accuracy
from perturblearn.graph import Costly, make_plan

pytestmark = pytest.mark.usefixtures("one_thread")
ROBUST = {"measures.robust_accuracy": True, "measures.robust_norm": "linf", "measures.robust_epsilon": 0.1}
NAMES = ("standard_robust_accuracy", "perturbation_robust_accuracy")
UNBOUNDED = (-math.inf, math.inf)


def linear(n_classes: int) -> Classifier:
    """A linear classifier of inputs as they are."""
    generator = torch.Generator().manual_seed(1)
    layer = nn.Linear(6, 1 if n_classes == 2 else n_classes).double()
    layer.weight.data = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
    layer.bias.data.zero_()
    network = wrapped(layer, (6,), n_classes)
    network.mean.zero_()
    network.std.fill_(1.0)
    return Classifier(network)


def weights(classifier: Classifier) -> Tensor:
    return next(parameter for name, parameter in classifier.module.named_parameters() if name.endswith("weight"))


@pytest.mark.parametrize(("norm", "dual"), [(LInf(), 1.0), (L2(), 2.0)])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3])
def test_of_a_linear_classifier_it_is_the_closed_form(norm: Norm, dual: float, epsilon: float) -> None:
    classifier = linear(2)
    inputs, _ = samples(300, (6,), 2)
    labels = torch.where(torch.arange(300) % 5 > 0, classifier.outputs(inputs).sign(), -1).long()
    margins = labels * classifier.outputs(inputs)
    # y f falls by epsilon times the dual norm of the weights. Steps of twice epsilon lead there from anywhere: what is
    # aside of the weights shrinks at least to half in each.
    expected = (margins > epsilon * weights(classifier).norm(dual)).double().mean().item()
    attack = PGD(norm, epsilon, steps=20, step=2.0, random_start=True)
    found = robust_accuracy(classifier, inputs, labels, attack, value_range=UNBOUNDED, seed=0)
    assert found == expected
    assert 0 < found < 1


def test_several_classes_are_no_less_robust_than_the_linear_bound() -> None:
    classifier = linear(3)
    inputs, _ = samples(300, (6,), 3)
    outputs = classifier.outputs(inputs)
    labels = outputs.argmax(dim=1)
    rows = weights(classifier)
    distances = (rows[labels][:, None] - rows[None]).norm(dim=2)  # in L2, what a unit of epsilon takes of a margin
    margins = outputs.gather(1, labels[:, None]) - outputs
    others = torch.arange(3) != labels[:, None]

    def exact(epsilon: float) -> float:
        return ((margins > epsilon * distances) | ~others).all(dim=1).double().mean().item()

    attack = PGD(L2(), 0.1, steps=30, step=0.3, random_start=True)
    found = robust_accuracy(classifier, inputs, labels, attack, value_range=UNBOUNDED, seed=0)
    # Steps follow the cross-entropy, which leans towards both other classes, and so they may end beside the nearest.
    assert exact(0.1) <= found <= exact(0.09) < exact(0.0)


def test_the_search_keeps_an_error_that_is_not_the_largest_cross_entropy() -> None:
    logits = torch.tensor([[0.0, -1.0, -1.0], [0.4, 0.5, -9.0], [0.0, -0.1, -0.1]])
    labels = torch.zeros(3, dtype=torch.int64)
    losses = error_loss(logits, labels)
    entropies = nn.functional.cross_entropy(logits, labels, reduction="none")
    assert int(entropies.argmax()) == 2
    assert int(losses.argmin()) == 1
    assert (losses < 0).tolist() == [False, True, False]
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(error_loss(leaf, labels).sum(), leaf)
    (expected,) = torch.autograd.grad(-nn.functional.cross_entropy(leaf, labels, reduction="sum"), leaf)
    assert torch.equal(gradient, expected)


def bent() -> Classifier:
    """A small network whose searches end in different places."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3))
        for parameter in body.parameters():
            parameter.data *= 3
    return Classifier(wrapped(body.double(), (6,), 3).eval())


def test_more_restarts_find_more_errors_and_nobody_beats_clean_accuracy() -> None:
    classifier = bent()
    inputs, _ = samples(300, (6,), 3)
    labels = classifier.outputs(inputs).argmax(dim=1)
    labels[:30] = (labels[:30] + 1) % 3

    def reached(restarts: int, epsilon: float) -> float:
        attack = PGD(LInf(), epsilon, steps=2, step=0.5, random_start=True, restarts=restarts)
        return robust_accuracy(classifier, inputs, labels, attack, value_range=(-0.25, 0.75), seed=0)

    assert reached(1, 0.0) == is_target(classifier.outputs(inputs), labels).double().mean().item() == 0.9
    found = [reached(restarts, 0.05) for restarts in (1, 2, 4, 8)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0] < 0.9


def measures_of(keys: dict[str, Any], data: Dataset) -> SeedMeasures:
    experiment = experiment_of(keys, data)
    (of_seed,) = experiment.measures(experiment.run())
    return of_seed


def two_features() -> Dataset:
    """One coordinate says the label by ±1 nine times in ten, eight others by ±0.1 always."""

    def part(count: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(count)
        labels = 1 - 2 * torch.randint(2, (count,), generator=generator)
        robust = torch.where(torch.arange(count) % 10 > 0, labels, -labels)
        return torch.cat((robust[:, None], 0.1 * labels[:, None].expand(-1, 8)), dim=1).double(), labels

    return Dataset(*part(200), *part(100), (-2.0, 2.0), ("a", "b"))


@pytest.mark.parametrize(
    "network",
    [{"model.name": "mlp", "model.normalise": False, "lr": 0.1}, {"model.hidden_dim": 20, "lr": 2.0}],
    ids=["deep", "two-layer"],
)
def test_adversarial_training_leaves_the_feature_that_is_not_robust(network: dict[str, Any]) -> None:
    data = two_features()
    keys = {"seeds": [2], "dtype": "float64", "controls.draws": 0, **ROBUST, "measures.robust_epsilon": 0.2}
    keys |= {f"standard.{key}": value for key, value in {**network, "epochs": 60}.items()}
    adversary = {"training": "adversarial", "adversary.name": "pgd", "adversary.norm": "linf", "adversary.epsilon": 0.2}
    adversarial = {**keys, **{f"standard.{key}": value for key, value in adversary.items()}}
    standard, robust = (measures_of(each, data).measures for each in (keys, adversarial))
    for measured in (standard, robust):
        for name in NAMES:
            assert measured[name] <= measured[name.replace("_robust_accuracy", "_accuracy_heldout")]
    assert standard["standard_accuracy_heldout"] == 1.0
    assert standard[NAMES[0]] < 0.7
    # By the robust coordinate alone, which no change of 0.2 turns.
    assert robust["standard_accuracy_heldout"] == robust[NAMES[0]] == 0.9


def test_g_and_its_controls_train_adversarially_too() -> None:
    for base, data in ((DEEP, blobs()), (TWO_LAYER, blobs(2))):
        keys = {**base, "perturbation.training": "adversarial", "perturbation.adversary.epsilon": 0.3}
        found, plain = measures_of(keys, data), measures_of(base, data)
        assert found.measures["standard_accuracy"] == plain.measures["standard_accuracy"]
        assert found.measures["perturbed_loss"] != plain.measures["perturbed_loss"]
        assert found.controls != plain.controls


def test_a_two_layer_network_against_a_loop_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(20, 5, generator=generator, dtype=torch.float64)
    labels = 1 - 2 * (torch.arange(20) % 2)
    section = ClassifierConfig.model_validate(
        {
            "training": "adversarial",
            "epochs": 5,
            "lr": 0.3,
            "model": {"hidden_dim": 8},
            "adversary": {"name": "pgd", "norm": "l2", "epsilon": 0.2, "steps": 2, "step": 0.6, "random_start": False},
        }
    )
    spec = TrainingSpec(section, labels, 4, "standard", value_range=(0.0, 1.0))
    found = learn(spec, inputs, report=lambda done, steps, note: None)
    network = spec.first_network(inputs)
    velocity = [torch.zeros_like(parameter) for parameter in network.parameters()]
    for _ in range(5):
        moved = inputs.clone()
        for _ in range(2):
            leaf = moved.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(-(labels * network(leaf)).sum(), leaf)
            change = moved + 0.12 * gradient / gradient.norm(dim=1, keepdim=True) - inputs
            change *= (0.2 / change.norm(dim=1, keepdim=True)).clamp(max=1)
            moved = (inputs + change).clamp(0, 1)
        loss = nn.functional.softplus(-labels * network(moved)).mean()
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for parameter, speed, gradient in zip(network.parameters(), velocity, gradients, strict=True):
                speed.mul_(0.9).add_(gradient)
                parameter -= 0.3 * speed
    for own, other in zip(found.module.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-10)


def test_robust_accuracy_is_one_stage_more_and_costs_its_passes() -> None:
    data = blobs()
    plain, asked = (experiment_of({**DEEP, **keys}, data) for keys in ({}, ROBUST))
    names = [names_of(make_plan(each.targets)) for each in (plain, asked)]
    assert sorted(names[1]) == sorted([*names[0], "robust accuracy"])
    more = experiment_of({**DEEP, **ROBUST, "measures.robust_restarts": 6}, data)
    costs = [each.seeds[2].robust_accuracy for each in (asked, more)]
    three, six = (stage.estimate([stage]).operations for stage in costs if stage is not None)
    assert six == 2 * three


@pytest.mark.parametrize(
    ("network", "usual", "inner"),
    # A step goes forward, and backward through weights and inputs, one of the attack through inputs alone; the other
    # counts both alike.
    [(MLP, 3, 2), ({"model.hidden_dim": 8, "form": "plain"}, 1, 1)],
    ids=["deep", "two-layer"],
)
def test_adversarial_training_costs_the_passes_of_its_attack(network: dict[str, Any], usual: int, inner: int) -> None:
    operations = []
    for keys in ({}, {"form": None, "training": "adversarial", "adversary.name": "pgd", "adversary.steps": 7}):
        given = {f"standard.{key}": value for key, value in {**network, **keys}.items() if value is not None}
        (stage,) = experiment_of({"seeds": [2], **given}, blobs(2)).seeds[2].standards
        assert isinstance(stage, Costly)
        operations.append(stage.estimate([stage]).operations)
    assert operations[1] / operations[0] == pytest.approx((usual + 7 * inner) / usual)


@pytest.mark.parametrize("role", ["standard", "perturbation"])
def test_neither_paper_predicts_an_adversarial_training(role: str) -> None:
    assert why_no_theory(resolve_config({})) is None
    told = why_no_theory(resolve_config({}, {f"{role}.training": "adversarial"}))
    assert told is not None
    assert told.startswith("digits trains adversarially, but both papers' predictions are for training on the inputs")


def one_step_away(model: nn.Module, inputs: Tensor, labels: Tensor, *, epsilon: float) -> Tensor:
    """One step of epsilon away from the labels, as a user may write it."""
    leaf = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
    return (inputs + epsilon * gradient.sign()).clamp(0, 1)


def test_a_search_of_ones_own() -> None:
    data = blobs()
    name = f"{__name__}:one_step_away"
    keys = {**DEEP, "controls.draws": 0, **ROBUST, "measures.robust_attack": name}
    experiment = make_experiment({}, UserObjects(data=data), overrides=keys)
    executor = experiment.run()
    (of_seed,) = experiment.measures(executor)
    (graph,) = experiment.seeds.values()
    f: Classifier = executor.result(graph.standards[0])
    with torch.enable_grad():
        moved = one_step_away(f.module, data.heldout_inputs, data.heldout_labels, epsilon=0.1)
    expected = is_target(f.outputs(moved), data.heldout_labels) & is_target(
        f.outputs(data.heldout_inputs), data.heldout_labels
    )
    assert of_seed.measures[NAMES[0]] == expected.double().mean().item()
