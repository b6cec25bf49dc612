"""Weights drawn afresh, whatever the modules that hold them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from tests.classifiers.reference import randomise
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import register_parametrization

from perturblearn.classifiers.copying import copied
from perturblearn.classifiers.redraw import redraw
from perturblearn.errors import ModelError


def weight_norm(layer: nn.Linear) -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(layer)


def pruned(layer: nn.Linear) -> nn.Module:
    mask = torch.ones(5, 4)
    mask[0] = 0
    prune.custom_from_mask(layer, "weight", mask)
    prune.random_unstructured(layer, "bias", 1)
    return layer


class Doubled(nn.Module):
    """A parametrization that cannot be inverted."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def doubled(layer: nn.Linear) -> nn.Module:
    register_parametrization(layer, "weight", Doubled())
    return layer


KINDS: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "plain": lambda layer: layer,
    "weight norm, old": weight_norm,
    "weight norm": parametrizations.weight_norm,
    "spectral norm, old": nn.utils.spectral_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "pruned": pruned,
    "not invertible": doubled,
}


def trained(kind: str) -> nn.Module:
    """A layer with large weights that has computed something."""
    with torch.no_grad():
        layer = nn.Linear(4, 5)
        layer.weight.copy_(10 + torch.randn(5, 4))
        layer.bias.fill_(10.0)
    network = nn.Sequential(KINDS[kind](layer), nn.ReLU())
    network(torch.ones(2, 4))
    return network


def computed(network: nn.Module) -> Tensor:
    network.eval()(torch.ones(2, 4))
    weight = network[0].weight  # pyright: ignore[reportIndexIssue]
    assert isinstance(weight, Tensor)
    return weight.detach()


@pytest.mark.parametrize("kind", KINDS)
def test_computed_weights_are_drawn_as_the_module_draws_its_own(kind: str) -> None:
    network = trained(kind)
    redraw(network, "mine")
    weight = computed(network)
    own = nn.Linear(4, 5).weight.detach()
    bound = 1 / 4**0.5  # torch draws from U(-1/sqrt(4), 1/sqrt(4))
    match kind:
        case "spectral norm, old" | "spectral norm":
            # The power iterations have found the new weight's largest singular value, to the bits of float32.
            assert float(torch.linalg.matrix_norm(weight, 2)) == pytest.approx(1, abs=1e-3)
        case "orthogonal":
            assert torch.allclose(weight.T @ weight, torch.eye(4), atol=1e-5)
        case "not invertible":
            assert float(weight.abs().max()) <= 2 * bound
        case "pruned":
            assert not bool(weight[0].any())
            assert float(weight.abs().max()) <= bound
            assert int((network[0].bias == 0).sum()) == 1  # pyright: ignore[reportIndexIssue]
        case _:
            assert float(weight.abs().max()) <= bound
    assert len(weight.unique()) > 10
    assert weight.shape == own.shape
    for parameter in network.parameters():
        assert bool(parameter.isfinite().all())
        assert parameter.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_copies_compute_the_same_and_share_nothing(kind: str) -> None:
    network = trained(kind).eval()
    twin = copied(network, "mine")
    inputs = torch.randn(3, 4)
    assert torch.equal(twin(inputs), network(inputs))
    redraw(twin, "mine")
    assert not torch.allclose(twin(inputs), network(inputs))


@pytest.mark.parametrize(
    "module",
    [
        nn.MultiheadAttention(4, 2),
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        nn.Transformer(4, 2, 1, 1, 8, batch_first=True),
        nn.LSTM(4, 3),
        nn.Bilinear(4, 4, 2),
        nn.Embedding(4, 2, padding_idx=0),
        nn.PReLU(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_torch_s_modules_under_whatever_name_they_reset(module: nn.Module) -> None:
    redraw(randomise(module), "mine")
    first = {name: parameter.clone() for name, parameter in module.named_parameters()}
    assert all(bool(parameter.isfinite().all()) for parameter in first.values())
    torch.manual_seed(5)
    redraw(module, "mine")
    torch.manual_seed(5)
    again = copied(module, "mine")
    redraw(again, "mine")
    for name, parameter in module.named_parameters():
        assert torch.equal(again.get_parameter(name), parameter)


class Tokens(nn.Module):
    """As networks of Hugging Face: the whole knows how its parts are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.full((1, 4), 9.0))
        self.layer = nn.Linear(4, 3)


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = Tokens()

    def _init_weights(self, part: nn.Module) -> None:
        if isinstance(part, Tokens):
            nn.init.constant_(part.token, 0.25)
        elif isinstance(part, nn.Linear):
            nn.init.constant_(part.weight, 0.5)


def test_a_network_that_knows_how_its_parts_are_drawn() -> None:
    network = Whole()
    redraw(network, "mine")
    assert bool((network.tokens.token == 0.25).all())
    assert bool((network.tokens.layer.weight == 0.5).all())


def test_a_parameter_that_a_reset_forgets_is_named() -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.scale = nn.Parameter(torch.ones(3))

    where = "because 1 (Scaled) has a parameter scale that its reset_parameters does not set; give"
    with pytest.raises(ModelError, match=re.escape(where)):
        redraw(nn.Sequential(nn.ReLU(), Scaled()), "mine")
