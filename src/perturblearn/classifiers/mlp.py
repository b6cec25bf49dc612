"""Fully connected networks of any depth."""

from __future__ import annotations

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with biases and leaky ReLU in between, in torch's default initialisation.

    Args:
        input_dim: coordinates d of one input.
        n_outputs: values per input.
        hidden_dim: units of each hidden layer.
        depth: number of hidden layers, at least 1.
        slope: negative slope of the activation, in [0, 1); 0 is ReLU.
    """

    def __init__(self, input_dim: int, n_outputs: int, *, hidden_dim: int, depth: int = 2, slope: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for number in range(depth):
            layers += [nn.Linear(hidden_dim if number else input_dim, hidden_dim), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden_dim, n_outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (n, n_outputs) for inputs (n, ...) with d coordinates each."""
        return self.layers(inputs)
