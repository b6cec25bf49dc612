"""A trained network with everything that fixes it, and its way to disk and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from perturblearn.classifiers.two_layer import TwoLayer
from perturblearn.store import Artefact


@dataclass(frozen=True, eq=False)
class Classifier:
    """A classifier that is not trained any further.

    Args:
        module: the network; its outputs' signs are the predicted labels +1 and -1.
        training: how it was trained: the loss, learning rate, epochs, momentum and parametrisation.
        losses: mean training loss before each epoch's step, (epochs,) float64.
        final_lr: the learning rate that the plateau rule left.
    """

    module: TwoLayer
    training: Mapping[str, Any] = field(default_factory=dict)
    losses: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    final_lr: float | None = None

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the network's parameters, readout and slope."""
        digest = hashlib.sha256(repr(self.module.slope).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data.cast("B"))
        return digest.hexdigest()

    def outputs(self, inputs: Tensor, *, block: int = 16384) -> Tensor:
        """f(x), (n,), computed in blocks of rows; the block size changes nothing beyond rounding."""
        with torch.no_grad():
            return torch.cat([self.module(part) for part in inputs.split(block)])

    def to(self, *, dtype: torch.dtype | None = None, device: str | None = None) -> Classifier:
        """The same classifier in another precision or on another device."""
        moved = from_state(self.module.state_dict(), self.module.slope)
        return Classifier(moved.to(device=device, dtype=dtype), self.training, self.losses, self.final_lr)

    def dump(self) -> Artefact:
        """The classifier as an artefact."""
        tensors = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        content = {
            "slope": self.module.slope,
            "training": dict(self.training),
            "final_lr": self.final_lr,
            "hash": self.hash,
        }
        return Artefact(content, {**tensors, "losses": self.losses})

    @classmethod
    def load(cls, artefact: Artefact) -> Classifier:
        """The classifier that `dump` wrote."""
        state = {
            name.removeprefix("module."): tensor
            for name, tensor in artefact.tensors.items()
            if name.startswith("module.")
        }
        content = artefact.content
        return cls(
            from_state(state, content["slope"]), content["training"], artefact.tensors["losses"], content["final_lr"]
        )

    def __repr__(self) -> str:
        return f"Classifier({self.module.extra_repr()}, hash {self.hash[:10]})"


def from_state(state: Mapping[str, Tensor], slope: float) -> TwoLayer:
    """The network with these parameters, copied."""
    bias = state.get("bias")
    return TwoLayer(
        state["weight"].detach().clone(),
        state["readout"].detach().clone(),
        None if bias is None else bias.detach().clone(),
        slope,
    )
