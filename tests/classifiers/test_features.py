"""What a network computes before its last layer: found for our networks and for users', or refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perturblearn.classifiers import TwoLayer, features_of, initialise, make_network
from perturblearn.classifiers.resnet9 import OUTPUT_SCALE
from perturblearn.config import ModelConfig, NetworkConfig, TwoLayerConfig
from perturblearn.data import Signature
from perturblearn.errors import ModelError

IMAGES = Signature((1, 28, 28), 3, 0.0, (0.0,), (1.0,))
X = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def body(forward: Callable[[Any, Tensor], Any], **layers: nn.Module) -> Any:
    made = Own(forward)
    for name, layer in layers.items():
        setattr(made, name, layer)
    return made


class Own(nn.Module):
    """A network of a user's."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self._forward = forward

    def forward(self, inputs: Tensor) -> Any:
        return self._forward(self, inputs.flatten(1))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("mlp", {"hidden_dim": 9}),
        ("convnet", {"width": 0.125}),
        ("resnet9", {"width": 0.125}),
        ("resnet18", {"width": 0.125}),
        ("wide_resnet", {"depth": 10, "width": 1}),
    ],
)
def test_a_linear_map_of_the_features_of_our_networks_is_their_output(name: str, keys: dict[str, float]) -> None:
    config = ModelConfig.model_validate({"name": name, **keys})
    assert isinstance(config, NetworkConfig)
    network = make_network(config, IMAGES, seed=0, role="f").eval()
    features, outputs = features_of(network, X[:1])(X)
    assert torch.equal(outputs, network(X))
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    scale = OUTPUT_SCALE if name == "resnet9" else 1.0
    assert torch.allclose(scale * last(features), outputs, rtol=0, atol=1e-5)


def test_the_features_of_a_two_layer_network_are_its_hidden_units() -> None:
    network = initialise(TwoLayerConfig(hidden_dim=7, slope=0.1), 6, seed=0, role="f")
    inputs = torch.randn(4, 6)
    features, outputs = features_of(network, inputs[:1])(inputs)
    assert isinstance(network, TwoLayer)
    assert network.bias is not None
    hidden = inputs @ network.weight.T + network.bias
    assert torch.allclose(features, torch.where(hidden > 0, hidden, 0.1 * hidden), rtol=0, atol=1e-6)
    assert torch.allclose(outputs, network(inputs), rtol=0, atol=1e-6)


def test_a_layer_of_the_parametrisation_of_the_tangent_kernel_is_linear_too() -> None:
    config = ModelConfig.model_validate({"name": "mlp", "parametrization": "ntk", "hidden_dim": 9})
    assert isinstance(config, NetworkConfig)
    network = make_network(config, IMAGES, seed=0, role="f")
    assert features_of(network, X[:1])(X)[0].shape == (5, 9)


def test_of_a_users_module_the_layer_called_last_counts_not_the_one_defined_last() -> None:
    module = body(lambda own, x: own.head(own.hidden(x).relu()), head=nn.Linear(8, 3), hidden=nn.Linear(784, 8))
    features, _ = features_of(module, X[:1])(X)
    assert torch.equal(features, module.hidden(X.flatten(1)).relu())


def test_a_layer_by_its_name_gives_its_output_and_leaves_no_hook_behind() -> None:
    module = body(lambda own, x: own.head(own.hidden(x)), head=nn.Linear(8, 3), hidden=nn.Linear(784, 8))
    read = features_of(module, X[:1], layer="hidden")
    assert torch.equal(read(X)[0], module.hidden(X.flatten(1)))
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())


def test_features_have_gradients_in_the_inputs() -> None:
    module = body(lambda own, x: own.head(own.hidden(x).tanh()), head=nn.Linear(8, 3), hidden=nn.Linear(784, 8))
    inputs = X.clone().requires_grad_()
    features_of(module, X[:1])(inputs)[0].sum().backward()
    assert inputs.grad is not None
    assert bool((inputs.grad != 0).any())


@pytest.mark.parametrize(
    ("module", "layer", "message"),
    [
        (body(lambda _, x: x[:, :3]), None, "Own calls no linear layer .* name the layer whose output they are with"),
        (
            body(lambda own, x: own.gate(x) * x[:, :3].sum(dim=1, keepdim=True).expand(-1, 3)[:, :1] + x[:, :3],
                 gate=nn.Linear(784, 1)),
            None,
            "the last linear layer that Own calls, gate, has 1 outputs, but the network has 3; name the layer",
        ),
        (body(lambda _, x: x[:, :3], unused=nn.Linear(3, 3)), "unused", "the layer unused is not reached by inputs"),
        (body(lambda own, x: own.head(x), head=nn.Linear(784, 3)), "heed", "Own has no layer 'heed'; .*: head"),
        (
            body(lambda own, x: own.pair(x)[0][:, :3], pair=Own(lambda _, x: (x, x))),
            "pair",
            "the layer pair has a tuple for 1 inputs, but features are one row for each input",
        ),
        (
            body(lambda own, x: own.mean(x) + x[:, :3], mean=Own(lambda _, x: x.mean())),
            "mean",
            r"the layer mean has a tensor of shape \(\) for 1 inputs",
        ),
        (body(lambda _, x: x @ x), None, "Own fails on 1 inputs"),
    ],
)  # fmt: skip
def test_a_network_without_such_features_is_refused_in_one_sentence(
    module: nn.Module, layer: str | None, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        features_of(module, X[:1], layer=layer)
