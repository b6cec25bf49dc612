"""Fully connected networks of any depth, in torch's and in the tangent kernel's parametrisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

DEFAULT_SIGMA_B = 0.1


class MLP(nn.Module):
    """Linear layers with biases and leaky ReLU in between, in torch's default initialisation.

    Args:
        input_dim: coordinates d of one input.
        n_outputs: values per input.
        hidden_dim: units of each hidden layer.
        depth: number of hidden layers, at least 1.
        slope: negative slope of the activation, in [0, 1); 0 is ReLU.
        sigmas: sigma_w and sigma_b for layers of `NtkLinear`; None for torch's.
    """

    def __init__(
        self,
        input_dim: int,
        n_outputs: int,
        *,
        hidden_dim: int,
        depth: int = 2,
        slope: float = 0.0,
        sigmas: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()

        def layer(fan_in: int, fan_out: int) -> nn.Module:
            return nn.Linear(fan_in, fan_out) if sigmas is None else NtkLinear(fan_in, fan_out, *sigmas)

        layers: list[nn.Module] = [nn.Flatten()]
        for number in range(depth):
            layers += [layer(hidden_dim if number else input_dim, hidden_dim), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers, layer(hidden_dim, n_outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, n_outputs) for inputs (n, ...) with d coordinates each."""
        return self.layers(inputs)


class NtkLinear(nn.Module):
    """A linear layer whose weights and biases are N(0, 1), with factors sigma_w / sqrt(fan_in) and sigma_b in front.

    Its gradient descent has a limit at infinite width (Jacot, Gabriel and Hongler, "Neural Tangent Kernel", NeurIPS
    2018), that of `theory.DeepKernel`.

    Args:
        fan_in, fan_out: coordinates of an input and of an output.
        sigma_w, sigma_b: factors of weights and biases.

    Attributes:
        weight_factor, bias_factor: what stands in front of the parameters, sigma_w / sqrt(fan_in) and sigma_b.
    """

    def __init__(self, fan_in: int, fan_out: int, sigma_w: float, sigma_b: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in))
        self.bias = nn.Parameter(torch.randn(fan_out))
        self.weight_factor, self.bias_factor = sigma_w / math.sqrt(fan_in), sigma_b

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, fan_out) for inputs (n, fan_in)."""
        return nn.functional.linear(inputs, self.weight_factor * self.weight, self.bias_factor * self.bias)


def default_sigma_w(slope: float) -> float:
    """The factor of weights by which a layer keeps lengths, sqrt(2 / (1 + slope^2))."""
    return math.sqrt(2 / (1 + slope**2))
