"""Example of your own network: a small vision transformer for grey images of 14 x 20 pixels."""

from pathlib import Path

import torch
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("transformer.pt")


class Transformer(nn.Module):
    """Patches of 2 x 4 pixels as tokens, two layers of attention, and the mean over all tokens."""

    def __init__(self, classes: int = 10, width: int = 64) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, kernel_size=(2, 4), stride=(2, 4))
        self.places = nn.Parameter(0.02 * torch.randn(1, 35, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, 1, 14, 20) in [0, 1]."""
        tokens = self.patches(images - 0.5).flatten(2).transpose(1, 2) + self.places
        return self.last(self.layers(tokens).mean(dim=1))


def load() -> Transformer:
    """The trained network, for 'perturblearn audit --model nets:load'."""
    network = Transformer()
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return network
