"""The information bottleneck of a layer where it is known which unit f relies on, and how much noise it bears."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from perturblearn.classifiers import Classifier, Network, TwoLayer, make_network
from perturblearn.config import ModelConfig, NetworkConfig
from perturblearn.data import Dataset, Signature
from perturblearn.experiment.bottleneck import Bottleneck, find_bottleneck, measure_bottleneck
from perturblearn.perturbed import PerturbedSet

N = 400
Y = 1 - 2 * (torch.arange(N) % 2)
# Two features say the label equally well; a third says nothing.
X = torch.stack((Y.float(), Y.float(), torch.randn(N, generator=torch.Generator().manual_seed(0))), 1)
DATA = Dataset(X, Y, X, Y, value_range=(-math.inf, math.inf), class_names=("+1", "-1"))


def sees(*weights: float) -> Classifier:
    """A network with two hidden units for each feature, its positive and its negative part."""
    signs = torch.tensor([1.0, -1.0]).repeat(3)
    readout = torch.tensor(weights).repeat_interleave(2) * signs
    return Classifier(TwoLayer(torch.eye(3).repeat_interleave(2, dim=0) * signs[:, None], readout, None, 0.0))


RELIES = sees(1.0, 5.0, 0.0)
"""It needs the second feature most: a little noise there changes its answers."""


def perturbed(direction: int) -> PerturbedSet:
    nobody = torch.zeros(N, dtype=torch.bool)
    moved = X - 0.5 * Y[:, None] * torch.eye(3)[direction]
    return PerturbedSet(
        inputs=moved, target_labels=-Y, true_labels=Y, source_index=torch.arange(N), success=nobody,
        redirected=~nobody, source="natural", norm="l2", epsilon=0.5, classifier_hash="", zero_gradients=0, sources=X,
    )  # fmt: skip


def measured(made: PerturbedSet, g: Classifier) -> dict[str, float]:
    numbers = measure_bottleneck(DATA, RELIES, made, g, beta=0.1, layer=None, seed=0)
    return {name.removeprefix("bottleneck_"): float(value or 0) for name, value in numbers.items()}


def test_what_perturbations_move_and_what_g_has_is_told_by_the_unit() -> None:
    # g of the brittle feature, and of a robust one that tells only half of the labels.
    brittle = measured(perturbed(1), sees(0.0, 1.0, 0.0))
    assert brittle["robust_units"] == 4 / 6  # those of the first feature, and of the third, which f ignores
    assert brittle["robust_share"] == 0
    assert brittle["robust_heldout"] == brittle["non_robust_heldout"] == 1
    # The sources' units of the brittle feature have variance 1/4 each, as those of the robust one.
    assert measured(perturbed(0), sees(1.0, 0.0, 0.0))["robust_share"] == 1
    # g that says what the ignored feature says agrees with either half of f as often as that with the label.
    ignored = measured(perturbed(0), sees(0.0, 0.0, 1.0))
    share = float(((X[:, 2] > 0) == (Y > 0)).double().mean())
    assert ignored["robust_agreement"] == ignored["non_robust_agreement"] == pytest.approx(share)


def quadrature(weight: float, beta: float) -> float:
    """The best noise on both units of one feature, relative to their deviation of 1/2, by sums over a fine grid."""
    places = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.exp(-places.square() / 2)
    density /= density.sum()
    levels = torch.linspace(-2, 2, 2001, dtype=torch.float64).exp()
    # Noise on the two units adds up: a (1 + sigma (n - n')), and one of them carries the label.
    margins = weight * (1 + levels[:, None] / 2 * math.sqrt(2) * places)
    costs = softplus(-margins) @ density + beta * torch.log1p(levels**-2)
    return float(levels[costs.argmin()])


@pytest.mark.parametrize(("weight", "beta"), [(4.0, 0.1), (4.0, 0.02), (1.5, 0.1)])
def test_the_noise_is_what_the_integral_says(weight: float, beta: float) -> None:
    found = find_bottleneck(sees(weight, 0.0, 0.0), X, beta=beta)
    # Means over 100 steps of 256 inputs: the noise of a step is about a tenth of the level.
    assert (found.noise / found.deviation)[:2].tolist() == pytest.approx([quadrature(weight, beta)] * 2, rel=0.05)


def test_the_information_of_units_that_f_ignores_vanishes() -> None:
    found = find_bottleneck(RELIES, X, beta=0.1)
    assert found.information[4:].sum() < 0.01 < found.information[:2].sum() < found.information[2:4].sum()


def test_more_expensive_information_leaves_more_noise() -> None:
    cheap, dear = (find_bottleneck(RELIES, X, beta=beta) for beta in (0.02, 0.3))
    assert bool((cheap.noise < dear.noise)[:4].all())
    assert float(cheap.information.sum()) > float(dear.information.sum())


def test_a_unit_that_never_varies_is_of_neither_kind() -> None:
    found = Bottleneck(torch.zeros(3), torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.0, 2.0, 0.5]))
    assert (found.robust.tolist(), found.non_robust.tolist()) == ([False, True, False], [False, False, True])
    assert found.information[0] == 0


def convnet() -> Classifier[Network]:
    config = ModelConfig.model_validate({"name": "convnet", "width": 0.125})
    assert isinstance(config, NetworkConfig)
    network = make_network(config, Signature((1, 28, 28), 3, 0.0, (0.0,), (1.0,)), seed=0, role="f")
    return Classifier(network)


def test_a_channel_of_a_convolution_is_one_unit_and_f_stays_as_it_was() -> None:
    images = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    f = convnet()
    before = f.outputs(images)
    name, layer = next(
        (name, each) for name, each in f.module.body.named_modules() if isinstance(each, nn.Conv2d)
    )  # fmt: skip
    found = find_bottleneck(f, images, beta=0.1, layer=name)
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, __, output: seen.append(output.detach()))
    f.outputs(images)
    handle.remove()
    assert found.mean.tolist() == pytest.approx(seen[0].double().mean(dim=(0, 2, 3)).tolist(), abs=1e-6)
    deviation = seen[0].double().std(dim=(0, 2, 3), correction=0)
    assert found.deviation.tolist() == pytest.approx(deviation.tolist(), abs=1e-6)
    assert torch.equal(f.outputs(images), before)
    assert all(parameter.requires_grad for parameter in f.module.parameters())
