"""What a network computes before its last layer, read while it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from perturblearn.classifiers.evaluating import evaluating
from perturblearn.classifiers.importing import describe_error
from perturblearn.classifiers.linearised import is_linearised
from perturblearn.classifiers.mlp import NtkLinear
from perturblearn.classifiers.network import Network
from perturblearn.classifiers.outputs import unwrapped
from perturblearn.classifiers.two_layer import TwoLayer
from perturblearn.errors import ModelError


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a network, one row per input.

    Args:
        module: the network.
        layer: whose output they are, or with `before` whose input; None for the hidden units of a two-layer network,
            which are no layer.
        before: whether they are the layer's input.
        name: the layer's, for messages.
    """

    module: nn.Module
    layer: nn.Module | None
    before: bool
    name: str

    def __call__(self, inputs: Tensor) -> tuple[Tensor, Any]:
        """Features (n, k) and what the network returns for inputs (n, ...); both have gradients in the inputs.

        Raises:
            ModelError: the layer is not reached, or what passes there is not one tensor with a row for each input.
        """
        seen: list[Tensor] = []

        def see(features: Tensor) -> Tensor:
            seen.append(features)
            return features

        returned = self.changed(inputs, see)
        return seen[-1].flatten(1), returned  # of a layer that is used several times, what comes last

    def changed(self, inputs: Tensor, change: Callable[[Tensor], Tensor]) -> Any:
        """What the network returns for inputs (n, ...) where something changes its features on the way.

        Args:
            inputs: (n, ...).
            change: from the features as they pass, (n, ...), to others of the same shape; called as often as the layer.

        Raises:
            ModelError: as in a call.
        """
        if self.layer is None:
            assert isinstance(self.module, TwoLayer), "only two-layer networks have features in no layer"
            hidden = linear(inputs.flatten(1), self.module.weight, self.module.bias)
            return change(leaky_relu(hidden, self.module.slope)) @ self.module.readout
        reached: list[bool] = []

        def passed(found: Any) -> Tensor:
            reached.append(True)
            if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != len(inputs):
                what = (
                    f"a tensor of shape {tuple(found.shape)}"
                    if isinstance(found, Tensor)
                    else f"a {type(found).__name__}"
                )
                raise ModelError(
                    f"the layer {self.name} has {what} for {len(inputs)} inputs, but features are one row for each "
                    "input; name another layer"
                )
            return change(found)

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
            if args:
                return (passed(args[0]), *args[1:]), kwargs
            name = next(iter(kwargs), None)
            return args, kwargs if name is None else {**kwargs, name: passed(kwargs[name])}

        if self.before:
            handle = self.layer.register_forward_pre_hook(before, with_kwargs=True)
        else:
            handle = self.layer.register_forward_hook(lambda _, __, output: passed(output))
        try:
            returned = self.module(inputs)
        finally:
            handle.remove()
        if not reached:
            raise ModelError(f"the layer {self.name} is not reached by inputs; name another one")
        return returned


def features_of(module: nn.Module, example: Tensor, *, layer: str | None = None, key: str = "attack.layer") -> Features:
    """A network's features: the output of a layer, or what its last linear layer receives [Ilyas19, section 3].

    The last linear layer is found in a trial with an example. What it returns must be as wide as what the network
    returns: otherwise it is not the last layer, and nothing says which one is.

    Args:
        module: any network.
        example: inputs to try it on, (n, ...), at least one.
        layer: name of a layer, as in ``named_modules()`` of the network; None for the input of the last linear layer,
            or the hidden units of a two-layer network.
        key: the key of a configuration that names such a layer, for messages.

    Raises:
        ModelError: there is no such layer, or no last linear layer is found.
    """
    name = f"the network {module.config.name}" if isinstance(module, Network) else type(module).__name__
    if isinstance(module, Network) and is_linearised(module):
        raise ModelError(
            f"{name} is linearised, and its features are those of its start, which training does not change; choose "
            "another training of f"
        )
    layers = dict((module.body if isinstance(module, Network) else module).named_modules())
    if layer is not None:
        if layer not in layers or not layer:
            known = ", ".join([each for each in layers if each][-5:]) or "it has none"
            raise ModelError(f"{name} has no layer {layer!r}; name one of its layers, such as the last ones: {known}")
        return _tried(Features(module, layers[layer], before=False, name=layer), example)
    if isinstance(module, TwoLayer):
        return Features(module, None, before=False, name="hidden")
    last, returned = _last_linear(module, layers, example, name)
    if last is None:
        raise ModelError(
            f"{name} calls no linear layer (torch.nn.Linear), before which its features would be; name the layer whose "
            f"output they are with {key}"
        )
    place, width = last
    outputs, _ = unwrapped(returned)
    wanted = None if outputs is None else (outputs.shape[-1] if outputs.ndim > 1 else 1)
    if width != wanted:
        raise ModelError(
            f"the last linear layer that {name} calls, {place}, has {width} outputs, but the network has {wanted}; "
            f"name the layer whose output are the features with {key}"
        )
    return _tried(Features(module, layers[place], before=True, name=place), example)


def _last_linear(
    module: nn.Module, layers: Mapping[str, nn.Module], example: Tensor, name: str
) -> tuple[tuple[str, int] | None, Any]:
    """Name and width of the linear layer that is called last, and what the network returns."""
    called: list[tuple[str, int]] = []

    def watch(place: str, layer: nn.Module) -> Any:
        return layer.register_forward_hook(lambda _, __, output: called.append((place, output.shape[-1])))

    linear_layers = {place: layer for place, layer in layers.items() if isinstance(layer, nn.Linear | NtkLinear)}
    handles = [watch(place, layer) for place, layer in linear_layers.items()]
    try:
        with evaluating(module), torch.no_grad():
            body = module.returned(example.clone()) if isinstance(module, Network) else module(example.clone())
    except Exception as error:
        raise ModelError(
            f"{name} fails on {len(example)} inputs ({describe_error(error)}); it must accept them"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return (called[-1] if called else None), body


def _tried(features: Features, example: Tensor) -> Features:
    """The same, after a trial that refuses a layer which has no features."""
    with evaluating(features.module), torch.no_grad():
        features(example.clone())
    return features
