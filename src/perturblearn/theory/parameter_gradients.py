"""Gradients of every input's outputs in a network's parameters, held so that their products are cheap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from perturblearn.classifiers import (
    Network,
    NtkLinear,
    TwoLayer,
    differentiable_forward,
    is_linearised,
    linearised_from,
)

Factors = tuple[Tensor, Tensor]
"""What comes back to a layer's outputs, (n, outputs * fan_out), and what goes into it, (n, fan_in), with a column more
for its bias: the gradient in its weights is their outer product."""


@dataclass(frozen=True)
class Gradients:
    """Gradients of a block of n inputs.

    Args:
        factored: in the weights of each linear layer; inner products of outer products need the factors alone, which
            is fewer operations and less memory by about the layer's width.
        explicit: in each other parameter, (n, outputs * size).
    """

    factored: Sequence[Factors]
    explicit: Sequence[Tensor]

    def inner(self, other: Gradients) -> Float[Tensor, "n m"]:
        """Inner products with the gradients of another block, summed over outputs."""
        factored = ((a @ b.T) * (x @ z.T) for (a, x), (b, z) in zip(self.factored, other.factored, strict=True))
        explicit = (a @ b.T for a, b in zip(self.explicit, other.explicit, strict=True))
        return sum((*factored, *explicit), torch.zeros(()))


@dataclass(frozen=True)
class _Linear:
    """A linear layer with the factors in front of its weights and of its biases; 0 of a bias that is not trained."""

    module: nn.Module
    weight_factor: float
    bias_factor: float

    def inputs(self, inputs: Tensor) -> Tensor:
        """What goes into the layer, as its gradients have it."""
        return torch.cat([self.weight_factor * inputs, torch.full_like(inputs[:, :1], self.bias_factor)], dim=1)


class GradientsOf:
    """Gradients of a network's outputs in its parameters, for any inputs.

    Args:
        network: any network that treats the inputs of a batch one by one, in evaluation mode.
        example: an input, (1, ...).
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        if isinstance(network, Network) and is_linearised(network):
            # Its gradients are those of the network that it was taken from, whose layers are called as they are.
            network = linearised_from(network)
        self._network = network
        self._linear = [] if isinstance(network, TwoLayer) else _linear_layers(network, example)
        held = {id(parameter) for layer in self._linear for parameter in layer.module.parameters()}
        trained = trainable(network)
        factored = {name for name, parameter in network.named_parameters() if id(parameter) in held}
        self._fixed = {name: tensor for name, tensor in trained.items() if name in factored}
        self._explicit = {name: tensor for name, tensor in trained.items() if name not in factored}
        one = self(example)
        tensors = (*(factor for pair in one.factored for factor in pair), *one.explicit)
        self.bytes_per_input = sum(tensor.nbytes for tensor in tensors)

    def __call__(self, inputs: Tensor) -> Gradients:
        """Of a block of inputs (n, ...)."""
        if isinstance(self._network, TwoLayer):
            return Gradients([self._network.gradient_factors(inputs)], [])
        return Gradients(_factors(self._network, self._linear, inputs), self._explicitly(inputs))

    def _explicitly(self, inputs: Tensor) -> list[Tensor]:
        if not self._explicit:
            return [] if self._linear else [inputs.new_zeros(len(inputs), 1)]

        def of_one(sample: Tensor) -> dict[str, Tensor]:
            pulled = vjp(
                lambda values: call(self._network, self._fixed | values, sample[None]).flatten(), self._explicit
            )
            outputs, pull_back = pulled[0], pulled[1]
            rows = torch.eye(len(outputs), dtype=outputs.dtype, device=outputs.device)
            return vmap(lambda row: pull_back(row)[0])(rows)

        return [tensor.flatten(1) for tensor in vmap(of_one)(inputs).values()]


def _factors(network: nn.Module, layers: Sequence[_Linear], inputs: Tensor) -> list[Factors]:
    """Of layers that a network calls once for a batch."""
    if not layers:
        return []
    outputs, passed = _passing(network, [layer.module for layer in layers], inputs)
    seen = [calls[0] for calls in passed]
    # Inputs are treated one by one, so the gradient of their outputs' sum holds that of each.
    signals = [
        torch.autograd.grad(
            column.sum(), [added for _, added in seen], retain_graph=True, materialize_grads=True, allow_unused=True
        )
        for column in outputs.reshape(len(inputs), -1).unbind(dim=1)
    ]
    return [
        (torch.cat(of_layer, dim=1), layer.inputs(entered))
        for layer, (entered, _), *of_layer in zip(layers, seen, *signals, strict=True)
    ]


def _linear_layers(network: nn.Module, example: Tensor) -> list[_Linear]:
    """Those that see an input as one vector, once, and whose weights nothing else uses."""
    owners = Counter(id(parameter) for _, parameter in network.named_parameters(remove_duplicate=False))
    modules = [
        module
        for module in network.modules()
        if isinstance(module, (nn.Linear, NtkLinear))
        and isinstance(module.weight, nn.Parameter)  # weight normalisation computes it from others
        and module.weight.requires_grad
        and all(owners[id(parameter)] == 1 for parameter in module.parameters())
    ]
    outputs, passed = _passing(network, modules, example)
    found: list[_Linear] = []
    for module, calls in zip(modules, passed, strict=True):
        if len(calls) != 1 or calls[0][0].shape[:-1] != example.shape[:1]:
            continue
        # A network may also use a layer's weights without calling it: then their gradient is not the product alone.
        entered, added = calls[0]
        weight_factor, bias_factor = (
            (module.weight_factor, module.bias_factor) if isinstance(module, NtkLinear) else (1.0, 1.0)
        )
        signal, whole = torch.autograd.grad(
            outputs.sum(), [added, module.weight], retain_graph=True, materialize_grads=True, allow_unused=True
        )
        if not torch.allclose(
            whole, weight_factor * signal.T @ entered, rtol=1e-3, atol=1e-4 * float(whole.abs().max())
        ):
            continue
        found.append(
            _Linear(
                module,
                weight_factor,
                bias_factor if "bias" in trainable(module) else 0.0,
            )
        )
    return found


def _passing(network: nn.Module, modules: Sequence[nn.Module], inputs: Tensor) -> tuple[Tensor, list[list[Factors]]]:
    """Outputs, and for every call of each module what went in and a zero added to what came out."""
    calls: list[list[Factors]] = [[] for _ in modules]

    def noting(number: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def note(module: nn.Module, entered: tuple[Tensor, ...], output: Tensor) -> Tensor:
            # Gradients are asked of the zero: the output itself may be overwritten by an activation in place.
            added = torch.zeros_like(output, requires_grad=True)
            calls[number].append((entered[0].detach(), added))
            return output + added

        return note

    with ExitStack() as hooks, torch.enable_grad(), differentiable_forward():
        for number, module in enumerate(modules):
            hooks.callback(module.register_forward_hook(noting(number)).remove)
        return network(inputs), calls


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that training moves, by name, cut off from autograd."""
    return {name: tensor.detach() for name, tensor in module.named_parameters() if tensor.requires_grad}


def call(module: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """The network's outputs with other parameters."""
    with differentiable_forward():
        return functional_call(module, dict(parameters), (inputs,))
